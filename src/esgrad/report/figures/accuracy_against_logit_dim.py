"""What a longer logit vector costs: final test accuracy against K, a line for each method and N.

The task stays as it is while K grows (logits no label uses), so a method that knew which logits matter would draw a
level line. Bars are Student's t interval over the seeds that finished, moved aside so that none hides another; the
dotted line is chance.
"""

import pandas as pd
from matplotlib.axes import Axes

from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.tables import accuracy
from esgrad.suite.gathered import Suite

TITLE = "What does a longer logit vector cost?"
SETTING = ["dataset", "model", "batch_size", "noise_variance"]
COLUMNS = [
    *(*_select.SETTING, "blackbox", "method", "num_samples", "noise_variance", "label"),
    *("test_accuracy_mean", "low", "high", "num_seeds", "diverged", "chance"),
]
VALUE = "test_accuracy_mean"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn, `chance` (1/classes) beside it."""
    name = _select.experiment(suite, "logit_dim", "logit_dim")
    records = _select.reported(suite, name)
    if records.empty:
        return style.words(TITLE, "No experiment of this configuration varies K.", COLUMNS)
    classes = records.groupby(["dataset", "logit_dim"], as_index=False)["num_classes"].first()
    frame = _select.labelled(_select.table(accuracy, suite, name)).merge(classes)
    frame = frame.assign(chance=1 / frame["num_classes"])
    panels = _select.settings(frame, ["dataset", "model", "batch_size"])
    figure, grid = style.canvas(1, len(panels), 5.2, 3.8, TITLE, sharey=True)
    for axes, (title, part) in zip(grid[0], panels, strict=True):
        _panel(axes, part)
        axes.set_title(title)
    grid[0][0].set_ylabel(style.AXES["test_accuracy"])
    style.legend(figure)
    crosses = "×: all seeds diverged · " if frame["test_accuracy_mean"].isna().any() else ""
    bar = f"line: mean, bar: {style.INTERVAL}"
    style.footnote(figure, records, bar, f"{crosses}{style.budget(records)}")
    return figure, frame[COLUMNS]


def _panel(axes: Axes, frame: pd.DataFrame) -> None:
    axes.set_xscale("log")
    many = frame["num_samples"].max()
    lines = list(_select.lines(frame))
    for place, (label, look, line) in enumerate(lines):
        line = line.sort_values("logit_dim")
        known, mean = line["num_samples"].iloc[0], line["test_accuracy_mean"]
        if pd.notna(known) and known < many:  # the same colour with fewer samples: dashed and hollow
            look |= {"linestyle": (0, (2.5, 1.5)), "markerfacecolor": "white"}
        x = line["logit_dim"] * 1.03 ** (place - (len(lines) - 1) / 2)  # aside, so that no bar hides another
        bars = (mean - line["low"]).fillna(0), (line["high"] - mean).fillna(0)
        axes.errorbar(x, mean, bars, label=label, capsize=2, elinewidth=1.2, **look)
        lost = mean.isna()
        axes.plot(x[lost], [0.02] * lost.sum(), "x", color=look["color"])
    chance = frame.drop_duplicates("logit_dim").sort_values("logit_dim")
    axes.plot(chance["logit_dim"], chance["chance"], ":", color=style.GREY)
    place = chance[["logit_dim", "chance"]].iloc[0]
    axes.annotate("chance", place, (0, -3), textcoords="offset points", va="top", color=style.GREY, fontsize=8)
    style.ticks(axes, "x", frame["logit_dim"])
    axes.set_ylim(0, 1)
    axes.set_xlabel(style.AXES["logit_dim"])
