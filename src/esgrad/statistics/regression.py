"""The exponent of a cost: cost = c·K^b up to log-normal scatter, where some costs are known as intervals only.

    log cost = a + b log K + s ε,   ε ~ N(0, 1)

A cost is read between two evaluations, or bracketed, so it lies in (low, high]; of a run that ended before it
arrived only low is known, and high is inf. The likelihood of such data is Π [Φ((log high − μ)/s) − Φ((log low − μ)/s)],
μ = a + b log K: censored log-normal regression, an accelerated failure time model (Kalbfleisch and Prentice, The
statistical analysis of failure time data, 2002, chapter 3). Least squares on the hits alone, or on capped costs, finds
too small an exponent, because the dear runs are those that are missing.

A run that loses a class never arrives, whatever its budget. The check for that is a cure mixture: a share π of runs
never arrives, so that a censored run has probability π + (1 − π)(1 − Φ) (Boag 1949; Farewell 1982). Where every cost is
known to be finite, that share would only take late ones for lost: `cure=False`.

Where the same subjects were measured at every K, what makes one dear makes it dear throughout: with `subjects` each has
an intercept a of its own, so that the slope is found within subjects and their spread is no noise. One that never
arrived says nothing (its a may be anything large) and is left out.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from esgrad.statistics import CONFIDENCE
from esgrad.statistics.likelihood import Costs, Fit, likelihood, maximum, scores

_STEPS = 60
_THROUGH = -1e-3
"""A log likelihood above it: lines run through every interval, whose widths hide what scatter there is."""


class Exponent(NamedTuple):
    """cost ≈ constant · K^estimate, with its 95 % interval [low, high] and what it rests on.

    `refusal` says in a line why there is no exponent (then the numbers are NaN), and is empty where there is one.
    `spread` is s, the standard deviation of the log cost at one K of a subject, `constant` that of the typical subject
    (the intercepts' mean). `num_runs` and `censored_share` are of all runs. `cure_p` is the p value of "every run would
    arrive, given time" against a share that never does, NaN where that is not asked; below 5 %, `never_share` is that
    share and the exponent that of the runs that arrive, else `never_share` is 0.
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


def exponent(
    sizes: ArrayLike, low: ArrayLike, high: ArrayLike, *, subjects: ArrayLike | None = None, cure: bool = True
) -> Exponent:
    """The exponent b of cost ∝ K^b; each run's cost lies in (low, high].

    sizes [n] are K > 0, low [n] ≥ 0 and high [n] ≥ low in units of cost; high = low for a cost known exactly,
    high = inf for a run that never arrived. subjects [n] name who was measured, if the same at several K. cure: whether
    some may never arrive. Refused where there are fewer than two sizes, fewer than two hits more than coefficients or a
    size without a hit, or with low = 0 throughout; ValueError on other input.

    The interval holds the b whose profile likelihood lies within n/2 · log(1 + t²/(n − p)) of the maximum, with n the
    hits, p = 2 coefficients (an intercept for each subject) and t Student's quantile at n − p degrees of freedom: for
    exact, uncensored costs that is Student's interval of least squares. From three subjects on it also holds the one
    whose standard error is that of their scores, G/(G − 1) Σ u uᵀ between the inverse Hessians, with Student's t at
    G − 1: slopes that differ from subject to subject are no noise within them (of exact costs that are all known it is
    the interval of the mean of the subjects' slopes). Where lines run through every interval, the scatter that the
    intervals hide is taken as theirs, width/√12. `make coverage` prints how often all this holds the truth:
    within ten subjects of whom a quarter is censored in 90 % of suites, else in 94 % or more.
    """
    sizes, low, high = (np.asarray(values, dtype=float) for values in (sizes, low, high))
    _check(sizes, low, high)
    if cure and subjects is not None:
        raise ValueError("subjects and cure are two models: cure=False where subjects are told apart")
    hits = np.isfinite(high)
    refusal = _refusal(sizes, low > 0, hits)
    censored = float(1 - hits.mean()) if len(hits) else np.nan
    num_runs = len(sizes)
    which = None if subjects is None else _subjects(subjects, hits)
    kept = np.ones(len(hits), bool) if which is None else which >= 0
    sizes, low, high, hits = (values[kept] for values in (sizes, low, high, hits))
    who = None if which is None or not kept.any() else which[kept]
    least = (1 if who is None else int(who.max()) + 1) + 3
    if not refusal and hits.sum() < least:
        refusal = f"an exponent with an interval needs {least} runs that arrived, got {hits.sum()}"
    if refusal:
        nothing = dict.fromkeys(["estimate", "low", "high", "constant", "spread", "never_share", "cure_p"], np.nan)
        return Exponent(**nothing, num_runs=num_runs, censored_share=censored, refusal=refusal)
    with np.errstate(divide="ignore"):
        costs = Costs(np.log(sizes), np.log(low), np.log(high), cure=False, subjects=who)
    fit, cure_p = maximum(costs), 1.0 if cure else np.nan
    if cure and not hits.all():
        mixture = maximum(costs._replace(cure=True))
        cure_p = _cure_p(mixture.value - fit.value, int(hits.sum()))
        if cure_p < 1 - CONFIDENCE:
            costs, fit = costs._replace(cure=True), mixture
    return _exponent(costs, fit)._replace(num_runs=num_runs, censored_share=censored, cure_p=cure_p)


def _exponent(costs: Costs, fit: Fit) -> Exponent:
    at = costs.intercepts
    slope, precision = (float(value) for value in fit.parameters[at : at + 2])
    intercepts = fit.parameters[:at]
    lower, upper = _bounds(costs, fit)
    estimate = slope / precision
    half = 0.0
    if _THROUGH < fit.value <= 0 and np.isfinite(upper - lower):  # the likeliest slope is that of any such line
        estimate = (lower + upper) / 2
        parameters = maximum(costs.given(estimate), fit).parameters
        intercepts, precision = parameters[:at], float(parameters[at])
        half = _half_width_of_cells(costs)
    elif at > 2:
        half = _half_width(costs, fit)
    lower, upper = min(lower, estimate - half), max(upper, estimate + half)
    return Exponent(
        estimate,
        lower,
        upper,
        constant=float(np.exp(intercepts.mean() / precision)),
        spread=1 / precision,
        num_runs=len(costs.low),
        censored_share=0.0,
        never_share=float(special.expit(fit.parameters[-1])) if costs.cure else 0.0,
        cure_p=np.nan,
        refusal="",
    )


def _subjects(subjects: ArrayLike, hits: NDArray) -> NDArray:
    """0, 1, … for each run's subject; −1 for one that never arrived."""
    names, which = np.unique(np.asarray(subjects), return_inverse=True)
    if which.shape != hits.shape:
        raise ValueError(f"subjects must be as many as the {len(hits)} runs, got {which.shape}.")
    arrived = np.bincount(which[hits], minlength=len(names)) > 0
    return np.where(arrived, np.cumsum(arrived) - 1, -1)[which]


def _half_width(costs: Costs, fit: Fit) -> float:
    """Student's t times the standard error of b = β/τ, from how the subjects' scores scatter about 0."""
    assert costs.subjects is not None
    count, at = costs.intercepts, costs.intercepts
    each = np.eye(count)[costs.subjects].T @ scores(costs, fit.parameters)  # [G, p + 1]
    change = np.zeros(len(fit.parameters))
    slope, precision = fit.parameters[at : at + 2]
    change[at], change[at + 1] = 1 / precision, -slope / precision**2
    moved = each @ np.linalg.lstsq(likelihood(costs, fit.parameters)[2], change)[0]
    error = np.sqrt(count / (count - 1) * np.square(moved).sum())
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error)


def _half_width_of_cells(costs: Costs) -> float:
    """Student's t times the standard error of b by least squares, of costs that lie anywhere in their intervals."""
    known = np.isfinite(costs.low) & np.isfinite(costs.high)
    who = np.zeros(len(known), int) if costs.subjects is None else costs.subjects
    x, who = costs.x[known], who[known]
    count = np.bincount(who, minlength=costs.intercepts)
    within = x - (np.bincount(who, x, costs.intercepts) / np.maximum(count, 1))[who]
    cell = np.sqrt(np.square(costs.high[known] - costs.low[known]).mean() / 12)
    freedom = costs.intercepts - 1 if costs.intercepts > 2 else len(x) - 1 - costs.intercepts
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, max(freedom, 1))
    return float(quantile * cell / np.sqrt(np.square(within).sum()))


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
    return ""


def _bounds(costs: Costs, fit: Fit) -> tuple[float, float]:
    """Where the profile likelihood has fallen by as much as Student's t allows."""
    hits = int(np.isfinite(costs.high).sum())
    freedom = hits - 1 - costs.intercepts
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    floor = fit.value - hits / 2 * np.log1p(quantile**2 / freedom)
    at = costs.intercepts
    slope, step = fit.parameters[at] / fit.parameters[at + 1], quantile * _slope_error(costs, fit)

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
    precision = fit.parameters[costs.intercepts + 1]
    return float(1 / precision / (costs.x.std() * np.sqrt(np.isfinite(costs.high).sum()))) + 1e-3
