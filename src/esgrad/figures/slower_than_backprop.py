"""How many times backprop's cost: the ratio at 90 % of backprop's progress, in steps, queries and forward passes.

A row for each method and N of the headline. A dot is the geometric mean of the seeds' ratios, the bar Student's t
interval on their logs; a hollow dot with an arrow is a lower bound, because some runs ended before they arrived.
Lines stand at 1 (backprop) and at the 1,000 of OpenAI's announcement (2017): ES on MNIST "can be as much as 1,000
times slower than using backpropagation".
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from esgrad import runs, style
from esgrad.figures import _select
from esgrad.suite import Suite
from esgrad.tables import targets

TITLE = "How many times the cost of backprop?"
PROGRESS, CLAIM = 0.9, 1000
LINE = "#999999"
NOTHING = "No cost can be compared with backprop's: its runs are missing or never made their progress."
UNITS = {"steps": "steps", "queries": "queries", "forwards": "forward passes"}
COLUMNS = [
    *(*runs.COLUMNS, "label", "target", "target_accuracy", "unit", "num_seeds", "hits", "censored"),
    *("ratio_to_backprop", "ratio_low", "ratio_high", "lower_bound"),
]
VALUE = "ratio_to_backprop"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per dot, from the top down; `lower_bound`: the ratio is larger than the dot says."""
    name = _select.experiment(suite, "headline", "method")
    frame = _select.table(targets, suite, name)
    frame = frame[(frame["target"] == _target(frame)) & (frame["method"] != "backprop")]
    frame = frame[frame["ratio_to_backprop"].notna()]
    if frame.empty:
        return style.words(TITLE, NOTHING, COLUMNS)
    frame = _placed(_select.labelled(frame, by=["blackbox", "noise_variance"]))
    frame = frame.assign(lower_bound=np.isinf(frame["ratio_high"]))
    height = 0.9 + 0.19 * (frame["y"].max() + 1)
    figure, grid = style.canvas(1, len(UNITS), 3.1, height, TITLE, sharey=True, sharex=True)
    for axes, unit in zip(grid[0], UNITS, strict=True):
        shown = frame[frame["unit"] == unit]
        _panel(axes, shown, frame["ratio_to_backprop"].max())
        _silent(axes, frame, shown)
        axes.set_title(f"in {UNITS[unit]}")
    _names(grid[0][0], frame)
    _legend(figure, grid[0][0])
    level = f"to {100 * float(frame['target'].iloc[0].split()[1]):g} % of backprop's progress"
    bar = "dot: geometric mean, bar: 95 % Student t interval on log-ratios of seeds"
    style.footnote(figure, _select.reported(suite, name), f"{level} · {bar}", style.COUNTS)
    return figure, frame[COLUMNS]


def _target(frame: pd.DataFrame) -> str:
    """The target of progress nearest to 90 %; '' where there is none."""
    found = sorted(set(frame["target"][frame["target"].str.startswith("progress")]))
    return min(found, key=lambda target: abs(float(target.split()[1]) - PROGRESS), default="")


def _placed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows from the top down: method after method, N after N, each with its place `y` and its `group`."""
    parts = []
    for title, setting in _select.settings(frame):
        for label, _, line in _select.lines(setting):
            group = ", ".join(filter(None, (label, title)))
            parts.append(line.assign(group=group).sort_values("num_samples", kind="stable"))
    rows = pd.concat(parts, ignore_index=True)
    row = rows.groupby(["group", "num_samples"], dropna=False, sort=False).ngroup()
    air = 0.5 * rows.groupby("group", sort=False).ngroup()  # half a row between methods
    return rows.assign(y=row + air)


def _panel(axes: Axes, frame: pd.DataFrame, most: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(0.6 * min(1, frame["ratio_to_backprop"].min()), 8 * max(CLAIM, most))
    for value, line in ((1, "-"), (CLAIM, "--")):
        axes.axvline(value, color=LINE, linestyle=line, linewidth=1.2, zorder=0.5)
    for row in frame.itertuples():
        _dot(axes, row)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("times backprop")
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.number(value)))


def _dot(axes: Axes, row: Any) -> None:
    colour, place = style.colour(row.method), (row.ratio_to_backprop, row.y)
    look = {"color": colour, "marker": style.look(row.method)["marker"], "linestyle": ""}
    if row.lower_bound:
        arrow = {"arrowstyle": "<-", "color": colour, "shrinkA": 0, "shrinkB": 3, "linewidth": 1.3}
        away: dict[str, Any] = {"xytext": (22, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(f" {row.hits}/{row.num_seeds}", place, arrowprops=arrow, fontsize=6.5, color=style.GREY, **away)
        axes.plot(*place, markerfacecolor="white", **look)
        return
    axes.plot(*place, **look)
    if pd.notna(row.ratio_low):
        axes.hlines(row.y, row.ratio_low, row.ratio_high, color=colour)


def _names(axes: Axes, frame: pd.DataFrame) -> None:
    """N at the ticks, and the method's name once, to the left of its first."""
    named = frame.drop_duplicates("y")
    samples = [f"N = {style.number(n)}" if pd.notna(n) else "" for n in named["num_samples"]]
    axes.set_yticks(named["y"], samples)
    axes.set_ylim(frame["y"].max() + 0.8, -0.8)
    indent = -52 if any(samples) else -6
    for row in named.drop_duplicates("group").itertuples():
        place: dict[str, Any] = {
            "xycoords": ("axes fraction", "data"),
            "xytext": (indent, 0),
            "textcoords": "offset points",
        }
        axes.annotate(row.group, (0, row.y), ha="right", va="center", **place)


def _silent(axes: Axes, frame: pd.DataFrame, shown: pd.DataFrame) -> None:
    """Say where a row has nothing to show in this unit: exact smoothing asks no queries."""
    for y in sorted(set(frame["y"]) - set(shown["y"])):
        axes.annotate(
            "asks none", (1, y), (4, 0), textcoords="offset points", va="center", fontsize=7, color=style.GREY
        )


def _legend(figure: Figure, axes: Axes) -> None:
    axes.plot([], [], "o-", color=style.GREY, label="ratio, 95 % interval")
    axes.plot([], [], "o", color=style.GREY, markerfacecolor="white", label="→ lower bound, k/n seeds arrived")
    axes.plot([], [], "--", color=LINE, label="“1,000 times slower”, OpenAI 2017")
    handles, words = axes.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper right", ncols=3, handlelength=2, columnspacing=1.2, fontsize=8)
