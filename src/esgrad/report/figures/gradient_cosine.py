"""How near an estimate comes to the exact gradient it estimates: cosine against N, points measured, lines the law's.

A panel for each stage of a training by backprop and each estimator, a colour for each K; full points and lines are
single examples at their logits, hollow ones and dashes mini-batches at the parameters. Nothing is fitted.
"""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.suite.gathered import Suite

TITLE = "How near is the estimate to the gradient it estimates? Points are measured, lines are the law's"
ESTIMATOR = ["noise", "credit", "shaping", "reference"]
PLACE = ["stage", "step", "level", "batch_size", "noise_variance", "logit_dim"]
COLUMNS = [
    *(*ESTIMATOR, *PLACE, "num_samples"),
    *("cosine", "cosine_error", "predicted_cosine", "num_draws", "num_examples"),
]
VALUE = "cosine"
STAGES = {"start": "at the start", "half": "half-way", "trained": "trained"}
LEVELS: dict[str, dict[str, Any]] = {
    "example": {"linestyle": "-", "marker": "o"},
    "batch": {"linestyle": (0, (4, 2)), "marker": "s", "markerfacecolor": "white"},
}
MOST_DIMS = 4  # K that are drawn
LOWEST = 0.01  # of a cosine that is drawn


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn."""
    if suite.gradient_quality.empty:
        return style.words(TITLE, "This configuration does not measure gradients (gradient_quality).", COLUMNS)
    chosen = _chosen(suite.gradient_quality)
    frame = chosen[COLUMNS].reset_index(drop=True)
    stages = [stage for stage in STAGES if stage in set(frame["stage"])]
    estimators = list(frame.groupby(ESTIMATOR, sort=False))
    figure, grid = style.canvas(len(estimators), len(stages), 2.9, 1.9, TITLE, sharex=True, sharey=True)
    for row, (words, part) in zip(grid, estimators, strict=True):
        for axes, stage in zip(row, stages, strict=True):
            here = part[part["stage"] == stage]
            _panel(axes, here, sorted(frame["logit_dim"].unique()))
            axes.set_title(f"{_name(*words)}, {STAGES[stage]}", fontsize=8)
    _scales(grid, frame)
    style.legend(figure, title="K logits, per …")
    _foot(figure, chosen)
    return figure, frame


def _chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """One t, one size of mini-batch, a few K; estimators in the order they were measured in."""
    frame = frame[frame["noise_variance"] == _select.nearest(frame["noise_variance"], 1)]
    largest = frame.loc[frame["level"] == "batch", "batch_size"].max()
    frame = frame[(frame["level"] == "example") | (frame["batch_size"] == largest)]
    dims = sorted(frame["logit_dim"].unique())
    places = sorted({round(i * (len(dims) - 1) / (MOST_DIMS - 1)) for i in range(MOST_DIMS)})
    return frame[frame["logit_dim"].isin([dims[place] for place in places])]


def _panel(axes: Axes, frame: pd.DataFrame, dims: list[int]) -> None:
    for (dim, level), line in frame.groupby(["logit_dim", "level"]):
        look = LEVELS[level] | {"color": style.sequential(0.85 * dims.index(dim) / max(len(dims) - 1, 1))}
        line = line.sort_values("num_samples")
        size = "example" if level == "example" else f"batch of {line['batch_size'].iloc[0]}"
        axes.plot(line["num_samples"], line["predicted_cosine"], **look | {"marker": ""})
        axes.errorbar(
            line["num_samples"],
            line["cosine"],
            2 * line["cosine_error"],
            **look | {"linestyle": "", "elinewidth": 1},
            label=f"{style.number(dim)}, {size}",
        )


def _scales(grid: Any, frame: pd.DataFrame) -> None:
    for axes in grid.flat:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(max(LOWEST, 0.8 * frame["cosine"].min()), 1.1)
        style.ticks(axes, "x", frame["num_samples"])
        style.ticks(axes, "y", (0.01, 0.03, 0.1, 0.3, 1))
    for axes in grid[-1]:
        axes.set_xlabel(style.AXES["num_samples"])
    for axes in grid[:, 0]:
        axes.set_ylabel("mean cosine")


def _name(noise: str, credit: str, shaping: str, reference: str) -> str:
    """The estimator in words, as short as a panel is narrow."""
    apart = [word for word, usual in ((noise, "independent"), (credit, "noise")) if word != usual]
    return ", ".join([style.label(shaping), *apart])


def _foot(figure: Figure, frame: pd.DataFrame) -> None:
    examples, draws = frame["num_examples"].max(), frame["num_draws"].max()
    steps = frame.groupby("stage")["step"].first()
    style.foot(
        figure,
        f"n = {draws} draws × {examples} training images · data: {', '.join(sorted(set(frame['dataset'])))} · model: "
        f"{', '.join(sorted(set(frame['model'])))}, trained by backprop, {style.number(steps.max())} steps, one seed · "
        f"t = {style.number(frame['noise_variance'].iloc[0])} · points: mean cosine to the exact ∇p "
        "(success, MaxRL: ∇log p), bars: ± 2 standard errors over the draws; lines: the law, nothing fitted, solid "
        "per example, dashed per batch; below 0.01 nothing is shown",
    )
