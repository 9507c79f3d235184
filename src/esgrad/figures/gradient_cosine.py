"""How near an estimate at frozen logits comes to the exact gradient it estimates: cosine against N, a line for each K.

A panel for each shaping and noise; no training and no data set, so no seeds and no band: a point is a mean over
frozen examples and independent draws. The title says which exact gradient is meant.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from esgrad import style
from esgrad.suite import Suite

TITLE = "How near is the estimate to the gradient it estimates?"
PANEL = ["space", "noise", "shaping", "reference", "noise_variance"]
COLUMNS = [*PANEL, "logit_dim", "num_samples", "cosine", "num_examples", "num_draws"]
VALUE = "cosine"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn."""
    frame = suite.gradient_quality
    if frame.empty:
        return style.words(TITLE, "This configuration does not measure gradients (gradient_quality).", COLUMNS)
    frame = frame[COLUMNS].sort_values([*PANEL, "logit_dim", "num_samples"], ignore_index=True)
    panels = list(frame.groupby(PANEL, dropna=False))
    columns = min(len(panels), 3)
    figure, grid = style.canvas(-(-len(panels) // columns), columns, 3.1, 2.6, TITLE, sharex=True, sharey=True)
    dims = sorted(frame["logit_dim"].unique())
    several = frame["noise_variance"].nunique() > 1
    for axes, (key, part) in zip(grid.flat, panels, strict=False):
        _panel(axes, part, dims)
        axes.set_title(_title(dict(zip(PANEL, key, strict=True)), several))
    style.legend(figure, blank=style.trim(grid, len(panels)))
    counts = frame.iloc[0]
    style.foot(
        figure,
        f"n = {counts['num_draws']} draws × {counts['num_examples']} examples · data: frozen random logits, no data set"
        " · model: none, no training · line: mean, no band",
    )
    return figure, frame


def _title(panel: dict[str, Any], several: bool) -> str:
    where = "" if panel["space"] == "logits" else f" at the {panel['space']}"
    t = f", t = {style.number(panel['noise_variance'])}" if several else ""
    return f"{style.label(panel['shaping'])}, {panel['noise']}{where}{t}\nagainst {style.label(panel['reference'])}"


def _panel(axes: Axes, frame: pd.DataFrame, dims: list[int]) -> None:
    axes.set_xscale("log")
    for place, dim in enumerate(dims):
        line = frame[frame["logit_dim"] == dim]
        colour = style.sequential(0.9 * place / max(len(dims) - 1, 1))
        marker = "osD^v<>p"[place % 8]
        axes.plot(line["num_samples"], line["cosine"], color=colour, marker=marker, label=f"K = {style.number(dim)}")
    measured = sorted(frame["num_samples"].unique())
    decades = [n for n in (1, 10, 100, 1000, 10_000) if measured[0] <= n <= measured[-1]]
    style.ticks(axes, "x", decades if len(decades) > 1 else measured)
    axes.set_ylim(min(0, frame["cosine"].min()) - 0.02, 1.02)
    axes.set_xlabel(style.AXES["num_samples"])
    axes.set_ylabel(style.AXES["cosine"])
