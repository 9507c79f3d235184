"""How often a method arrives at all, and how often it ends with a class it never predicts.

Rates are over the reported seeds, with Wilson's score interval. A run that diverged did not arrive, and is left out of
the rate of dead classes. `expected_queries` is ERT: all queries spent, by runs that arrived and runs that did not, per
arrival (COCO's expected running time); infinite where nobody arrived, empty where a method asks no queries.
"""

from typing import Any

import pandas as pd

from esgrad import markdown as md
from esgrad.runs import COLUMNS, arrivals, backprop, cells, last_rows
from esgrad.runs import targets as levels
from esgrad.statistics import expected_running_time, wilson_interval
from esgrad.suite import Suite

_COLUMNS = [
    *(*COLUMNS, "target", "target_accuracy", "num_seeds", "hits", "success_rate", "low", "high"),
    *("expected_queries", "dead_class_rate", "dead_class_low", "dead_class_high"),
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
            queries = expected_running_time(arrived["queries"], arrived["hit"])
            rows.append(dict(zip(_COLUMNS, (*row, queries, *dead), strict=True)))
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"num_samples": "Int64"})


def markdown(frame: pd.DataFrame) -> str:
    """The table with each rate and its interval in one column."""
    shown = frame.drop(columns=["low", "high", "dead_class_low", "dead_class_high"])
    shown["success_rate"] = list(map(md.interval, frame["success_rate"], frame["low"], frame["high"]))
    dead = (frame["dead_class_rate"], frame["dead_class_low"], frame["dead_class_high"])
    shown["dead_class_rate"] = list(map(md.interval, *dead))
    return md.markdown(shown)
