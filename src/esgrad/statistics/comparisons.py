"""Is one method better than another? Paired tests, what they can detect, and many of them at once.

A pair is a seed: both methods had its split, initialisation and batches. Under the hypothesis that the methods are
exchangeable within a pair, the difference of a pair is as likely to have either sign.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from esgrad.statistics import CONFIDENCE

LEVEL = 1 - CONFIDENCE
POWER = 0.8
_EXACT = 40
"""Up to so many pairs all 2^n signs are counted."""
_SIMULATED, _SAMPLES = 12, 4000
"""Up to so many pairs the power is that of the sign flips themselves, in so many samples of normal differences."""


class SignFlip(NamedTuple):
    """A sign-flip test: its two-sided p value, and the smallest it could have been with so many pairs."""

    p: float
    smallest: float


def sign_flip(differences: ArrayLike) -> SignFlip:
    """Fisher's paired randomisation test of differences [pairs]: how often flipped signs give a |sum| as large.

    Exact to 40 pairs; beyond, Student's paired t, which it tends to. A pair without a difference has no sign: with
    m others the smallest p is 2^(1−m), so .0625 at five pairs. p = 1 where no pair differs. ValueError for NaN, inf.
    Fisher, The design of experiments (1935), section 21.
    """
    values = np.asarray(differences, dtype=float)
    if not np.isfinite(values).all():
        raise ValueError(f"differences must be finite, got {values[~np.isfinite(values)][0]:g}.")
    values = values[values != 0]
    n = len(values)
    if n == 0:
        return SignFlip(1.0, 1.0)
    p = _share_as_large(values) if n <= _EXACT else float(stats.ttest_1samp(values, 0).pvalue)
    return SignFlip(p, 2.0 ** (1 - n))


def log_ratios(costs: ArrayLike, hits: ArrayLike, reference_costs: ArrayLike, reference_hits: ArrayLike) -> NDArray:
    """What each pair [pairs] says of the log of cost over the reference's cost, for `sign_flip`.

    Where both arrived, the log ratio. Where one arrived and the other was censored at no less than that cost, the log
    ratio of what they spent: its sign is known, its size at least that. Where neither arrived, or one was censored
    before the other arrived, 0: the order is not known. Swapping the methods changes the sign alone, so the test
    keeps its level whatever share is censored, as long as both methods had the same budgets.
    """
    costs, reference = np.asarray(costs, dtype=float), np.asarray(reference_costs, dtype=float)
    hits, arrived = np.asarray(hits, dtype=bool), np.asarray(reference_hits, dtype=bool)
    told = (hits & arrived) | (hits & ~arrived & (reference >= costs)) | (~hits & arrived & (costs >= reference))
    return np.where(told, np.log(costs / reference), 0.0)


def holm(p_values: ArrayLike) -> NDArray:
    """Holm's adjusted p values [m] of a family: below 5 %, a false alarm among all m has at most that chance.

    The i-th smallest is multiplied by m − i + 1 and is no smaller than those before it; at most 1.
    Holm 1979, Scandinavian Journal of Statistics 6, 65. It asks nothing of how the tests depend on one another.
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def smallest_detectable(spread: float, pairs: int, level: float = LEVEL, power: float = POWER) -> float:
    """The true mean difference that `sign_flip` at `level` finds with probability `power`, of normal differences.

    `spread` is the standard deviation of a pair's difference, in the same unit. Up to 12 pairs by simulation (always
    the same samples; the power is `power` within .01): where few p values are possible, sign flips find less than
    Student's t, whose noncentral distribution stands in beyond. inf where the smallest p of so many pairs lies above
    the level, so that no difference could ever be told.
    """
    if pairs < 2 or 2.0 ** (1 - pairs) > level:
        return np.inf
    return spread * _of_one(pairs, level, power) if spread else 0.0


@cache
def _of_one(pairs: int, level: float, power: float) -> float:
    """`smallest_detectable` of spread 1."""
    critical = stats.t.isf(level / 2, pairs - 1)
    noise = np.random.default_rng(0).normal(size=(_SAMPLES, pairs))
    signs = _sums(np.eye(pairs)) if pairs <= _SIMULATED else np.empty(0)  # [2^pairs, pairs]

    def found(effect: float) -> float:
        if pairs > _SIMULATED:
            return float(stats.nct.sf(critical, pairs - 1, effect * np.sqrt(pairs))) - power
        values = noise + effect
        as_large = np.abs(values @ signs.T) >= np.abs(values.sum(1, keepdims=True)) - 1e-9
        return float((as_large.mean(1) <= level).mean()) - power

    return float(optimize.brentq(found, 0, (critical + 10) * np.sqrt(2), xtol=1e-3))


def _share_as_large(values: NDArray) -> float:
    """The share of the 2^n choices of signs with |sum| ≥ |the data's sum|, counted half against half."""
    first, second = _sums(values[::2]), np.sort(_sums(values[1::2]))
    bound = abs(values.sum()) - 1e-9 * np.abs(values).sum()  # rounding must not part what is equal
    above = len(second) - np.searchsorted(second, bound - first, side="left")
    return min(1.0, float(2 * above.sum() / (len(first) * len(second))))


def _sums(values: NDArray) -> NDArray:
    """The sum of values [n, ...] under every choice of signs [2^n, ...]."""
    sums = np.zeros((1, *values.shape[1:]))
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums
