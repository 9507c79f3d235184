"""How often a method arrives at all, and how often it ends with a class it never predicts.

Rates are over the reported seeds, with Wilson's score interval. A run that diverged did not arrive, and is left out of
the rate of dead classes. `expected_queries` is ERT: all queries spent, by runs that arrived and runs that did not, per
arrival (COCO's expected running time); a lower bound where nobody arrived, empty where a method asks no queries. Its
interval is a bootstrap over the runs, whose seed is the same in every row; it holds the truth less often than 95 %
where n is small and nearly all arrive (`expected_running_time_interval` says how often).
"""

from typing import Any

import numpy as np
import pandas as pd

from esgrad.report import markdown as md
from esgrad.report.runs import COLUMNS, arrivals, backprop, cells, last_rows
from esgrad.report.runs import targets as levels
from esgrad.statistics import expected_running_time_interval, wilson_interval
from esgrad.suite.gathered import Suite

_COLUMNS = [
    *(*COLUMNS, "target", "target_accuracy", "num_seeds", "hits", "success_rate", "low", "high"),
    *("expected_queries", "expected_queries_low", "expected_queries_high"),
    *("dead_class_rate", "dead_class_low", "dead_class_high"),
]
_INTERVALS = [
    ("success_rate", "low", "high"),
    ("expected_queries", "expected_queries_low", "expected_queries_high"),
    ("dead_class_rate", "dead_class_low", "dead_class_high"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each cell and target."""
    rows: list[dict[str, Any]] = []
    for cell, runs in cells(suite, suite.reported):
        finished = last_rows(runs).query("status != 'diverged'")
        dead = wilson_interval(int((finished["dead_classes"] > 0).sum()), len(finished))
        for target, accuracy in levels(suite, backprop(suite, cell)).items():
            arrived = arrivals(runs, accuracy)
            rate = wilson_interval(int(arrived["hit"].sum()), len(arrived))
            row = (*cell.values(), target, accuracy, len(arrived), int(arrived["hit"].sum()), *rate)
            queries = expected_running_time_interval(arrived["queries"], arrived["hit"], np.random.default_rng(0))
            rows.append(dict(zip(_COLUMNS, (*row, *queries, *dead), strict=True)))
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"num_samples": "Int64"})


def markdown(frame: pd.DataFrame) -> str:
    """The table with each rate and its interval in one column."""
    shown = frame.copy()
    for column, low, high in _INTERVALS:
        shown[column] = list(map(md.interval, frame[column], frame[low], frame[high]))
    return md.markdown(shown.drop(columns=[end for _, *ends in _INTERVALS for end in ends]))
