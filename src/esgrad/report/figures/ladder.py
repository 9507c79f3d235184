"""From backprop down to ranked noise at the parameters, one change a rung: steps, the noise's prediction, dead classes.

Left the steps to 90 % of backprop's progress over backprop's own, in the middle over those of the rung it stands on,
right the share of runs that end with a class they never predict. Filled dots are measured, hollow diamonds predicted,
each with its 95 % interval (`esgrad.report.tables.ladder`); squares are controls, the exact mean plus Gaussian noise of
their twin's covariance.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.tables import ladder
from esgrad.statistics import Interval
from esgrad.suite.gathered import Suite

TITLE = "What does each change from backprop to ES cost?"
TARGET, USUAL_N = "progress 0.90", 30
NOTHING = "No experiment of this configuration has backprop and another rung of the ladder."
PANELS = {
    "ratio_to_backprop": ("predicted_to_backprop", "steps, times backprop's"),
    "ratio": ("predicted", "steps, times those of the rung it stands on"),
    "dead_class_rate": ("", "runs with a lost class"),
}
"""What is drawn, the prediction beside it, and the axis."""
ENDS = {name: (f"{name}_low", f"{name}_high") for name in ("ratio_to_backprop", "ratio")}
ENDS["dead_class_rate"] = ("dead_class_low", "dead_class_high")
COLUMNS = [
    *("experiment", "dataset", "model", "blackbox", "logit_dim", "batch_size", "method", "num_samples"),
    *("stands_on", "control", "change", "target", "target_accuracy", "num_seeds", "hits", "censored", "y"),
    *(name for value in PANELS for name in (value, *ENDS[value])),
    *(f"{name}{end}" for name in ("predicted_to_backprop", "predicted") for end in ("", "_low", "_high")),
    "given_rate",
    *("dot", "dot_above"),
]
VALUE = "dot"
BESIDE = -0.16
"""How far above its rung's dot a prediction stands, so that the bars do not cover one another."""


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per rung and control from the top; `dot` is the ratio to backprop, or a bound on it where
    too few runs arrived, `dot_above` the same of the ratio to the rung it stands on."""
    frame = ladder.table(suite)
    frame = frame[frame["target"] == TARGET]
    if frame["stands_on"].eq("").all():
        return style.words(TITLE, NOTHING, COLUMNS)
    frame = pd.concat([_placed(part) for _, part in _select.settings(_select.at_one_n(frame, USUAL_N))])
    for dot, ratio in (("dot", "ratio_to_backprop"), ("dot_above", "ratio")):
        frame[dot] = frame[ratio].mask(np.isinf(frame[ratio]), frame[f"{ratio}_low"])
        frame[dot] = frame[dot].mask(frame[ratio] == 0, frame[f"{ratio}_high"]).replace([0, np.inf], np.nan)
    parts = _select.settings(frame)
    height = 0.5 + 0.3 * (frame["y"].max() + 1)
    figure, grid = style.canvas(len(parts), len(PANELS), 3.3, height, TITLE, sharey="row", sharex="col")
    for row, (title, part) in zip(grid, parts, strict=True):
        for axes, name in zip(row, PANELS, strict=True):
            _panel(axes, part, name)
        row[0].set_title(title)
        _names(row[0], part)
    _span(grid, frame)
    _legend(figure, grid[0][0])
    records = _select.reported(suite, frame["experiment"].iloc[0])
    records = records[records["method"].isin(frame["method"])]
    note = "to 90\N{NO-BREAK SPACE}% of backprop's progress · bar: 95\N{NO-BREAK SPACE}% interval, paired by seed"
    note += "; of a diamond: of the measured noise"
    censored = (
        " · at the right edge k/n: so many arrived, where not all did, → open above, ← open below"
        if frame["censored"].any()
        else ""
    )
    rate = frame["given_rate"].iloc[0]
    given = "" if np.isnan(rate) else f" · one learning rate, given, for all rungs: {style.number(rate)}"
    style.footnote(figure, records, note + censored + given, style.budget(records))
    return figure, frame[COLUMNS]


def _placed(part: pd.DataFrame) -> pd.DataFrame:
    """The rungs of a setting from the top, each with its place `y`; a control just below its twin."""
    rungs = list(dict.fromkeys(part.loc[~part["control"], "method"]))
    place = {method: float(index) for index, method in enumerate(rungs)}
    at = [place[row.stands_on] + 0.32 if row.control else place[row.method] for row in part.itertuples()]
    return part.assign(y=at)


def _panel(axes: Axes, part: pd.DataFrame, name: str) -> None:
    predicted, words = PANELS[name]
    dots = {"ratio_to_backprop": "dot", "ratio": "dot_above"}.get(name, name)
    if name != "dead_class_rate":
        axes.set_xscale("log")
        axes.axvline(1, color="#999999", linewidth=1.2, zorder=0.5)
    for row in part.to_dict("records"):
        if pd.notna(row[dots]):
            low, high = ENDS[name]
            _mark(axes, row, Interval(row[dots], row[low], row[high]), row[name] in (0, np.inf), predicted != "")
        if name == "ratio_to_backprop" and row["censored"]:
            _arrived(axes, row)
        if predicted and not row["control"] and pd.notna(row[predicted]):
            ends = row[f"{predicted}_low"], row[f"{predicted}_high"]
            axes.hlines(row["y"] + BESIDE, *ends, color=style.GREY, linewidth=1)
            look: dict[str, Any] = {"color": style.GREY, "markerfacecolor": "none", "markersize": 7, "zorder": 3}
            axes.plot(row[predicted], row["y"] + BESIDE, "D", **look)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(words)


def _mark(axes: Axes, row: dict[str, Any], at: Interval, bound: bool, counts: bool) -> None:
    """The dot, hollow where it is a bound, its bar, and arrows to open sides."""
    colour = style.colour(row["stands_on"] if row["control"] else row["method"])
    start = at.low if at.low > 0 or not counts else at.estimate
    end = at.high if np.isfinite(at.high) else at.estimate
    face = "white" if bound and counts else colour
    axes.plot(at.estimate, row["y"], "s" if row["control"] else "o", color=colour, markerfacecolor=face, zorder=4)
    if pd.notna(at.low):
        axes.hlines(row["y"], start, end, color=colour, linewidth=1 if row["control"] else 1.6)
    if counts and at.low == 0:
        axes.annotate("", (start, row["y"]), (-20, 0), textcoords="offset points", arrowprops=_arrow(colour))
    if counts and np.isinf(at.high):
        axes.annotate("", (end, row["y"]), (20, 0), textcoords="offset points", arrowprops=_arrow(colour))


def _arrived(axes: Axes, row: dict[str, Any]) -> None:
    """k/n at the right edge, out of the way of dots and diamonds."""
    look: dict[str, Any] = {"va": "center", "fontsize": 6.5, "color": style.GREY}
    axes.text(1.01, row["y"], f"{row['hits']}/{row['num_seeds']}", transform=axes.get_yaxis_transform(), **look)


def _arrow(colour: str) -> dict[str, Any]:
    return {"arrowstyle": "<-", "color": colour, "shrinkA": 0, "shrinkB": 3}


def _names(axes: Axes, part: pd.DataFrame) -> None:
    """What changes, at each rung; N where samples come in."""
    rungs = part[~part["control"]]
    sizes = [style.number(n) for n in rungs["num_samples"]]
    words = [change.replace("N samples", f"N = {n} samples") for change, n in zip(rungs["change"], sizes, strict=True)]
    axes.set_yticks(rungs["y"], words)
    axes.set_ylim(part["y"].max() + 0.6, -0.6)
    axes.set_ylabel("rung: one change each")


def _span(grid: Any, frame: pd.DataFrame) -> None:
    """Room for dots, predictions and arrows; a bar of few seeds may be so long that it runs out."""
    for column, (dot, predicted) in enumerate([("dot", "predicted_to_backprop"), ("dot_above", "predicted")]):
        seen = np.concatenate([frame[dot].to_numpy(dtype=float), frame[predicted].to_numpy(dtype=float), [1.0]])
        seen = seen[np.isfinite(seen)]
        axes = grid[0][column]
        axes.set_xlim(seen.min() / 2, 4 * seen.max())
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.number(value)))
    grid[0][2].set_xlim(-0.04, 1.04)


def _legend(figure: Figure, axes: Axes) -> None:
    axes.plot([], [], "o-", color=style.GREY, label="measured, 95 % interval")
    axes.plot([], [], "o", color=style.GREY, markerfacecolor="white", label="a bound: too few arrived")
    axes.plot([], [], "D", color=style.GREY, markerfacecolor="none", markersize=7, label="predicted by gradient noise")
    axes.plot([], [], "s-", color=style.GREY, linewidth=1, label="control: exact mean + Gaussian noise")
    handles, words = axes.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper right", ncols=2, handlelength=2, columnspacing=1.2, fontsize=8)
