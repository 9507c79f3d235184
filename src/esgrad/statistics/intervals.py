"""Pure functions on arrays: what a training costs until a target, and how sure we may be.

A cost is counted in steps, queries or forward passes, and read at the evaluations. A run that ends before it
arrives is right-censored: its cost is known to exceed what it spent, and `hit` is False. No function here
looks at other runs than those it is given, and the one that resamples them takes its Generator as an argument.

An interval is `(estimate, low, high)` at 95 % confidence. Plain percentile bootstraps are not used: they cover
75, 84 and 91 % at n = 3, 5 and 10. With one value there is an estimate and no interval (NaN). How often each
interval holds the truth, by n and censoring, is measured in `report.coverage`: `make coverage` prints the table.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """An estimate and its 95 % interval; NaN where the data allow none."""

    estimate: float
    low: float
    high: float


NOTHING = Interval(np.nan, np.nan, np.nan)


def arrival(costs: ArrayLike, accuracies: ArrayLike, target: float) -> int | None:
    """The first evaluation at or above the target that the next one confirms; None if there is none.

    `costs` and `accuracies`, [evaluations], are one run's, in order. One lucky reading is not an arrival, so
    the last evaluation, which nothing confirms, never is one; NaN confirms nothing. Nor is the evaluation
    before the first step (cost 0): what has not been trained has not arrived by training.
    """
    above = np.asarray(accuracies, dtype=float) >= target
    spent = np.asarray(costs, dtype=float)
    if above.shape != spent.shape or above.ndim != 1:
        raise ValueError(f"costs and accuracies must be of one length, got {spent.shape} and {above.shape}.")
    confirmed = above[:-1] & above[1:] & ~(spent[:-1] <= 0)
    return int(np.argmax(confirmed)) if confirmed.any() else None


def survival(costs: ArrayLike, hits: ArrayLike) -> tuple[NDArray, NDArray]:
    """Kaplan and Meier's estimate of S(cost), the share of runs still on their way: sorted costs, S at each.

    costs [runs]: at arrival where `hits` [runs], else what the run spent. A run censored at a cost at which
    another arrives counts as still on its way there.
    """
    costs, hits = _runs(costs, hits)
    sample = stats.CensoredData(uncensored=costs[hits], right=costs[~hits])
    function = stats.ecdf(sample).sf
    return function.quantiles, function.probabilities


def median_cost(costs: ArrayLike, hits: ArrayLike) -> float:
    """Kaplan and Meier's median: the first cost at which S ≤ ½; inf where S never falls so far.

    The comparison has a tolerance, because S is a product of fractions that may miss ½ by a rounding:
    on [1, 2, 3, 4] the median is 2.
    """
    if np.size(costs) == 0:
        return np.nan
    at, share = survival(costs, hits)
    reached = share <= 0.5 + 1e-9
    return float(at[np.argmax(reached)]) if reached.any() else np.inf


def median_interval(costs: ArrayLike, hits: ArrayLike) -> Interval:
    """`median_cost` between two order statistics; distribution-free, whatever censors the runs.

    With k the largest number for which P(Binomial(n, ½) < k) ≤ 2.5 %, `low` is the k-th smallest of the costs
    (a censored run stands at what it spent, which its cost exceeds) and `high` the k-th largest (there it
    stands at inf). The coverage is at least 95 % (97.9 % at n = 10). Below six runs no such k exists; the
    extremes stand in, which cover 1 − 2^(1−n): 93.8 % at n = 5, 50 % at n = 2.
    """
    costs, hits = _runs(costs, hits)
    n = len(costs)
    if n == 0 or np.isnan(costs).any():
        return NOTHING
    if n == 1 and hits.all():
        return Interval(float(costs[0]), np.nan, np.nan)
    k = median_order(n)
    low, high = np.sort(costs)[k - 1], np.sort(np.where(hits, costs, np.inf))[n - k]
    return Interval(median_cost(costs, hits), float(low), float(high))


def median_order(count: int) -> int:
    """Which order statistics bound the median of n: the k-th smallest and k-th largest, as `median_interval` says."""
    return max(1, int(stats.binom.ppf((1 - CONFIDENCE) / 2, count, 0.5)))


def cost_interval(costs: ArrayLike, hits: ArrayLike) -> Interval:
    """The typical cost of arriving: the median over seeds, low ≤ estimate ≤ high.

    Where every run arrived: the geometric mean, which is the median if costs are log-normal, with Student's t
    on the logs. Where some were censored: `median_interval`, but with estimate inf if more than half never
    arrived; then `> low` is what may be said, and where none arrived `low` is the budget. (Kaplan and Meier
    would name a median there if some runs were censored early, and it could be the luck of one late arrival.)
    """
    costs, hits = _runs(costs, hits)
    if hits.all():
        return geometric_mean_interval(costs)
    interval = median_interval(costs, hits)
    told = 2 * hits.sum() >= len(hits) or np.isnan(interval.estimate)
    return interval if told else interval._replace(estimate=np.inf)


def expected_running_time(costs: ArrayLike, hits: ArrayLike) -> float:
    """ERT: all that was spent, by runs that arrived and runs that did not, per arrival; inf without one."""
    costs, hits = _runs(costs, hits)
    return float(costs.sum() / hits.sum()) if hits.any() else np.inf


def expected_running_time_interval(
    costs: ArrayLike, hits: ArrayLike, rng: np.random.Generator, resamples: int = 4000
) -> Interval:
    """ERT and its interval: a bootstrap over runs, that is over (cost, hit) pairs; `high` inf if few arrived.

    Quantiles of the resampled ERT at Φ(∓√(n/(n−1)) t) instead of ∓1.96, t Student's quantile: the percentile
    interval expanded as small n asks (Hesterberg 2015, The American Statistician 69, 371).
    A resample without an arrival has ERT inf. It cannot know of failures, or of dear runs, that the sample lacks: where
    all arrive and costs are log-normal (s = .7) it covers 85, 89 and 91 % at n = 5, 10 and 20; where a fifth never
    arrives 68, 90 and 92 %; where a quarter or more is censored 83 % or more at n = 5 and 94 to 97 % from n = 10 on.

    Where nobody arrived no resample tells anything: estimate and `high` are inf and `low` = mean cost · (1 − p)/p,
    the least ERT if a run arrives with probability p = 1 − .025^(1/n), the largest that makes n failures likely.
    """
    costs, hits = _runs(costs, hits)
    n, estimate = len(costs), expected_running_time(costs, hits)
    if n == 0 or np.isnan(costs).any():
        return NOTHING
    tail = (1 - CONFIDENCE) / 2
    if not hits.any():
        arrives = 1 - tail ** (1 / n)
        return Interval(np.inf, float(costs.mean() * (1 - arrives) / arrives), np.inf)
    if n == 1:
        return Interval(estimate, np.nan, np.nan)
    tail = float(stats.norm.sf(np.sqrt(n / (n - 1)) * stats.t.isf(tail, n - 1)))
    drawn = rng.integers(n, size=(resamples, n))
    with np.errstate(divide="ignore"):
        resampled = np.sort(costs[drawn].sum(axis=1) / hits[drawn].sum(axis=1))
    last = int(tail * resamples)
    return Interval(estimate, float(resampled[last]), float(resampled[-1 - last]))


def wilson_interval(hits: int, runs: int) -> Interval:
    """A rate and Wilson's score interval; NaN without runs.

    Its coverage moves with rate and n as any interval's of counts does: 93 to 100 % at n = 5, 10 and 20.
    """
    if runs == 0:
        return NOTHING
    low, high = stats.binomtest(int(hits), int(runs)).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(hits / runs, float(low), float(high))


def mean_interval(values: ArrayLike) -> Interval:
    """The mean and Student's t interval of values [n].

    Where a fifth of the runs lies far off, as those do that lose a class, it covers 67, 88 and 93 % at n = 5, 10, 20.
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n == 0:
        return NOTHING
    mean = float(values.mean())
    if n == 1:
        return Interval(mean, np.nan, np.nan)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return Interval(mean, float(mean - half), float(mean + half))


def geometric_mean_interval(values: ArrayLike) -> Interval:
    """The geometric mean and Student's t interval on the logs of values [n] > 0; ValueError on others."""
    values = np.asarray(values, dtype=float)
    if (values <= 0).any():
        raise ValueError(f"a geometric mean needs values above 0, got {values.min():g}.")
    return Interval(*np.exp(mean_interval(np.log(values))).tolist())


def ratio_interval(
    costs: ArrayLike, hits: ArrayLike, reference_costs: ArrayLike, reference_hits: ArrayLike
) -> Interval:
    """How many times the reference's cost, where either of a pair may not have arrived.

    All four are [pairs], a seed each, so that what a seed's split, start and batches do to both falls out. Where all
    arrived: `geometric_mean_interval` of the ratios. Else the median ratio between order statistics, as
    `median_interval` has it, of what is known: a ratio is at least what was spent if the method was censored, at most
    that if the reference was, and anything if both were. No pair is left out: those whose reference is late are those
    whose ratio is small. With the methods swapped all is turned over.

    `estimate` is the middle ratio, of an even number the geometric mean of the two, or the one that is known; of
    bounds on both sides the geometric mean. It is 0 where the median is only known to lie below `high`, inf where only
    to lie above `low`, and NaN where neither bounds it, between 0 and inf.
    """
    costs, hits = _runs(costs, hits)
    reference_costs, arrived = _runs(reference_costs, reference_hits)
    spent, n = costs / reference_costs, len(costs)
    if n == 0 or np.isnan(spent).any():
        return NOTHING
    if (hits & arrived).all():
        return geometric_mean_interval(spent)
    least, most = np.sort(np.where(arrived, spent, 0.0)), np.sort(np.where(hits, spent, np.inf))
    k = median_order(n)
    middle = slice((n - 1) // 2, n // 2 + 1)
    return Interval(_centre(least[middle], most[middle]), float(least[k - 1]), float(most[n - k]))


def progress_levels(initial: ArrayLike, final: ArrayLike, fractions: Sequence[float]) -> dict[float, float]:
    """Accuracies at fractions of the way from initial to final [seeds]: {fraction: median over seeds}.

    Seeds without a final accuracy (diverged) do not vote; empty where none has one.
    """
    initial, final = np.asarray(initial, dtype=float), np.asarray(final, dtype=float)
    finished = np.isfinite(initial) & np.isfinite(final)
    if not finished.any():
        return {}
    start, gain = initial[finished], (final - initial)[finished]
    return {fraction: float(np.median(start + fraction * gain)) for fraction in fractions}


def _centre(least: NDArray, most: NDArray) -> float:
    """The geometric mean of the middle ratios that have both bounds; else 0, inf or NaN as `ratio_interval` says."""
    known = (least > 0) & np.isfinite(most)
    if known.any():
        return float(np.exp(np.log(least[known] * most[known]).mean() / 2))
    if (least > 0).all():
        return np.inf
    return 0.0 if np.isfinite(most).all() else np.nan


def _runs(costs: ArrayLike, hits: ArrayLike) -> tuple[NDArray, NDArray]:
    costs, hits = np.asarray(costs, dtype=float), np.asarray(hits, dtype=bool)
    if costs.shape != hits.shape or costs.ndim != 1:
        raise ValueError(f"costs and hits must be of one length, got {costs.shape} and {hits.shape}.")
    return costs, hits
