"""What a rule for t costs against a fixed t, each at the level that other seeds chose.

The best of several levels on the seeds that it is reported on is flattered: some of its lead is luck. So the seeds are
dealt into two halves by turns. Each half chooses a level of the rule and a fixed t, those with the highest mean
*validation* accuracy at the end, and the differences in *test* accuracy that count are those of the other half.
`regret` is the mean of all these differences, fixed minus rule, with Student's t interval over seeds: positive where
the fixed t does better. It holds the luck of choosing as anybody has it who chooses on half as many seeds.

`levels` and `fixed` tell what the two halves chose. A run that diverged counts as accuracy 0, as in the table `regret`,
from which the cells and their peers come.
"""

from typing import Any

import pandas as pd

from esgrad.report.tables.regret import PEERS, accuracy, ends
from esgrad.statistics import mean_interval
from esgrad.suite.gathered import Suite

COLUMNS = [
    *("experiment", *PEERS, "method", "num_levels", "num_fixed"),
    *("levels", "fixed", "regret", "low", "high", "num_seeds"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each rule, N and task that has a fixed t beside it."""
    rows: list[dict[str, Any]] = []
    for key, peers in ends(suite).groupby(["experiment", *PEERS], dropna=False, sort=False):
        fixed = peers[peers["schedule"] == "fixed"]
        for method, rule in peers[peers["schedule"] != "fixed"].groupby("method", sort=False):
            if len(fixed):
                rows.append(
                    dict(zip(["experiment", *PEERS], key, strict=True)) | {"method": method} | _row(rule, fixed)
                )
    return pd.DataFrame(rows, columns=COLUMNS).astype({"num_samples": "Int64"})


def _row(rule: pd.DataFrame, fixed: pd.DataFrame) -> dict[str, Any]:
    levels, fixed_levels, differences = [], [], []
    seeds = sorted(set.intersection(*(set(last.index) for last in [*rule["last"], *fixed["last"]])))
    for half, others in ((seeds[::2], seeds[1::2]), (seeds[1::2], seeds[::2])):
        if half and others:
            own, best = _chosen(rule, half), _chosen(fixed, half)
            differences.append((accuracy(best["last"], "test") - accuracy(own["last"], "test")).loc[others])
            levels.append(own["noise_variance"])
            fixed_levels.append(best["noise_variance"])
    regret = mean_interval(pd.concat(differences).dropna() if differences else pd.Series(dtype=float))
    return {
        "num_levels": len(rule),
        "num_fixed": len(fixed),
        "num_seeds": len(seeds),
        "levels": _told(levels),
        "fixed": _told(fixed_levels),
        **dict(zip(["regret", "low", "high"], regret, strict=True)),
    }


def _chosen(cells: pd.DataFrame, seeds: list[int]) -> dict[str, Any]:
    """The cell with the highest mean validation accuracy over these seeds."""
    return max(cells.to_dict("records"), key=lambda row: accuracy(row["last"], "validation").loc[seeds].mean())


def _told(levels: list[float]) -> str:
    return ", ".join(f"{level:g}" for level in levels)
