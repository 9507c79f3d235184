"""How many times backprop's cost: the ratio at 90 % of backprop's progress, in steps, queries and forward passes.

A row for each method and N of the headline. A dot is the geometric mean of the seeds' ratios, the bar Student's t
interval on their logs; where runs ended before they arrived, the method's or backprop's, the median between two order
statistics, the bar ending in an arrow if nothing bounds it on that side. A hollow dot is a bound, a lower one if fewer
than half of the method's runs arrived, an upper one (arrow to the left) if fewer than half of backprop's did. Lines
stand at 1 (backprop) and at the 1,000 of OpenAI's announcement (2017): ES on MNIST "can be as much as 1,000 times
slower than using backpropagation".
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from esgrad.report import runs, style
from esgrad.report.figures import _select
from esgrad.report.tables import targets
from esgrad.suite.gathered import Suite

TITLE = "How many times the cost of backprop?"
PROGRESS, CLAIM = 0.9, 1000
LINE = "#999999"
NOTHING = "No cost can be compared with backprop's: its runs are missing or never made their progress."
UNITS = {"steps": "steps", "queries": "queries", "forwards": "forward passes"}
COLUMNS = [
    *(*runs.COLUMNS, "label", "target", "target_accuracy", "unit", "num_seeds", "hits", "censored"),
    *("ratio_to_backprop", "ratio_low", "ratio_high", "lower_bound", "upper_bound", "dot"),
]
VALUE = "dot"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per dot, from the top down; `lower_bound`: the ratio lies beyond its `dot`, `upper_bound`:
    before it."""
    name = _select.experiment(suite, "headline", "method")
    frame = _select.table(targets, suite, name)
    frame = frame[(frame["target"] == _target(frame)) & (frame["method"] != "backprop")]
    frame = frame[frame["ratio_to_backprop"].gt(0) | (frame["ratio_high"] < np.inf)]  # else nothing is known
    if frame.empty:
        return style.words(TITLE, NOTHING, COLUMNS)
    frame = _placed(_select.labelled(frame, by=["blackbox", "noise_variance"]))
    above, below = np.isinf(frame["ratio_to_backprop"]), frame["ratio_to_backprop"] == 0
    dot = frame["ratio_to_backprop"].mask(above, frame["ratio_low"]).mask(below, frame["ratio_high"])
    frame = frame.assign(lower_bound=above, upper_bound=below, dot=dot)
    height = 0.9 + 0.19 * (frame["y"].max() + 1)
    figure, grid = style.canvas(1, len(UNITS), 3.1, height, TITLE, sharey=True, sharex=True)
    for axes, unit in zip(grid[0], UNITS, strict=True):
        shown = frame[frame["unit"] == unit]
        _panel(axes, shown)
        _silent(axes, frame, shown)
        axes.set_title(f"in {UNITS[unit]}")
    grid[0][0].set_xlim(_span(frame))
    _names(grid[0][0], frame)
    _legend(figure, grid[0][0])
    level = f"to {100 * float(frame['target'].iloc[0].split()[1]):g} % of backprop's progress"
    style.footnote(figure, _select.reported(suite, name), f"{level} · {_bars(frame)}", style.COUNTS)
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


def _bars(frame: pd.DataFrame) -> str:
    """What dot and bar are, in words."""
    words = "dot: geometric mean, bar: 95 % Student t interval on log-ratios of seeds"
    if not frame["censored"].any():
        return words
    words += "; where runs were censored (k/n arrived): median, 95 % interval of order statistics, → open above"
    words += ", ← open below (backprop's were)" if frame["ratio_low"].eq(0).any() else ""
    return words.replace(" %", "\N{NO-BREAK SPACE}%")  # no line begins with it


def _span(frame: pd.DataFrame) -> tuple[float, float]:
    """Where the axis begins and ends: with room for an arrow; a bar of few seeds may be so long that it runs out."""
    low, high = frame["ratio_low"].replace(0, np.nan).min(), frame["ratio_high"].replace(np.inf, np.nan).max()
    least, most = frame["dot"].min(), frame["dot"].max()
    return 0.6 * np.nanmin([1, least, max(low, least / 30)]), 12 * np.nanmax([CLAIM, most, min(high, 30 * most)])


def _panel(axes: Axes, frame: pd.DataFrame) -> None:
    axes.set_xscale("log")
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
    """The dot, its bar, arrows where nothing bounds the ratio, and k/n where runs were censored."""
    colour = style.colour(row.method)
    look = {"color": colour, "marker": style.look(row.method)["marker"], "linestyle": ""}
    axes.plot(row.dot, row.y, markerfacecolor="white" if row.lower_bound or row.upper_bound else colour, **look)
    end = row.ratio_high if np.isfinite(row.ratio_high) else row.dot
    arrow = {"arrowstyle": "<-", "color": colour, "shrinkA": 0, "shrinkB": 3, "linewidth": 1.5}
    if pd.notna(row.ratio_low):
        axes.hlines(row.y, row.ratio_low or row.dot, end, color=colour)
    if row.ratio_low == 0:
        axes.annotate("", (row.dot, row.y), (-22, 0), textcoords="offset points", arrowprops=arrow)
    if row.censored or np.isinf(row.ratio_high):
        open_above = np.isinf(row.ratio_high)
        axes.annotate(
            f" {row.hits}/{row.num_seeds}",
            (end, row.y),
            (22 if open_above else 1, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
            color=style.GREY,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3},
            arrowprops=arrow if open_above else None,
        )


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
    axes.plot([], [], "o", color=style.GREY, markerfacecolor="white", label="a bound: fewer than half arrived")
    axes.plot([], [], "--", color=LINE, label="“1,000 times slower”, OpenAI 2017")
    handles, words = axes.get_legend_handles_labels()
    figure.legend(handles, words, loc="outside upper right", ncols=3, handlelength=2, columnspacing=1.2, fontsize=8)
