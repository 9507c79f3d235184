"""Why N must be large, and when it need not: a sample credited with its noise, or with the class that the box saw.

Left, how many samples one example needs at a network's start for a cosine of one half to the exact gradient, against
the number of logits: points are measured, lines are the law's. Right, what that does to a training: final test accuracy
with few samples. The lecture credits a sample with the noise it drew. The mean of that noise given the class it led to
is all that the box could see of it.
"""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.tables import accuracy, samples_needed
from esgrad.suite.gathered import Suite

TITLE = "What is a sample credited with?"
COSINE = 0.5
METHODS = ("success_class", "maxrl_class", "maxrl", "lecture")
SAMPLERS = {
    ("independent", "noise", "raw"): ("Gaussian noise", "lecture", "s"),
    ("gumbel", "noise", "raw"): ("Gumbel noise", "maxrl_gumbel", "D"),
    ("gumbel", "class", "success"): ("the class (Gumbel noise)", "success_class", "o"),
}
"""What is compared on the left, by noise, credit and shaping: its name, the method whose colour it has, its marker."""
COLUMNS = ["panel", "line", "num_samples", "logit_dim", "value", "low", "high", "law", "num_observations"]
VALUE = "value"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn: `value` is N on the left, accuracy on the right."""
    needed, ends = _needed(suite), _trained(suite)
    frame = pd.concat([needed, ends], ignore_index=True)
    if needed.empty or ends.empty:
        return style.words(TITLE, "This configuration trains no method that credits the class.", COLUMNS)
    figure, ((left, right),) = style.canvas(1, 2, 3.9, 3.4, TITLE)
    _draw_needed(left, needed)
    _draw_trained(right, ends)
    style.legend(figure)
    few, seeds = style.number(ends["num_samples"].iloc[0]), ends["num_observations"].max()
    data, models = (", ".join(sorted(set(ends[word]))) for word in ("dataset", "model"))
    style.foot(
        figure,
        f"n = {needed['num_observations'].max()} examples left, {seeds} seeds right · left: equal logits; "
        f"point: median, bar: the cells of the grid of N that hold it, pale: not reached within the budget, so a lower "
        f"bound; lines: the law's, nothing fitted · right: N = {few}, rate tuned; data: {data}; model: {models}; bar: "
        f"{style.INTERVAL}; dotted: chance of one of ten labels",
    )
    return figure, frame[COLUMNS]


def _needed(suite: Suite) -> pd.DataFrame:
    """N for the cosine at equal logits, by what is credited."""
    table = samples_needed.table(suite)
    table = table[(table["stage"] == "level") & (table["cosine"] == COSINE)]
    rows = [table.iloc[:0].assign(line="")]
    for words, (name, _, _) in SAMPLERS.items():
        rows.append(table[(table[["noise", "credit", "shaping"]] == list(words)).all(axis=1)].assign(line=name))
    found = pd.concat(rows)
    bound = np.isinf(found["estimate"].astype(float))
    value = found["estimate"].where(~bound, found["low"])
    return found.assign(panel="samples needed", value=value, num_samples=pd.NA).reset_index(drop=True)


def _trained(suite: Suite) -> pd.DataFrame:
    """Final test accuracy against K at the smallest N that was run there."""
    name = _select.experiment(suite, "logit_dim", "logit_dim")
    table = _select.table(accuracy, suite, name)
    table = table[table["method"].isin(METHODS)]
    if table.empty or not set(table["method"]) & {"success_class", "maxrl_class"}:
        return pd.DataFrame(columns=COLUMNS)
    table = table[table["num_samples"] == table["num_samples"].min()]
    lines = table["method"].map(style.label)
    return table.assign(
        panel="training", line=lines, value=table["test_accuracy_mean"], law=np.nan, num_observations=table["num_seeds"]
    )


def _draw_needed(axes: Axes, frame: pd.DataFrame) -> None:
    axes.set(xscale="log", yscale="log")
    for name, method, marker in SAMPLERS.values():
        part = frame[frame["line"] == name].sort_values("logit_dim")
        look: dict[str, Any] = {"ax": axes, "x": "logit_dim", "color": style.colour(method), "legend": False}
        sns.lineplot(part, y="law", errorbar=None, linewidth=1.3, **look)
        open_above = np.isinf(part["estimate"].to_numpy(dtype=float))
        for rows, alpha, label in ((part[~open_above], 1.0, f"credited with {name}"), (part[open_above], 0.35, None)):
            if len(rows):
                sns.scatterplot(rows, y="value", marker=marker, s=34, alpha=alpha, label=label, **look)
        style.bars(axes, part[~open_above], "logit_dim", style.colour(method))
    style.ticks(axes, "x", style.decades(frame["logit_dim"]))
    style.ticks(axes, "y", style.decades(frame["law"]))
    axes.set(xlabel=style.AXES["logit_dim"], ylabel=f"N for a cosine of {COSINE:g}")
    axes.set_title("one example at the start")


def _draw_trained(axes: Axes, frame: pd.DataFrame) -> None:
    axes.set(xscale="log", ylim=(0, 1))
    for method in METHODS:
        part = frame[frame["method"] == method].sort_values("logit_dim")
        if len(part):
            look = style.look(method)
            sns.lineplot(part, x="logit_dim", y="value", ax=axes, errorbar=None, legend=False, **look)
            axes.lines[-1].set_label(f"trained: {style.label(method)}")
            style.bars(axes, part, "logit_dim", look["color"])
    axes.axhline(0.1, color=style.GREY, linestyle=":", linewidth=1)
    style.ticks(axes, "x", frame["logit_dim"])
    axes.set(xlabel=style.AXES["logit_dim"], ylabel=style.AXES["test_accuracy"])
    axes.set_title(f"a whole training, N = {style.number(frame['num_samples'].iloc[0])}")
