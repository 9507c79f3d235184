"""The exponent of a cost: cost = c·K^b up to log-normal scatter, where some costs are known as intervals only.

    log cost = a + b log K + s ε,   ε ~ N(0, 1)

A cost is read between two evaluations, or bracketed, so it lies in (low, high]; of a run that ended before it
arrived only low is known, and high is inf. The likelihood of such data is Π [Φ((log high − μ)/s) − Φ((log low − μ)/s)],
μ = a + b log K: censored log-normal regression, an accelerated failure time model (Kalbfleisch and Prentice, The
statistical analysis of failure time data, 2002, chapter 3). Least squares on the hits alone, or on capped costs, finds
too small an exponent, because the dear runs are those that are missing.

A run that loses a class never arrives, whatever its budget. The check for that is a cure mixture: a share π of runs
never arrives, so that a censored run has probability π + (1 − π)(1 − Φ) (Boag 1949; Farewell 1982).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from esgrad.statistics import CONFIDENCE
from esgrad.statistics.likelihood import Costs, Fit, maximum

_STEPS = 60


class Exponent(NamedTuple):
    """cost ≈ constant · K^estimate, with its 95 % interval [low, high] and what it rests on.

    `refusal` says in a line why there is no exponent (then the numbers are NaN), and is empty where there is one.
    `spread` is s, the standard deviation of the log cost at one K. `cure_p` is the p value of "every run would arrive,
    given time" against a share that never does; below 5 %, `never_share` is that share and the exponent that of the
    runs that arrive, else `never_share` is 0.
    """

    estimate: float
    low: float
    high: float
    constant: float
    spread: float
    num_runs: int
    censored_share: float
    never_share: float
    cure_p: float
    refusal: str


def exponent(sizes: ArrayLike, low: ArrayLike, high: ArrayLike) -> Exponent:
    """The exponent b of cost ∝ K^b; each run's cost lies in (low, high].

    sizes [n] are K > 0, low [n] ≥ 0 and high [n] ≥ low in units of cost; high = low for a cost known exactly,
    high = inf for a run that never arrived. Refused where there are fewer than two sizes, fewer than four hits or a
    size without a hit, or with low = 0 throughout; ValueError on other input.

    The interval holds the b whose profile likelihood lies within n/2 · log(1 + t²/(n − p)) of the maximum, with n the
    hits, p = 2 coefficients and t Student's quantile at n − p degrees of freedom: for exact, uncensored costs that
    is Student's interval of least squares. `make coverage` prints how often it holds the truth.
    """
    sizes, low, high = (np.asarray(values, dtype=float) for values in (sizes, low, high))
    _check(sizes, low, high)
    hits = np.isfinite(high)
    refusal = _refusal(sizes, low > 0, hits)
    censored = float(1 - hits.mean()) if len(hits) else np.nan
    if refusal:
        nothing = dict.fromkeys(["estimate", "low", "high", "constant", "spread", "never_share", "cure_p"], np.nan)
        return Exponent(**nothing, num_runs=len(sizes), censored_share=censored, refusal=refusal)
    with np.errstate(divide="ignore"):
        costs = Costs(np.log(sizes), np.log(low), np.log(high), cure=False)
    fit, cure_p = maximum(costs), 1.0
    if not hits.all():
        mixture = maximum(costs._replace(cure=True))
        cure_p = _cure_p(mixture.value - fit.value, int(hits.sum()))
        if cure_p < 1 - CONFIDENCE:
            costs, fit = costs._replace(cure=True), mixture
    return _exponent(costs, fit, censored, cure_p)


def _exponent(costs: Costs, fit: Fit, censored: float, cure_p: float) -> Exponent:
    intercept, slope, precision = (float(value) for value in fit.parameters[:3])
    lower, upper = _bounds(costs, fit)
    estimate = slope / precision
    if -1e-5 < fit.value <= 0 and np.isfinite(
        upper - lower
    ):  # lines run through every interval, and the likeliest slope is any of theirs
        estimate = (lower + upper) / 2
        intercept, precision = (float(value) for value in maximum(costs.given(estimate), fit).parameters[:2])
    return Exponent(
        estimate,
        lower,
        upper,
        constant=float(np.exp(intercept / precision)),
        spread=1 / precision,
        num_runs=len(costs.low),
        censored_share=censored,
        never_share=float(special.expit(fit.parameters[3])) if costs.cure else 0.0,
        cure_p=cure_p,
        refusal="",
    )


def _cure_p(gain: float, hits: int) -> float:
    """Half of F's tail: π = 0 lies at the edge, so half of all data gain nothing (Self and Liang 1987)."""
    freedom = hits - 3
    return float(stats.f.sf(freedom * np.expm1(2 * max(gain, 0.0) / hits), 1, freedom) / 2)


def _check(sizes: NDArray, low: NDArray, high: NDArray) -> None:
    if sizes.ndim != 1 or not sizes.shape == low.shape == high.shape:
        raise ValueError(f"sizes, low and high must be of one length, got {sizes.shape}, {low.shape}, {high.shape}.")
    if not (sizes > 0).all() or not np.isfinite(sizes).all():
        raise ValueError(f"sizes must be finite and above 0, got {sizes[~(np.isfinite(sizes) & (sizes > 0))][0]:g}.")
    wrong = ~((low >= 0) & (high >= low) & (high > 0) & np.isfinite(low))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"a cost must lie in (low, high] with 0 ≤ low ≤ high, got ({low[at]:g}, {high[at]:g}].")


def _refusal(sizes: NDArray, bounded: NDArray, hits: NDArray) -> str:
    """Why there is no exponent, or nothing; `bounded` marks costs known to be above 0, `hits` those below inf."""
    known = np.unique(sizes)
    if len(known) < 2:
        return f"an exponent needs two sizes K, got {len(known)}"
    for marked, why in (
        (hits, "no run arrived, so the cost has no upper bound,"),
        (bounded, "no cost is known above 0"),
    ):
        silent = [f"{size:g}" for size in known if not marked[sizes == size].any()]
        if silent:
            return f"{why} at K = {', '.join(silent)}"
    return "" if hits.sum() > 3 else f"an exponent with an interval needs four runs that arrived, got {hits.sum()}"


def _bounds(costs: Costs, fit: Fit) -> tuple[float, float]:
    """Where the profile likelihood has fallen by as much as Student's t allows."""
    hits = int(np.isfinite(costs.high).sum())
    freedom = hits - 2
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    floor = fit.value - hits / 2 * np.log1p(quantile**2 / freedom)
    slope, step = fit.parameters[1] / fit.parameters[2], quantile * _slope_error(costs, fit)

    def above(candidate: float) -> float:
        return maximum(costs.given(candidate), fit).value - floor

    return _crossing(above, slope, -step), _crossing(above, slope, step)


def _crossing(above: Callable[[float], float], start: float, step: float) -> float:
    """The first root of `above` on the way from `start`, where it is positive, in growing steps."""
    inner, outer = start, start + step
    for _ in range(_STEPS):
        if above(outer) < 0:
            return float(optimize.brentq(above, inner, outer, xtol=1e-4 * abs(step)))
        inner, outer, step = outer, outer + 2 * step, 2 * step
    return float(np.copysign(np.inf, step))


def _slope_error(costs: Costs, fit: Fit) -> float:
    """A first guess at the standard error of the exponent, by least squares; only where the search starts."""
    return float(1 / fit.parameters[2] / (costs.x.std() * np.sqrt(np.isfinite(costs.high).sum()))) + 1e-3
