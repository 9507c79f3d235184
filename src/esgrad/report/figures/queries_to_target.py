"""How many queries until a target: the share of targets × seeds reached, as COCO draws run times, method by method.

A panel for each N. A curve rises where a seed reaches a target (read on validation, confirmed at the next
evaluation) and ends, with a cross, at what its runs spent: runs that never arrive are censored and keep it below 1.
Exact smoothing asks no queries and is not here.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from esgrad.report import runs, style
from esgrad.report.figures import _select
from esgrad.suite.gathered import Suite

TITLE = "How many queries until a target?"
CURVE = ["queries", "share", "reached", "targets", "num_seeds"]
COLUMNS = ["panel", *runs.COLUMNS, "label", "dashed", *CURVE]
VALUE = "share"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per step of a curve; its last row, `reached` False, is the end of its runs."""
    records = _select.reported(suite, _select.experiment(suite, "headline", "method"))
    records = records[records["queries"].notna()]
    curves = [_curve(suite, cell, rows) for cell, rows in runs.cells(suite, records)]
    frame = pd.concat(curves) if curves else pd.DataFrame(columns=COLUMNS)
    if frame.empty:
        return style.words(TITLE, "No experiment of this configuration compares queries to a target.", COLUMNS)
    frame = _panels(_select.labelled(frame.astype({"num_samples": "Int64"}), by=["blackbox", "noise_variance"]))
    titles = list(dict.fromkeys(frame["panel"]))
    columns = min(len(titles), 3)
    figure, grid = style.canvas(-(-len(titles) // columns), columns, 3.2, 2.6, TITLE, sharex=True, sharey=True)
    for axes, title in zip(grid.flat, titles, strict=False):
        _panel(axes, frame[frame["panel"] == title])
        axes.set_title(title)
    blank = style.trim(grid, len(titles))
    style.legend(figure, order=[label for label, _, _ in _select.lines(frame)], blank=blank)
    count = frame["targets"].max()
    reached = f"share over {count} target{'s' if count > 1 else ''} × seeds, no band · ×: the runs end, censored"
    style.footnote(figure, records, reached, style.COUNTS)
    return figure, frame[COLUMNS]


def _curve(suite: Suite, cell: dict, rows: pd.DataFrame) -> pd.DataFrame:
    """The empirical distribution of a cell's queries to all its targets; empty without a target."""
    levels = runs.targets(suite, runs.backprop(suite, cell))
    if not levels:
        return pd.DataFrame()
    arrived = pd.concat([runs.arrivals(rows, level) for level in levels.values()])
    at = np.sort(arrived.loc[arrived["hit"], "queries"].to_numpy(float))
    share = np.arange(1, len(at) + 1) / len(arrived)
    end = [rows["queries"].max(), share[-1] if len(at) else 0.0, False]
    points = [*zip(at, share, [True] * len(at), strict=True), end]
    counts = {"targets": len(levels), "num_seeds": rows["seed"].nunique()}
    return pd.DataFrame(points, columns=CURVE[:3]).assign(**cell, **counts)


def _panels(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with their `panel`; a method without N stands in the panel of every N."""
    parts = []
    for title, part in _select.settings(frame):
        for samples in sorted(part["num_samples"].dropna().unique()) or [pd.NA]:
            shown = part[part["num_samples"].isna() | (part["num_samples"] == samples)]
            name = "" if pd.isna(samples) else _select.phrase("num_samples", samples)
            parts.append(shown.assign(panel=", ".join(filter(None, (title, name)))))
    return pd.concat(parts, ignore_index=True)


def _panel(axes: Axes, frame: pd.DataFrame) -> None:
    axes.set_xscale("log")
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("queries")
    axes.set_ylabel("share reached")
    for place, (label, look, line) in enumerate(_select.lines(frame)):
        look |= {"marker": "", "linewidth": max(2.4 - 0.14 * place, 1.3)}  # what lies below another shows at its sides
        axes.plot(line["queries"], line["share"], drawstyle="steps-post", label=label, **look)
        end = line[~line["reached"]]
        axes.plot(end["queries"], end["share"], "x", color=look["color"], markersize=6, markeredgewidth=1.5)
