"""How large N must be: the smallest N whose mean cosine to the exact gradient reaches the wanted one, beside the law's.

Measured along one pass of growing N (`esgrad.samples_needed`), at level logits and at networks on their way through a
training. Per example: the median over examples; N* of each is known between two points of a grid (their geometric
middle stands for it) or exceeds what was drawn. `low` and `high` are an interval of `esgrad.statistics.cost_interval`
(95 % for six examples or more), widened by the grid's step; of a single batch the two points. The estimate is inf where
more than half never arrived. `predicted`: the median of the law's N* over the same examples, nothing fitted; `beyond`:
how many of them need more than 10⁹ samples by the law, where no budget would find them.
"""

from typing import Any

import numpy as np
import pandas as pd

from esgrad import markdown as md
from esgrad.statistics import Interval, cost_interval
from esgrad.suite import Suite

KEY = [
    *("dataset", "model", "stage", "level", "batch_size", "noise_variance", "space", "noise", "shaping", "cosine"),
    "logit_dim",
]
COLUMNS = [*KEY, "num_observations", "censored", "estimate", "low", "high", "predicted", "beyond"]
STAGES = ("level", "start", "half", "trained")
BEYOND = 1e9
LEAST = 0.5  # stands for a bracket's begin where the first N of the grid was enough already


def table(suite: Suite) -> pd.DataFrame:
    """One row for each stage, level, shaping, wanted cosine and K."""
    rows: list[dict[str, Any]] = []
    for key, needed in needs(suite.samples_needed).groupby(KEY, dropna=False, sort=False):
        rows.append(
            dict(zip(KEY, key, strict=True))
            | {"num_observations": len(needed), "censored": int(np.isinf(needed["high"]).sum())}
            | dict(zip(("estimate", "low", "high"), _typical(needed), strict=True))
            | {"predicted": needed["predicted"].median(), "beyond": int((needed["predicted"] > BEYOND).sum())}
        )
    return pd.DataFrame(rows, columns=COLUMNS).astype({"batch_size": "Int64"})


def needs(measured: pd.DataFrame) -> pd.DataFrame:
    """The brackets of N* in what was measured, stage by stage as a training goes, in a fixed order."""
    needed = measured[measured["kind"] == "needed"]
    age = needed["stage"].map({stage: age for age, stage in enumerate(STAGES)}).astype(float)
    return needed.assign(age=age).sort_values(["age", *KEY, "example"], ignore_index=True).drop(columns="age")


def markdown(frame: pd.DataFrame) -> str:
    """The table with each interval in one column."""
    shown = frame.drop(columns=["low", "high"]).rename(columns={"estimate": "N*"})
    shown["N*"] = list(map(md.interval, frame["estimate"], frame["low"], frame["high"]))
    return md.markdown(shown)


def _typical(needed: pd.DataFrame) -> Interval:
    """The middles' typical value, from the low end of that of the begins to the high end of that of the ends."""
    low, high = (needed[end].to_numpy(dtype=float) for end in ("low", "high"))
    hits, low = np.isfinite(high), np.maximum(low, LEAST)
    high = np.where(hits, high, low)
    middle = np.sqrt(low * high)
    if len(needed) == 1:
        return Interval(middle[0], low[0], high[0]) if hits[0] else Interval(np.inf, low[0], np.inf)
    below, typical, above = (cost_interval(costs, hits) for costs in (low, middle, high))
    return Interval(typical.estimate, below.low, above.high)
