"""Test accuracy at the end of training: mean over the reported seeds with Student's t interval.

A run that diverged has no test accuracy. It is counted in `num_seeds` and `diverged` and left out of the mean
and of `dead_class_rate`, the share of runs that end with a class they never predict.
"""

import pandas as pd

from esgrad.report import markdown as md
from esgrad.report.runs import COLUMNS, cells, last_rows
from esgrad.statistics import mean_interval
from esgrad.suite.gathered import Suite

_COLUMNS = [
    *(
        *COLUMNS,
        "test_accuracy_mean",
        "low",
        "high",
        "num_seeds",
        "dead_class_rate",
        "learning_rate",
        "diverged",
    ),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each cell."""
    rows = [cell | _row(last_rows(runs)) for cell, runs in cells(suite, suite.reported)]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"num_samples": "Int64"})


def markdown(frame: pd.DataFrame) -> str:
    """The table with mean and interval in one column."""
    shown = frame.drop(columns=["low", "high"])
    shown["test_accuracy_mean"] = list(map(md.interval, frame["test_accuracy_mean"], frame["low"], frame["high"]))
    return md.markdown(shown)


def _row(last: pd.DataFrame) -> dict[str, float | int]:
    finished = last[last["status"] != "diverged"]
    mean, low, high = mean_interval(finished["test_accuracy"])
    rates = last["learning_rate"].unique()
    if len(rates) > 1:
        raise ValueError(f"the runs of one cell must share a learning rate, got {sorted(rates)}; retrain the cell.")
    return {
        "test_accuracy_mean": mean,
        "low": low,
        "high": high,
        "num_seeds": len(last),
        "dead_class_rate": (finished["dead_classes"] > 0).mean() if len(finished) else float("nan"),
        "learning_rate": rates[0],
        "diverged": len(last) - len(finished),
    }
