"""Cells of two settings, a panel a method: colour and number are the test accuracy, a second line says more."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from esgrad.report import style
from esgrad.report.figures import _select

COLOURS = "viridis"


def draw(frame: pd.DataFrame, across: str, title: str, second_line: Callable[[Any], str]) -> Figure:
    """N upwards, `across` rightwards; columns num_samples, `across`, test_accuracy_mean, diverged, num_seeds, label.

    A combination without a row is left grey and marked with a dash.
    """
    xs, ys = (sorted(frame[column].dropna().unique()) for column in (across, "num_samples"))
    panels = _panels(frame, across)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    size = 1.1 + 0.72 * len(xs), 0.9 + 0.5 * len(ys)
    figure, grid = style.canvas(rows, columns, max(size[0], 3), max(size[1], 1.7), title, sharex=True, sharey=True)
    norm = style.error_norm(frame["test_accuracy_mean"])
    for axes, (name, part) in zip(grid.flat, panels, strict=False):
        _panel(axes, part, (across, xs, ys), norm, second_line)
        axes.set_title(name)
        axes.set_ylabel(style.AXES["num_samples"])
    style.trim(grid, len(panels))
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=grid, label=style.AXES["test_accuracy"], shrink=0.9)
    style.accuracy_ticks(bar.ax.yaxis, *bar.mappable.get_clim())
    return figure


def _panels(frame: pd.DataFrame, across: str) -> list[tuple[str, pd.DataFrame]]:
    """A panel for each method and setting that is not an axis."""
    varied = [column for column in _select.SETTING if column != across]
    found = []
    for method in style.order(frame["method"]):
        for title, part in _select.settings(frame[frame["method"] == method], varied):
            found += [(", ".join(filter(None, (label, title))), cells) for label, cells in part.groupby("label")]
    return found


def _panel(axes: Axes, part: pd.DataFrame, plan: tuple, norm: Normalize, second_line: Callable[[Any], str]) -> None:
    across, xs, ys = plan
    axes.set(xlim=(-0.5, len(xs) - 0.5), ylim=(-0.5, len(ys) - 0.5), xlabel=style.AXES[across])
    axes.set_xticks(range(len(xs)), [style.number(x) for x in xs])
    axes.set_yticks(range(len(ys)), [style.number(y) for y in ys])
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    empty = {(x, y) for x in range(len(xs)) for y in range(len(ys))}
    for row in part.itertuples():
        place = xs.index(getattr(row, across)), ys.index(row.num_samples)
        empty.discard(place)
        _cell(axes, place, row, norm, second_line(row))
    for place in empty:
        _tile(axes, place, "#f4f4f4", "–")


def _cell(axes: Axes, place: tuple[int, int], row: Any, norm: Normalize, second: str) -> None:
    lost = f"{row.diverged} diverged" if row.diverged else ""
    if np.isnan(row.test_accuracy_mean):
        _tile(axes, place, "#dddddd", "all\ndiverged")
        return
    colour = style.sequential(norm(row.test_accuracy_mean), COLOURS)
    _tile(
        axes, place, colour, f"{row.test_accuracy_mean:.3f}".removeprefix("0"), "\n".join(filter(None, (second, lost)))
    )


def _tile(axes: Axes, place: tuple[int, int], colour: Any, text: str, small: str = "") -> None:
    x, y = place
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", linewidth=1.5))
    ink = "black" if np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) > 0.5 else "white"
    axes.text(x, y + (0.13 if small else 0), text, ha="center", va="center", color=ink, fontsize=9)
    if small:
        axes.text(x, y - 0.1, small, ha="center", va="top", color=ink, fontsize=6.5, linespacing=1.1)
