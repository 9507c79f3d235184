"""What the coverage study plants, and whether an interval on it holds the truth: one function a kind of interval.

A planted run needs log-normal many queries (spread s = .7). Two things keep it from arriving: it is *late*, slower than
its budget allows, or it *never* arrives, whatever the budget, as runs do that lose a class. Costs are exact but for
the exponent's, which are known between two points of a grid, as a suite's are.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from esgrad import statistics
from esgrad.statistics import Interval, comparisons, regression

SPREAD, EXPONENT = 0.7, 1.5
SIZES = np.array([10.0, 30.0, 100.0, 300.0])
FAMILY = 12
ALARM = "sign flips and Holm"  # a test among the intervals: all that it finds is false


class Condition(NamedTuple):
    """n seeds a cell; the share of runs that arrive too late, and the share that never would."""

    seeds: int
    late: float
    never: float


Trial = Callable[[np.random.Generator, Condition], dict[str, bool]]
"""Plants one suite: {interval: did it hold the truth?}, {ALARM: was there one?}, less those that are refused."""


def _costs(rng: np.random.Generator, case: Condition) -> tuple[NDArray, NDArray]:
    """Costs around a median of 1 and hits [seeds]."""
    return _seen(rng, case, np.exp(SPREAD * rng.normal(size=case.seeds)))


def _shared(rng: np.random.Generator, case: Condition, medians: NDArray) -> tuple[NDArray, NDArray]:
    """Costs of methods with these medians [methods] and hits [methods, seeds], all with the same budget.

    Half of the variance of a log cost is its seed's, the same for all methods, as of one split, start and batches.
    """
    own, seeds = rng.normal(size=(len(medians), case.seeds)), rng.normal(size=case.seeds)
    return _seen(rng, case, medians[:, None] * np.exp(SPREAD * (own + seeds) / np.sqrt(2)))


def _seen(rng: np.random.Generator, case: Condition, costs: NDArray) -> tuple[NDArray, NDArray]:
    """What is known of costs, and hits: a run that does not arrive stands at its budget."""
    hits = (costs <= _budget(case)) & (rng.random(costs.shape) >= case.never)
    return np.where(hits, costs, _budget(case)), hits


def _budget(case: Condition) -> float:
    """What a share `late` of those that would arrive exceeds; 16 times the median where none is to be late."""
    return float(np.exp(SPREAD * (stats.norm.isf(case.late) if case.late else 4)))


def _median(case: Condition) -> float:
    """The true median cost, those that never arrive counted as inf."""
    return float(np.exp(SPREAD * stats.norm.ppf(0.5 / (1 - case.never))))


def _running_time(case: Condition) -> float:
    """The true ERT: the mean spent, over the chance to arrive."""
    end = np.log(_budget(case)) / SPREAD
    arrives = (1 - case.never) * stats.norm.cdf(end)
    spent = (1 - case.never) * np.exp(SPREAD**2 / 2) * stats.norm.cdf(end - SPREAD)
    return float((spent + (1 - arrives) * _budget(case)) / arrives)


def _holds(interval: Interval | regression.Exponent, truth: float) -> bool:
    return bool(interval.low - 1e-12 <= truth <= interval.high + 1e-12)


def _mean(rng: np.random.Generator, case: Condition) -> dict[str, bool]:
    """Test accuracies: a run that loses a class loses .09."""
    lost = rng.random(case.seeds) < case.never
    values = 0.95 + 0.004 * rng.normal(size=case.seeds) - 0.09 * lost
    return {"mean_interval": _holds(statistics.mean_interval(values), 0.95 - 0.09 * case.never)}


def _wilson(rng: np.random.Generator, case: Condition) -> dict[str, bool]:
    rate = (1 - case.never) * (1 - case.late)
    found = statistics.wilson_interval(int(rng.binomial(case.seeds, rate)), case.seeds)
    return {"wilson_interval": _holds(found, rate)}


def _geometric_mean(rng: np.random.Generator, case: Condition) -> dict[str, bool]:
    return {"geometric_mean_interval": _holds(statistics.geometric_mean_interval(_costs(rng, case)[0]), 1.0)}


def _typical(rng: np.random.Generator, case: Condition) -> dict[str, bool]:
    costs, hits = _costs(rng, case)
    truth = _median(case)
    return {
        "median_interval": _holds(statistics.median_interval(costs, hits), truth),
        "cost_interval": _holds(statistics.cost_interval(costs, hits), truth),
    }


def _ratio(rng: np.random.Generator, case: Condition) -> dict[str, bool]:
    """Twelve times a reference that differs by seed and always arrives; half of one with the same budget, of which
    either may be late or never arrive; and one that is like itself."""
    costs, hits = _costs(rng, case)
    reference = np.exp(2 * rng.normal(size=case.seeds))
    found = statistics.ratio_interval(12 * reference * costs, hits, reference, np.ones(case.seeds))
    pairs = [_shared(rng, case, np.array([ratio, 1.0])) for ratio in (0.5, 1.0)]
    half, same = (statistics.ratio_interval(costs[0], hits[0], costs[1], hits[1]) for costs, hits in pairs)
    return {
        "ratio_interval": _holds(found, 12 * _median(case)),
        "ratio_interval, late reference": _holds(half, 0.5),
        "ratio_interval, to itself": _holds(same, 1.0),
    }


def _expected(rng: np.random.Generator, case: Condition) -> dict[str, bool]:
    costs, hits = _costs(rng, case)
    found = statistics.expected_running_time_interval(costs, hits, rng)
    return {"expected_running_time_interval": _holds(found, _running_time(case))}


def _exponent(rng: np.random.Generator, case: Condition, subjects: bool = False) -> dict[str, bool]:
    """n runs at each of four sizes, read between evaluations 1.25 apart; or n subjects at all, with an intercept each,
    read in cells that hide most of what else they scatter by. Budgets grow as K^1.2, slower than the costs.
    """
    within, cell = (0.1, np.log(10) / 8) if subjects else (SPREAD, np.log(1.25))
    x, who = np.tile(np.log(SIZES), case.seeds), np.repeat(np.arange(case.seeds), len(SIZES))
    cost = EXPONENT * x + subjects * SPREAD * rng.normal(size=case.seeds)[who] + within * rng.normal(size=len(x))
    budget = 1.2 * x + (np.quantile(cost - 1.2 * x, 1 - case.late) if case.late else np.inf)
    low, end = (np.floor(value / cell) * cell for value in (cost, budget))
    ends = np.exp(np.minimum(low, end)), np.exp(np.where(low < end, low + cell, np.inf))
    found = regression.exponent(np.exp(x), *ends, who if subjects else None)
    name = "exponent, same subjects" if subjects else "exponent"
    return {} if found.refusal else {name: _holds(found, EXPONENT)}


def _family(rng: np.random.Generator, case: Condition) -> dict[str, bool]:
    """Is any of 12 methods told from a reference that is like themselves? All share what a seed does to costs."""
    costs, hits = _shared(rng, case, np.ones(FAMILY + 1))
    pairs = [comparisons.log_ratios(*run, costs[0], hits[0]) for run in zip(costs[1:], hits[1:], strict=True)]
    adjusted = comparisons.holm([comparisons.sign_flip(pair).p for pair in pairs])
    return {ALARM: bool((adjusted <= comparisons.LEVEL).any())}


TRIALS: dict[str, Trial] = {
    "mean_interval": _mean,
    "geometric_mean_interval": _geometric_mean,
    "wilson_interval": _wilson,
    "typical": _typical,
    "ratio_interval": _ratio,
    "expected_running_time_interval": _expected,
    "exponent": _exponent,
    "exponent, same subjects": partial(_exponent, subjects=True),
    ALARM: _family,
}
