"""One curve for all K: the mean cosine against N, and against N in units of what the law says is needed.

Colours are K; points of all stages, of raw and leave_one_out, lie in one panel. The unit is the law's N for cosine
1/√2, at which the noise is as large as the gradient; the line is √(x/(1+x)), the law to leading order.

MaxRL's batches are hollow, as they need not lie on it: the gradient they aim at, Σ∇log p, may be all but one example's
that is hit rarely. Until it is, at N ≈ 1/p, the estimate is the others': the cosine rises in steps, on more than one
scale of N, and where it is flat a small error of the law in cosine is a factor in N.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from esgrad.report import style
from esgrad.report.figures._select import credited_with_gaussian_noise
from esgrad.report.figures.samples_needed import LEVELS, STAGES, chosen
from esgrad.suite.gathered import Suite

TITLE = "Scaled by the law, does every K need the same?"
COLUMNS = [
    *("dataset", "model", "stage", "level", "batch_size", "noise_variance", "shaping", "logit_dim", "example"),
    *("num_draws", "num_samples", "predicted", "scaled_samples", "cosine"),
]
VALUE = "cosine"
SHAPINGS = ("raw", "leave_one_out", "maxrl")
HOLLOW = "maxrl"
FARTHEST = 100.0  # times the unit, or a part of it, that is drawn
MOST_EXAMPLES = 4  # of a stage and K that are drawn


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn."""
    frame = _points(suite.samples_needed)
    if frame.empty:
        return style.words(TITLE, "This configuration does not ask how large N must be (samples_needed).", COLUMNS)
    levels = [level for level in LEVELS if level in set(frame["level"])]
    figure, grid = style.canvas(len(levels), 2, 3.9, 2.7, TITLE, sharex="col", sharey=True)
    dims = sorted(frame["logit_dim"].unique())
    for row, level in zip(grid, levels, strict=True):
        here = frame[frame["level"] == level]
        for axes, column in zip(row, ("num_samples", "scaled_samples"), strict=True):
            _panel(axes, here, column, dims)
            axes.set_title(f"{LEVELS[level]}{', scaled by the law' if column == 'scaled_samples' else ''}")
        row[0].set_ylabel("mean cosine to the exact gradient")
        _curve(row[1])
    grid[-1][0].set_xlabel(style.AXES["num_samples"])
    grid[-1][1].set_xlabel("N ÷ the N that the law asks for cosine 1/√2")
    ends = style.decades(frame["num_samples"].astype(float))
    for left, right in grid:
        style.ticks(left, "x", ends[:: 1 + len(ends) // 5])
        style.ticks(right, "x", (0.01, 0.1, 1, 10, 100))
    style.legend(figure)
    _foot(figure, frame)
    return figure, frame


def _points(measured: pd.DataFrame) -> pd.DataFrame:
    measured = credited_with_gaussian_noise(measured)
    curve = chosen(measured[(measured["kind"] == "curve") & measured["shaping"].isin(SHAPINGS)])
    few = curve["example"].isna() | (curve["example"].fillna(0) < MOST_EXAMPLES)
    curve = curve[few & (curve["predicted"] < np.inf)]
    curve = curve.assign(scaled_samples=curve["num_samples"].astype(float) / curve["predicted"].astype(float))
    near = curve["scaled_samples"].between(1 / FARTHEST, FARTHEST)
    order = ["level", "logit_dim", "stage", "shaping", "example", "num_samples"]
    return curve[near].sort_values(order, ignore_index=True)[COLUMNS]


def _panel(axes: Axes, here: pd.DataFrame, column: str, dims: list[int]) -> None:
    axes.set_xscale("log")
    for (hollow, dim), points in here.groupby([here["shaping"] == HOLLOW, "logit_dim"]):
        colour = style.sequential(0.9 * dims.index(dim) / max(len(dims) - 1, 1))
        look = {"color": colour, "marker": "osD^v<>pX"[dims.index(dim) % 9], "markersize": 3, "alpha": 0.6}
        face, words = ("none", f"K = {style.number(dim)}, MaxRL") if hollow else (colour, f"K = {style.number(dim)}")
        look |= {"markerfacecolor": face, "label": words, "linestyle": "", "rasterized": True}
        axes.plot(points[column], points["cosine"], **look)
    axes.set_ylim(min(-0.1, here["cosine"].min()), 1.04)


def _curve(axes: Axes) -> None:
    x = np.geomspace(1 / FARTHEST, FARTHEST, 100)
    axes.plot(x, np.sqrt(x / (1 + x)), color="black", linewidth=1.2)


def _foot(figure: Figure, frame: pd.DataFrame) -> None:
    data, models = (", ".join(sorted(set(frame[word]) - {""})) or "none" for word in ("dataset", "model"))
    stages = ", ".join(words for stage, words in STAGES.items() if stage in set(frame["stage"]))
    fewest, most = frame["num_draws"].min(), frame["num_draws"].max()
    draws = f"{most} draws" if fewest == most else f"{fewest} (largest K) to {most} draws"
    style.foot(
        figure,
        f"n = {draws} a point, up to {frame['example'].nunique()} examples or batches · data: {data} · "
        f"model: {models}, trained by backprop, one seed; {stages} · shapings: raw, leave-one-out to ∇p; hollow: "
        "MaxRL to ∇log p, whose batches one rare example may dominate · point: mean over draws, no band · "
        "line: √(x/(1+x)), nothing fitted",
    )
