"""How much the learning rate matters: validation accuracy of the tuning runs against it, method by method.

A line is the mean over tuning seeds (never reported) at the method's N nearest 10, a bar their whole range; a ring
marks the rate that was chosen, a cross on the floor a rate at which a tuning run diverged. Where t was tuned with the
rate, its lines are those of the t that was taken.
"""

import pandas as pd
from matplotlib.axes import Axes

from esgrad.report import runs, style
from esgrad.report.figures import _select
from esgrad.report.tables import learning_rates
from esgrad.suite.gathered import Suite

TITLE = "How much does the learning rate matter?"
COLUMNS = [
    *(*runs.COLUMNS, "label", "dashed", "learning_rate"),
    *("validation_accuracy", "lowest", "highest", "num_seeds", "diverged", "chosen"),
]
VALUE = "validation_accuracy"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per method and rate; the accuracy is NaN where a tuning run diverged."""
    name = _select.experiment(suite, "headline", "method")
    tuning = suite.tuning[suite.tuning["experiment"] == name]
    if tuning.empty:
        return style.words(TITLE, "No run of this suite tuned a learning rate.", COLUMNS)
    last = tuning.sort_values("step", kind="stable").groupby([*runs.COLUMNS, "learning_rate", "seed"], dropna=False)
    ends = last.tail(1).groupby([*runs.COLUMNS, "learning_rate"], dropna=False, as_index=False)
    ranges = ends["validation_accuracy"].agg(lowest="min", highest="max")
    frame = _select.table(learning_rates, suite, name).merge(ranges, how="left")
    frame = frame[frame.groupby(runs.COLUMNS, dropna=False)["chosen"].transform("any")]  # of a tuned t the one taken
    frame = _select.labelled(_select.at_one_n(frame))
    panels = _select.settings(frame)
    figure, grid = style.canvas(1, len(panels), 5.2, 3.8, TITLE, sharey=True)
    low, high = frame["lowest"].min(), frame["highest"].max()
    floor = 0.0 if pd.isna(low) else low - 0.05
    for axes, (title, part) in zip(grid[0], panels, strict=True):
        axes.set_yscale("function", functions=(style.log_error, style.log_error_inverse))
        _panel(axes, part, floor)
        style.accuracy_ticks(axes.yaxis, floor, high)
        axes.set_title(title)
    grid[0][0].set_ylabel("validation accuracy of the tuning runs")
    style.legend(figure, title=_select.samples(frame))
    marks = "ring: rate chosen" + (" · ×: a run diverged" if frame["diverged"].any() else "")
    marks += " · clearly worse rates: half of the seeds" if frame["num_seeds"].nunique() > 1 else ""
    style.footnote(figure, tuning, "line: mean, bar: range over tuning seeds", f"{marks} · {style.budget(tuning)}")
    return figure, frame[COLUMNS]


def _panel(axes: Axes, frame: pd.DataFrame, floor: float) -> None:
    axes.set_xscale("log")
    for label, look, line in _select.lines(frame):
        line = line.sort_values("learning_rate")
        axes.plot(line["learning_rate"], line["validation_accuracy"], label=label, **look)
        axes.vlines(line["learning_rate"], line["lowest"], line["highest"], color=look["color"], linewidth=1, alpha=0.6)
        ring = line[line["chosen"]]
        axes.plot(ring["learning_rate"], ring["validation_accuracy"], "o", **_ring(look["color"]))
        lost = line[line["diverged"] > 0]
        if len(lost):
            axes.plot(lost["learning_rate"], [floor] * len(lost), "x", color=look["color"], clip_on=False)
    style.ticks(axes, "x", frame["learning_rate"])
    axes.set_ylim(bottom=floor)
    axes.set_xlabel(style.AXES["learning_rate"])


def _ring(colour: str) -> dict:
    return {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 1.4}
