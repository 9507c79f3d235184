"""What a method spends until it arrives at a target: steps, queries and forward passes, and against backprop.

A cost is read at the evaluation that shows the arrival: up to one step of the schedule too high, which a ratio
cancels on average, and where all seeds agree the interval has no width though the schedule has. `estimate`,
`low` and `high` are those of `esgrad.statistics.cost_interval`: geometric mean and Student's t where all runs
arrived, the median between order statistics where some were censored (`high` inf if too many were), estimate inf
where more than half were. The ratio is of the runs, seed by seed, to the backprop runs of `esgrad.report.runs.backprop`
(`ratio_interval`: no seed is left out because one of the two never arrived; 0 is an upper bound, `ratio_high`, inf a
lower, and where neither is known the ratio is empty between 0 and inf). Progress is backprop's: without its runs on
the same task there are no such rows and no ratios. Exact smoothing asks no queries: its costs in that unit are empty.
"""

from itertools import starmap
from typing import Any

import pandas as pd

from esgrad.report import markdown as md
from esgrad.report.runs import COLUMNS, UNITS, arrivals, backprop, cells
from esgrad.report.runs import targets as levels
from esgrad.statistics import NOTHING, cost_interval, ratio_interval
from esgrad.suite.gathered import FIRST_TUNING_SEED, Suite

_COST, RATIO = ["estimate", "low", "high"], ["ratio_to_backprop", "ratio_low", "ratio_high"]
_COLUMNS = [
    *(*COLUMNS, "target", "target_accuracy", "unit", "num_seeds", "hits", "censored"),
    *(*_COST, *RATIO),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each cell, target and unit."""
    return compared(suite)[_COLUMNS]


def compared(suite: Suite) -> pd.DataFrame:
    """The table with one more column, `num_pairs`: the seeds behind a ratio, those that both ran."""
    rows: list[dict[str, Any]] = []
    for cell, runs in cells(suite, suite.reported):
        reference = backprop(suite, cell)
        reported = reference[reference["seed"] < FIRST_TUNING_SEED]
        for target, accuracy in levels(suite, reference).items():
            named = cell | {"target": target, "target_accuracy": accuracy}
            rows += _units(named, arrivals(runs, accuracy), arrivals(reported, accuracy))
    return pd.DataFrame(rows, columns=[*_COLUMNS, "num_pairs"]).astype({"num_samples": "Int64"})


def markdown(frame: pd.DataFrame) -> str:
    """The table with each interval in one column, as `esgrad.report.markdown.interval` writes it."""
    shown = frame.drop(columns=[*_COST, *RATIO])
    shown["cost"] = list(starmap(md.interval, frame[_COST].to_numpy()))
    shown["times backprop"] = list(starmap(md.ratio, frame[RATIO].to_numpy()))
    return md.markdown(shown)


def _units(named: dict[str, Any], runs: pd.DataFrame, reference: pd.DataFrame) -> list[dict[str, Any]]:
    pairs = runs.join(reference.add_suffix("_backprop"), how="inner")
    hits = int(runs["hit"].sum())
    count = {"num_seeds": len(runs), "hits": hits, "censored": len(runs) - hits}
    rows = []
    for unit in UNITS:
        asked = runs[unit].notna().all()
        cost = cost_interval(runs[unit], runs["hit"]) if asked else NOTHING
        ratio = ratio_interval(pairs[unit], pairs["hit"], pairs[f"{unit}_backprop"], pairs["hit_backprop"])
        rows.append(
            {
                **named,
                "unit": unit,
                **count,
                **dict(zip(_COST, cost, strict=True)),
                **dict(zip(RATIO, ratio, strict=True)),
                "num_pairs": len(pairs),
            }
        )
    return rows
