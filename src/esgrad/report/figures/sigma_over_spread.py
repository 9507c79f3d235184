"""How the network undoes the scale of the noise: σ over the spread of the logits, along training.

A line for each fixed t and each rule, a panel for each method and N; the spread is an example's standard deviation over
its logits. With t fixed the logits grow, so the ratio falls by itself, whatever t is: the network sets it.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.figures.regret import looks
from esgrad.suite.gathered import Suite

TITLE = "Does the network undo the scale of the noise?"
KEYS = [*_select.SETTING, "blackbox", "peer", "num_samples", "schedule", "noise_variance", "step"]
COLUMNS = [*KEYS, "ratio", "low", "high", "num_seeds"]
VALUE = "ratio"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn."""
    names = _select.varying(suite, "noise_variance", "variance")
    records = _select.reported(suite, *names)
    records = records[(records["sigma"] > 0) & (records["spread"] > 0) & (records["step"] > 0)]
    records = _middle_level(_at_largest_n(records[records["space"] == "logits"]))
    if records.empty:
        return style.words(TITLE, "No experiment of this configuration varies t at the logits.", COLUMNS)
    peers = records["relative"].where((records["schedule"] != "fixed") & (records["relative"] != ""), records["method"])
    records = records.assign(peer=peers, ratio=np.log(records["sigma"] / records["spread"]))
    frame = _select.summary(records, KEYS, "ratio").dropna(subset="ratio")
    frame[["ratio", "low", "high"]] = np.exp(frame[["ratio", "low", "high"]])  # geometric means: a ratio's
    panels = [
        (", ".join(filter(None, (style.label(peer), title))), part[part["peer"] == peer])
        for title, part in _select.settings(frame)
        for peer in style.order(part["peer"])
    ]
    columns = min(len(panels), 3)
    figure, grid = style.canvas(-(-len(panels) // columns), columns, 3.0, 2.5, TITLE, sharex=True, sharey=True)
    levels = sorted(frame["noise_variance"].unique())
    for axes, (title, part) in zip(grid.flat, panels, strict=False):
        _panel(axes, part, levels)
        size = part["num_samples"].iloc[0]
        axes.set_title(title if pd.isna(size) else f"{title}, N = {style.number(size)}")
    grid[0][0].set_ylim(frame["ratio"].min() / 2, frame["ratio"].max() * 2)  # a band of few seeds may run out
    style.ticks(grid[0][0], "y", style.decades(frame["ratio"]))
    order = [f"t = {style.number(level)}" for level in levels]
    style.legend(figure, order=[*order, *_words(figure, order)], blank=style.trim(grid, len(panels)))
    style.footnote(
        figure, records, f"line: geometric mean, band: {style.INTERVAL}, of logarithms", style.budget(records)
    )
    return figure, frame[COLUMNS]


def _words(figure: Figure, known: list[str]) -> list[str]:
    """The other words of the legend."""
    words = [word for axes in figure.axes for word in axes.get_legend_handles_labels()[1]]
    return [word for word in dict.fromkeys(words) if word not in known]


def _at_largest_n(records: pd.DataFrame) -> pd.DataFrame:
    largest = records.groupby("method")["num_samples"].transform("max")
    return records[records["num_samples"].isna() | (records["num_samples"] == largest)]


def _middle_level(records: pd.DataFrame) -> pd.DataFrame:
    """Of a rule the level nearest 1 alone: its others lie parallel to it."""
    kept = [
        rows if rule == "fixed" else rows[rows["noise_variance"] == _select.nearest(rows["noise_variance"], 1.0)]
        for rule, rows in records.groupby("schedule", sort=False)
    ]
    return pd.concat([records.iloc[:0], *kept])


def _panel(axes: Axes, part: pd.DataFrame, levels: list[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for level, line in part[part["schedule"] == "fixed"].groupby("noise_variance"):
        share = 0.85 * levels.index(level) / max(len(levels) - 1, 1)
        look = {"color": style.sequential(share), "marker": "osD^v"[levels.index(level) % 5]}
        _line(axes, line, look | {"label": f"t = {style.number(float(level))}"})
    for rule, (colour, _) in looks(part["schedule"]).items():
        lines = part[part["schedule"] == rule]
        if rule != "fixed" and not lines.empty:
            words = f"{rule.replace('_', ' ')}, level {style.number(lines['noise_variance'].iloc[0])}"
            _line(axes, lines, {"color": colour, "linestyle": (0, (4, 1.5)), "label": words})
    axes.set_xlabel(style.AXES["steps"])
    axes.set_ylabel("σ / spread of the logits")


def _line(axes: Axes, line: pd.DataFrame, look: dict[str, Any]) -> None:
    line = line.sort_values("step")
    axes.plot(line["step"], line["ratio"], markersize=3, **look)
    axes.fill_between(line["step"], line["low"], line["high"], color=look["color"], alpha=0.15, linewidth=0)
