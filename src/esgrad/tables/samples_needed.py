"""How large N must be: the smallest N whose mean cosine to the exact gradient reaches the wanted one, beside the law's.

Measured along one pass of growing N (`measurement.samples_needed`), at level logits and at networks on their way
through a training. Per example: the median over examples; N* of each is known between two points of a grid (their
geometric middle stands for it) or exceeds what was drawn. `low` and `high` are an interval of
`statistics.cost_interval` (95 % for six examples or more), widened by the grid's step; of a single batch the two
points. The estimate is inf where more than half never arrived. `predicted`: the median of the law's N* over the same
examples, nothing fitted. `ratio_to_law`: the same of each example's N* over the law's own for it,
without those whose law has none (inf).
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from esgrad import markdown as md
from esgrad.statistics import NOTHING, Interval, cost_interval
from esgrad.suite import Suite

KEY = [
    *("dataset", "model", "stage", "level", "batch_size", "noise_variance", "space", "noise", "shaping", "cosine"),
    "logit_dim",
]
RATIO = ["ratio_to_law", "ratio_low", "ratio_high"]
COLUMNS = [*KEY, "num_observations", "censored", "estimate", "low", "high", "predicted", *RATIO]
STAGES = ("level", "start", "half", "trained")
LEAST = 0.5  # stands for a bracket's begin where the first N of the grid was enough already


def table(suite: Suite) -> pd.DataFrame:
    """One row for each stage, level, shaping, wanted cosine and K."""
    rows: list[dict[str, Any]] = []
    for key, needed in needs(suite.samples_needed).groupby(KEY, dropna=False, sort=False):
        rows.append(
            dict(zip(KEY, key, strict=True))
            | {"num_observations": len(needed), "censored": int(np.isinf(needed["high"]).sum())}
            | dict(zip(("estimate", "low", "high"), _typical(needed), strict=True))
            | {"predicted": needed["predicted"].median()}
            | dict(zip(RATIO, _typical(needed, needed["predicted"].to_numpy(dtype=float)), strict=True))
        )
    return pd.DataFrame(rows, columns=COLUMNS).astype({"batch_size": "Int64"})


def needs(measured: pd.DataFrame) -> pd.DataFrame:
    """The brackets of N* in what was measured, stage by stage as a training goes, in a fixed order."""
    needed = measured[measured["kind"] == "needed"]
    age = needed["stage"].map({stage: age for age, stage in enumerate(STAGES)}).astype(float)
    return needed.assign(age=age).sort_values(["age", *KEY, "example"], ignore_index=True).drop(columns="age")


def markdown(frame: pd.DataFrame) -> str:
    """The table with each interval in one column."""
    shown = frame.drop(columns=["low", "high", *RATIO[1:]]).rename(columns={"estimate": "N*"})
    shown["N*"] = list(map(md.interval, frame["estimate"], frame["low"], frame["high"]))
    shown["ratio_to_law"] = list(map(md.interval, *(frame[word] for word in RATIO)))
    return md.markdown(shown)


def _typical(needed: pd.DataFrame, unit: NDArray | float = 1.0) -> Interval:
    """In some units [n], the middles' typical value, from the low end of that of the begins to the high end of that of
    the ends."""
    low, high = (needed[end].to_numpy(dtype=float) for end in ("low", "high"))
    hits = np.isfinite(high)
    low = np.maximum(low, LEAST)
    begin, end = low / unit, np.where(hits, high, low) / unit
    known = begin > 0
    begin, end, hits = begin[known], end[known], hits[known]
    if len(hits) == 0:
        return NOTHING
    middle = np.sqrt(begin * end)
    if len(hits) == 1:
        return Interval(middle[0], begin[0], end[0]) if hits[0] else Interval(np.inf, begin[0], np.inf)
    below, typical, above = (cost_interval(costs, hits) for costs in (begin, middle, end))
    return Interval(typical.estimate, below.low, above.high)
