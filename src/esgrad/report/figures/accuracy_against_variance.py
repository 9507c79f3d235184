"""How to choose t: final test accuracy, and steps to 90 % of backprop's progress, against t; a line for each N.

A column for each method, rows for each K; both exact arms, N → ∞, stand in every panel. The learning rate is tuned in
each cell. Only fixed t: what a rule costs beside them is in `regret`.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.tables import accuracy, targets
from esgrad.suite.gathered import Suite

TITLE = "How to choose t?"
COLUMNS = [
    *("quantity", *_select.SETTING, "blackbox", "method", "num_samples", "noise_variance"),
    *("value", "low", "high", "num_seeds", "lower_bound", "target"),
]
VALUE = "value"
EXACT = ["smoothed", "log_smoothed"]
QUANTITIES = {"accuracy": "final test accuracy", "steps": "steps to 90 %\nof backprop's progress"}
PROGRESS = "progress 0.90"
ROW = ["dataset", "model", "logit_dim", "batch_size"]


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn; `lower_bound`: too few runs arrived, the value is what they spent."""
    names = _select.varying(suite, "noise_variance", "variance")
    records = _select.reported(suite, *names)
    records = records[records["noise_variance"].notna() & (records["schedule"] == "fixed")]
    if records.empty or not records["num_samples"].notna().any():
        return style.words(TITLE, "No experiment of this configuration varies t.", COLUMNS)
    fixed = records["method"].unique()
    frame = pd.concat([_accuracies(suite, names), _steps(suite, names)], ignore_index=True)
    frame = frame[frame["method"].isin(fixed) & frame["noise_variance"].notna()].reset_index(drop=True)
    methods = style.order(frame.loc[frame["num_samples"].notna(), "method"])
    rows = [
        (*setting, q) for setting in _select.settings(frame, ROW) for q in QUANTITIES if (frame["quantity"] == q).any()
    ]
    sizes = sorted(frame["num_samples"].dropna().unique())
    figure, grid = style.canvas(len(rows), len(methods), 2.7, 1.9, TITLE, sharex=True, sharey="row")
    for line, (title, part, quantity) in zip(grid, rows, strict=True):
        for axes, method in zip(line, methods, strict=True):
            _panel(axes, part[part["quantity"] == quantity], method, sizes)
            if quantity == "steps":
                axes.set_yscale("log")
                style.ticks(axes, "y", style.decades(part.loc[part["quantity"] == "steps", "value"], (1, 2, 5)))
            if quantity == "accuracy" and axes.axison:
                axes.set_title(", ".join(filter(None, (style.label(method), title))))
        line[0].set_ylabel(QUANTITIES[quantity])
    for axes in grid[-1]:
        axes.set_xlabel(style.AXES["noise_variance"])
    style.legend(figure, order=_order(figure))
    more = "hollow: fewer than half arrived, a lower bound · bars of steps: see targets.md"
    style.footnote(figure, records, f"line: mean, bar: {style.INTERVAL}", more)
    return figure, frame[COLUMNS]


def _accuracies(suite: Suite, names: list[str]) -> pd.DataFrame:
    frame = _select.table(accuracy, suite, *names).rename(columns={"test_accuracy_mean": "value"})
    return frame.assign(quantity="accuracy", lower_bound=False, target="")


def _steps(suite: Suite, names: list[str]) -> pd.DataFrame:
    frame = _select.table(targets, suite, *names)
    frame = frame[(frame["unit"] == "steps") & (frame["target"] == PROGRESS)]
    beyond = np.isinf(frame["estimate"].astype(float))
    high = frame["high"].astype(float).replace(np.inf, np.nan)
    value = frame["estimate"].astype(float).mask(beyond, frame["low"])
    return frame.assign(quantity="steps", value=value, lower_bound=beyond, high=high)


def _panel(axes: Axes, part: pd.DataFrame, method: str, sizes: list[int]) -> None:
    own = part[part["method"] == method]
    if own.empty:
        axes.set_axis_off()
        return
    axes.set_xscale("log")
    for place, size in enumerate(sizes):
        share = 0.85 * place / max(len(sizes) - 1, 1)
        look: dict[str, Any] = {"color": style.sequential(share), "marker": "osD^v"[place % 5], "linestyle": "-"}
        _line(axes, own[own["num_samples"] == size], look | {"label": f"N = {style.number(size)}"})
    for arm in EXACT:
        _line(axes, part[part["method"] == arm], style.look(arm) | {"label": style.label(arm)})
    style.ticks(axes, "x", part["noise_variance"].unique())


def _line(axes: Axes, line: pd.DataFrame, look: dict[str, Any]) -> None:
    line = line.sort_values("noise_variance")
    if line.empty:
        return
    axes.plot(line["noise_variance"], line["value"], **look)
    bounds = line[line["lower_bound"]]
    axes.plot(
        bounds["noise_variance"], bounds["value"], **look | {"linestyle": "", "label": None}, mfc="white", zorder=3
    )
    bars = line[line["low"].notna() & line["high"].notna() & ~line["lower_bound"]]
    axes.vlines(bars["noise_variance"], bars["low"], bars["high"], color=look["color"], linewidth=1, alpha=0.7)


def _order(figure: Any) -> list[str]:
    """N upwards, then the exact arms."""
    words = {word for axes in figure.axes for word in axes.get_legend_handles_labels()[1]}
    exact = [style.label(arm) for arm in EXACT]
    sizes = sorted(words - set(exact), key=lambda word: float(word.removeprefix("N = ").replace(",", "")))
    return [*sizes, *exact]
