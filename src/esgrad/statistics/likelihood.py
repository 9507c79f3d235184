"""The likelihood of costs known as intervals, log-normal about a line, and its maximum. `regression` uses it.

With θ = (coefficients/s, 1/s) the ends of a log cost's interval are u = (1/s)·end − x·(coefficients/s), and a run
contributes log[Φ(u_high) − Φ(u_low)], or where a share π never arrives log(1 − π) + that, and if it was censored
log[π + (1 − π)(1 − Φ(u_low))]. In θ the former is concave (Olsen 1978, Econometrica 46), so Newton's method finds its
one maximum. If a line runs through every interval the likelihood tends to 1 as s → 0, and there is none; the value
returned is then as near to it as matters.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

_STEPS, _ENOUGH, _FURTHEST = 60, 1e-7, 30.0


class Fit(NamedTuple):
    """A maximum of the likelihood: parameters (coefficients/s [p], 1/s, logit π) and log-likelihood."""

    parameters: NDArray
    value: float


class Costs(NamedTuple):
    """Log costs in (low, high] [n] and log sizes [n]; `cure` allows a share that never arrives.

    `subjects` [n] are 0, 1, …, whose costs have an intercept each; `x` is empty where there is no slope to find.
    """

    x: NDArray
    low: NDArray
    high: NDArray
    cure: bool
    subjects: NDArray | None = None

    @property
    def intercepts(self) -> int:
        """How many; the coefficients are these, then the slope."""
        return 1 if self.subjects is None else int(self.subjects.max()) + 1

    def given(self, slope: float) -> "Costs":
        """What is left to explain once the exponent is given: the same with log K taken out."""
        shift = slope * self.x
        return self._replace(x=np.empty(0), low=self.low - shift, high=self.high - shift)


def maximum(costs: Costs, near: Fit | None = None) -> Fit:
    """The maximum likelihood: Newton's steps, uphill in every direction and halved until the likelihood grows."""
    parameters = _start(costs) if near is None else np.delete(near.parameters, costs.intercepts)
    value, gradient, hessian = likelihood(costs, parameters)
    for _ in range(_STEPS):
        values, vectors = np.linalg.eigh(-hessian)
        step = vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), 1e-9))
        gain = float(step @ gradient)
        scale = 1.0
        while scale > 1e-6:
            tried = parameters + scale * step
            found = likelihood(costs, tried)
            if found[0] >= value + 1e-4 * scale * gain:
                break
            scale /= 2
        else:
            break
        parameters, (value, gradient, hessian) = tried, found
        if gain < _ENOUGH:
            break
    return Fit(parameters, value)


def _start(costs: Costs) -> NDArray:
    """Least squares on the middle of each interval; of a censored run, or from 0, on the end that is known."""
    middle = np.where(np.isfinite(costs.low), costs.low, costs.high)
    both = np.isfinite(costs.low) & np.isfinite(costs.high)
    middle[both] = (costs.low[both] + costs.high[both]) / 2
    design = _design(costs)
    coefficients = np.linalg.lstsq(design, middle, rcond=None)[0]
    precision = 1 / max((middle - design @ coefficients).std(), 0.05)
    share = [special.logit(np.clip((~np.isfinite(costs.high)).mean() / 2, 0.01, 0.99))] if costs.cure else []
    return np.array([*coefficients * precision, precision, *share])


def _design(costs: Costs) -> NDArray:
    subjects = np.zeros(len(costs.low), int) if costs.subjects is None else costs.subjects
    ones = np.eye(costs.intercepts)[subjects]
    return np.column_stack([ones, costs.x]) if len(costs.x) else ones  # [n, p]


def likelihood(costs: Costs, parameters: NDArray) -> tuple[float, NDArray, NDArray]:
    """The log-likelihood at (coefficients/s, 1/s, logit π), its gradient and Hessian."""
    size = len(parameters)
    known = parameters[_num_coefficients(costs)] > 0 and np.isfinite(parameters).all()
    if not known or (costs.cure and abs(parameters[-1]) > _FURTHEST):
        return -np.inf, np.zeros(size), np.zeros((size, size))
    logp, slopes, hessian = _terms(costs, parameters)
    if not costs.cure:
        return float(logp.sum()), slopes.sum(0), hessian(np.ones(len(logp)))
    censored = ~np.isfinite(costs.high)
    logit = parameters[-1]
    log_never, log_ever = special.log_expit(logit), special.log_expit(-logit)
    total = np.where(censored, np.logaddexp(log_never, log_ever + logp), log_ever + logp)
    on_its_way = np.where(censored, np.exp(log_ever + logp - total), 1.0)  # P(it would arrive | what was seen)
    never, doubt = np.exp(log_never), on_its_way * (1 - on_its_way)
    core = hessian(on_its_way) + (slopes * doubt[:, None]).T @ slopes
    cross = -(slopes * doubt[:, None]).sum(0)
    corner = (doubt - never * (1 - never)).sum()
    gradient = np.append((slopes * on_its_way[:, None]).sum(0), (1 - on_its_way - never).sum())
    return float(total.sum()), gradient, np.block([[core, cross[:, None]], [cross[None], np.array([[corner]])]])


def scores(costs: Costs, parameters: NDArray) -> NDArray:
    """What each run adds to the gradient [n, p + 1] where every run would arrive."""
    return _terms(costs, parameters)[1]


def _num_coefficients(costs: Costs) -> int:
    return costs.intercepts + (len(costs.x) > 0)


def _terms(costs: Costs, parameters: NDArray) -> tuple[NDArray, NDArray, Callable[[NDArray], NDArray]]:
    """log P of each run that would arrive [n], its gradient [n, p + 1], and Σ weights · ∇² log P of weights [n]."""
    design, p = _design(costs), _num_coefficients(costs)
    coefficients, precision = parameters[:p], parameters[p]
    ends = [np.where(np.isfinite(end), end, 0.0) for end in (costs.low, costs.high)]
    mean = design @ coefficients
    lower, upper = precision * costs.low - mean, precision * costs.high - mean
    exact = costs.low == costs.high
    logp, weight_low, weight_high = _log_mass(lower, upper, exact)
    # derivatives of log P: those of the two ends, each with its density over P
    down, up = (np.column_stack([-design, end]) for end in ends)  # [n, p + 1]
    slopes = weight_high[:, None] * up - weight_low[:, None] * down
    curve_low = weight_low * np.where(np.isfinite(lower), lower, 0.0)
    curve_high = weight_high * np.where(np.isfinite(upper), upper, 0.0)
    slopes[exact] = -lower[exact, None] * down[exact]
    slopes[exact, p] += 1 / precision
    logp[exact] += np.log(precision)
    one = np.where(exact, 0.0, 1.0)

    def hessian(weights: NDArray) -> NDArray:
        total = (down * (weights * one * curve_low)[:, None]).T @ down
        total -= (up * (weights * one * curve_high)[:, None]).T @ up
        total -= (slopes * (weights * one)[:, None]).T @ slopes
        total -= (down * (weights * (1 - one))[:, None]).T @ down
        total[p, p] -= (weights * (1 - one)).sum() / precision**2
        return total

    return logp, slopes, hessian


def _log_mass(lower: NDArray, upper: NDArray, exact: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """log[Φ(upper) − Φ(lower)] and the densities at both ends over that mass; at exact costs log φ(lower)."""
    near, far = np.where(lower > 0, -upper, lower), np.where(lower > 0, -lower, upper)  # in the tail that is small
    with np.errstate(divide="ignore", invalid="ignore"):
        top = special.log_ndtr(far)
        mass = top + np.log(-np.expm1(special.log_ndtr(near) - top))
    log_density = -0.5 * np.log(2 * np.pi)
    mass = np.where(exact, log_density - lower**2 / 2, mass)
    with np.errstate(over="ignore"):
        low, high = (np.exp(log_density - end**2 / 2 - mass) for end in (lower, upper))
    return mass, low, high
