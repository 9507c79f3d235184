"""Learning curves: validation error against what it cost, a line a method and N, a band of Student's t interval."""

import pandas as pd
from matplotlib.axes import Axes

from esgrad.report import style
from esgrad.report.figures import _select

KEYS = [*_select.SETTING, "blackbox", "method", "num_samples", "noise_variance", "label", "dashed", "cut"]
COLUMNS = ["unit", *KEYS, "step", "amount", "validation_error", "low", "high", "num_seeds"]
UNITS = ("queries", "forwards")


def draw(records: pd.DataFrame, title: str) -> style.Drawing:
    """The figure of some labelled records, and a row per point drawn: `amount` in `unit`, `cut`: a seed diverged."""
    frame = _points(records.assign(cut=_select.diverged(records)))
    if frame.empty:
        return style.words(title, "Every run diverged before its first evaluation.", COLUMNS)
    panels = _select.settings(frame)
    figure, grid = style.canvas(len(panels), len(UNITS), 4.2, 3.6, title, sharey=True)
    for row, (name, part) in zip(grid, panels, strict=True):
        for axes, unit in zip(row, UNITS, strict=True):
            _panel(axes, part[part["unit"] == unit], unit)
        row[0].set_title(name)
        row[0].set_ylabel(style.AXES["validation_error"])
    above_zero = frame.loc[frame["validation_error"] > 0, "validation_error"]
    grid[0][0].set_ylim(0.7 * above_zero.min() if len(above_zero) else 0.01, 1.05)  # of all panels, which share it
    style.legend(figure, title=_select.samples(records))
    crosses = "×: a seed diverged · " if frame["cut"].any() else ""
    style.footnote(figure, records, f"line: mean, band: {style.INTERVAL}", f"{crosses}{style.COUNTS}")
    return figure, frame[COLUMNS]


def _points(records: pd.DataFrame) -> pd.DataFrame:
    """A row per unit, line and evaluation that all seeds of the line have reached."""
    records = records.assign(validation_error=1 - records["validation_accuracy"])
    points = _select.summary(records, [*KEYS, "step", "queries", "forwards"], "validation_error")
    seeds = points.groupby(KEYS, dropna=False)["num_seeds"].transform("max")
    whole = (points["num_seeds"] == seeds) & points["validation_error"].notna() & (points["step"] > 0)
    frame = pd.concat([points[whole].assign(unit=unit, amount=points[unit]) for unit in UNITS])
    earlier = frame["amount"].isna() & frame.duplicated(["unit", *KEYS], keep="last")
    frame = frame[~earlier].reset_index(drop=True)
    return frame.assign(low=frame["low"].clip(lower=0), high=frame["high"].clip(upper=1))


def _panel(axes: Axes, frame: pd.DataFrame, unit: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for label, look, line in _select.lines(frame):
        _line(axes, label, look | _strength(frame, line), line)
    style.ticks(axes, "y", (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1))
    axes.set_xlabel(style.AXES[unit])


def _strength(frame: pd.DataFrame, line: pd.DataFrame) -> dict:
    """A thinner line and a hollow or half-full marker for all but the largest N that the line's method has here."""
    several = sorted(frame.loc[frame["method"] == line["method"].iloc[0], "num_samples"].dropna().unique())
    place = several.index(line["num_samples"].iloc[0]) if len(several) > 1 else len(several) - 1
    if place == len(several) - 1:
        return {}
    hollow = {"markerfacecolor": "white"} if place == 0 else {"fillstyle": "bottom", "markerfacecoloralt": "white"}
    return {"linewidth": 0.8 + 0.6 * place / (len(several) - 1)} | hollow


def _line(axes: Axes, label: str, look: dict, line: pd.DataFrame) -> None:
    if line["amount"].isna().any():
        axes.axhline(line["validation_error"].iloc[-1], label=label, **look | {"marker": ""})
        return
    axes.plot(line["amount"], line["validation_error"], label=label, markevery=(0.05, 0.2), **look)
    axes.fill_between(line["amount"], line["low"], line["high"], color=look["color"], alpha=0.13, linewidth=0)
    if line["cut"].any():
        axes.plot(*line[["amount", "validation_error"]].iloc[-1], "x", color=look["color"], markersize=8)
