"""The same queries, spent on more examples (B) or on more samples of each (N): final test accuracy, method by method.

With the same number of queries a cell with half the B·N takes twice the steps; the second line of a cell is that
number. Runs may end with fewer queries, where their steps run out first, or overshoot by part of a step: the footnote
gives the range they spent.
"""

from typing import Any

import pandas as pd

from esgrad.report import runs, style
from esgrad.report.figures import _heatmap, _select
from esgrad.report.tables import accuracy
from esgrad.suite.gathered import Suite

TITLE = "The same queries: more examples, or more samples of each?"
COLUMNS = [
    *(*_select.SETTING, "blackbox", "method", "num_samples", "noise_variance", "label"),
    *("test_accuracy_mean", "diverged", "num_seeds", "steps", "queries"),
]
VALUE = "test_accuracy_mean"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per cell of a heat map; `steps` and `queries` are those of its longest run."""
    name = _select.experiment(suite, "batch_size", "batch_size")
    records = _select.reported(suite, name)
    records = records[records["num_samples"].notna()]
    if records.empty:
        return style.words(TITLE, "No experiment of this configuration varies B.", COLUMNS)
    spent = records.groupby(runs.COLUMNS, dropna=False, as_index=False).agg(
        steps=("step", "max"), queries=("queries", "max")
    )
    frame = _select.table(accuracy, suite, name).merge(spent, how="inner")
    frame = _select.labelled(frame, by=["blackbox", "noise_variance"])
    figure = _heatmap.draw(frame, "batch_size", TITLE, _second_line)
    style.footnote(figure, records, "number: mean over the seeds that finished, no band", f"each run {_budget(frame)}")
    return figure, frame[COLUMNS]


def _budget(frame: pd.DataFrame) -> str:
    """The queries of a run, or their range where the last step overshoots or the steps ran out first."""
    least, most = frame["queries"].min(), frame["queries"].max()
    exact = least == most
    return f"{style.number(least)} queries" if exact else f"{style.number(least)}–{style.number(most)} queries"


def _second_line(row: Any) -> str:
    return f"{row.steps:,} steps"
