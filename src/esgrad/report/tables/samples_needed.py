"""How large N must be: the smallest N whose mean cosine to the exact gradient reaches the wanted one, beside the law's.

Measured along one pass of growing N (`measurement.samples_needed`), at level logits and at networks on their way
through a training. N is a whole number, and a bracket of the noisy curve holds some of them. `estimate`: the median
over examples or batches, the lower one of two, of the geometric middles of the least and the largest of these, or inf
where more than half were not done when the budget was spent; `low` and `high`: order statistics of the least and of the
largest (`statistics.median_interval`), which hold the median with 95 % for six or more, with `coverage` for fewer; of
one alone its bracket, of which no coverage is known (NaN).

`predicted` is the same statistic of the law's N* of the same examples, put into the same cells of the grid and censored
at the same N, with nothing fitted: a law without error has `predicted` = `estimate`. `law`: the median of the law's N*
themselves. `ratio_to_law`: the median over examples of N* over the law's own for it, without those whose law has none
(inf).
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from esgrad import menu
from esgrad.measurement import brackets
from esgrad.report import markdown as md
from esgrad.statistics import NOTHING, Interval, median_interval, median_order
from esgrad.suite.gathered import Suite

KEY = [
    *("dataset", "model", "stage", "level", "batch_size", "noise_variance", "space", "noise", "credit"),
    *("shaping", "cosine"),
    "logit_dim",
]
RATIO = ["ratio_to_law", "ratio_low", "ratio_high"]
COLUMNS = [*KEY, "num_observations", "censored", "estimate", "low", "high", "coverage", "predicted", "law", *RATIO]
STAGES = ("level", "start", "half", "trained")
LAW_ERROR = 2e-5  # relative, of a law's N*: it does not make a whole N one more


def table(suite: Suite) -> pd.DataFrame:
    """One row for each stage, level, shaping, wanted cosine and K."""
    rows: list[dict[str, Any]] = []
    for key, needed in needs(suite.samples_needed).groupby(KEY, dropna=False, sort=False):
        low, high, law = (needed[word].to_numpy(dtype=float) for word in ("low", "high", "predicted"))
        least = fewest(needed)
        asked = np.maximum(whole(law), least)
        rows.append(
            dict(zip(KEY, key, strict=True))
            | {"num_observations": len(needed), "censored": int(np.isinf(high).sum())}
            | dict(zip(("estimate", "low", "high"), typical(low, high), strict=True))
            | {"coverage": coverage(len(needed))}
            | {"predicted": typical(*cells(law, least, reached(low, high))).estimate}
            | {"law": typical(np.minimum(asked - 1, brackets.MOST_SAMPLES), asked).estimate}
            | dict(zip(RATIO, typical(low, high, asked), strict=True))
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


def cells(law: NDArray, least: int = 1, most: float = np.inf) -> tuple[NDArray, NDArray]:
    """The brackets (low, high] [n] that curves without noise would have had, of the law's N* [n]."""
    low, high = np.array([brackets.cell(needed, least, most) for needed in whole(law)]).T
    return low, high


def fewest(needed: pd.DataFrame) -> int:
    """The fewest samples of the shaping that these rows have."""
    return int(menu.load("shapings", str(needed["shaping"].iloc[0])).FEWEST)


def whole(law: NDArray) -> NDArray:
    """The smallest whole numbers of samples that a law's N* [n] ask for."""
    return np.maximum(np.ceil(law * (1 - LAW_ERROR)), 1.0)


def reached(low: NDArray, high: NDArray) -> float:
    """The N at which what shares a pass was censored; inf where all of it was done."""
    censored = low[np.isinf(high)]
    return float(censored.max()) if len(censored) else np.inf


def coverage(count: int) -> float:
    """The chance that the interval of `median_interval` holds the median of n, if no two are equal; NaN for one."""
    return float(1 - 2 * stats.binom.cdf(median_order(count) - 1, count, 0.5)) if count > 1 else np.nan


def least_and_largest(low: NDArray, high: NDArray) -> tuple[NDArray, NDArray]:
    """The whole N of brackets (low, high]: from 0 on the first N of the grid alone; of one that is open, where it
    begins."""
    begin = np.where(low > 0, low + 1, np.where(np.isfinite(high), high, 1.0))
    return begin, np.where(np.isfinite(high), high, begin)


def typical(low: NDArray, high: NDArray, unit: NDArray | float = 1.0) -> Interval:
    """In some units [n] the median of the brackets' middles, from the low end of that of their least N to the high end
    of that of their largest."""
    hits = np.isfinite(high)
    begin, end = (each / unit for each in least_and_largest(low, high))
    known = begin > 0
    begin, end, hits = begin[known], end[known], hits[known]
    if len(hits) == 0:
        return NOTHING
    below, middle, above = (median_interval(costs, hits) for costs in (begin, np.sqrt(begin * end), end))
    return Interval(middle.estimate, below.low, above.high)
