"""The laws of the estimators on 0/1 fitness: variance at the logits, mini-batches, parameters.

Given the number of hits r of N independent samples, every shaping of 0/1 fitness is a pair of weights, w₁(r) for a hit
and w₀(r) for a miss. With p the smoothed accuracy, v = ∇log p and o = p/(1−p), the variance of g = (1/t) Σ w_n q_n is

    Var g  =  E[r w₁²] A₁ + E[(N−r) w₀²] A₀ + Var[r w₁ − (N−r) w₀ o] v vᵀ
    A₁     =  I/t + ∇²p/p − v vᵀ            Var(q | hit)/t²
    A₀     =  I/t − o ∇²p/p − o² v vᵀ       Var(q | miss)/t²

as hits and misses are independent given r, of means t v and −o t v: exact for any p and N. The trace needs no more of
an example than a `Place`. Of raw it is (pK/t + Δp − |∇p|²)/N; tests/test_theory.py writes out the others.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from esgrad.quadrature import ordered_sum
from esgrad.theory.binomial import hits
from esgrad.theory.curvature import second_order
from esgrad.theory.example import Place

RANK_FACTOR = 3 / math.pi
"""What centered ranks of a Gaussian fitness leave of n directions: the squared correlation of a value and its rank."""


# Variance at one example's logits


def has_law(noise: str, shaping: str) -> bool:
    """Whether `gradient_variance` knows this pair."""
    return shaping in WEIGHTS if noise == "independent" else (noise, shaping) in MIRRORED


def gradient_variance(noise: str, shaping: str, place: Place, num_samples: Tensor | float) -> Tensor:
    """tr Var g [...] at a place [...], in units of 1/logits², for 0/1 fitness; N [...] or a number.

    Exact. Mirrored raw: (pK/t + Δp − M/t² − 2|∇p|²)/N with M = E[f₊f₋|q|²]; mirrored centered ranks are N/(2(N−1)) of
    it. Raises ValueError for a pair without a law, and for fewer samples than the shaping needs.
    """
    if not has_law(noise, shaping):
        known = ", ".join([f"independent × {name}" for name in WEIGHTS] + [" × ".join(pair) for pair in MIRRORED])
        raise ValueError(f"the variance of {noise} × {shaping} has no law here. Known: {known}.")
    n = _samples(num_samples, 2 if noise == "mirrored" or shaping in NEED_TWO else 1, shaping, place.miss.device)
    if noise == "mirrored":
        per_pair = place.single_share * place.single_square / place.variance - 2 * _pull(place)
        return place.probability * per_pair / n * MIRRORED[noise, shaping](n) ** 2
    _, of_hits, of_misses, of_mean = _shares(shaping, place.log_probability, place.miss, place.odds, n)
    of_a_hit, of_a_miss = _variance_of_one(place)
    return of_hits * of_a_hit + of_misses * of_a_miss + of_mean * place.log_gradient_square


def covariance(
    shaping: str, logits: Tensor, targets: Tensor, variance: Tensor | float, num_samples: Tensor | float
) -> Tensor:
    """Var g [..., K, K] for independent noise at logits [..., K]; its trace is `gradient_variance`. Errors as there."""
    return mean_and_covariance(shaping, logits, targets, variance, num_samples)[1]


def mean_and_covariance(
    shaping: str, logits: Tensor, targets: Tensor, variance: Tensor | float, num_samples: Tensor | float
) -> tuple[Tensor, Tensor]:
    """E g [..., K] and Var g [..., K, K] for independent noise; the same to the bit whatever else is in the batch.

    E g = E[r w₁ − (N−r) w₀ o] v: what `expects` of the shaping says, factor and exact gradient. Errors as above.
    """
    if not has_law("independent", shaping):
        raise ValueError(f"the covariance of independent × {shaping} has no law here. Known: {', '.join(WEIGHTS)}.")
    t = torch.as_tensor(variance, dtype=torch.float64, device=logits.device)
    n = _samples(num_samples, 2 if shaping in NEED_TWO else 1, shaping, logits.device)
    log_p, miss, slope, bend = second_order(logits, targets, t.sqrt())
    outer = slope[..., :, None] * slope[..., None, :]
    unit = torch.eye(logits.shape[-1], dtype=torch.float64, device=logits.device)
    white = unit / t.expand(targets.shape)[..., None, None]
    odds = log_p.exp() / miss.clamp(min=1e-150)  # as Place.odds
    centre, *shares = _shares(shaping, log_p, miss, odds, n)
    of_hits, of_misses, of_mean = (share[..., None, None] for share in shares)
    odds = odds[..., None, None]
    of_miss = white - odds * bend - odds**2 * outer
    return centre[..., None] * slope, of_hits * (white + bend - outer) + of_misses * of_miss + of_mean * outer


def baseline_variance(place: Place, baseline: Tensor | float, num_samples: Tensor | float) -> Tensor:
    """tr Var g [...] of w = (f − b)/N, b fixed, [...] or a number: (((1−2b)p + b²) K/t + (1−2b) Δp − |∇p|²)/N."""
    b = torch.as_tensor(baseline, dtype=torch.float64, device=place.miss.device)
    p, q = place.probability, place.miss
    of_a_hit, of_a_miss = _variance_of_one(place)
    of_mean = p * q * (1 - b * (1 + place.odds)) ** 2 * place.log_gradient_square
    return (p * (1 - b) ** 2 * of_a_hit + q * b**2 * of_a_miss + of_mean) / num_samples


def best_baseline(place: Place) -> Tensor:
    """The fixed baseline of least variance, b* = p + tΔp/K = E[f|q|²]/E|q|² [...]."""
    return place.probability + place.variance * place.laplacian / place.num_logits


def _samples(num_samples: Tensor | float, fewest: int, shaping: str, device: torch.device) -> Tensor:
    n = torch.as_tensor(num_samples, dtype=torch.float64, device=device)
    if not (n >= fewest).all():
        raise ValueError(f"num_samples is {n.min().item():g}: expected {fewest} or more for {shaping}.")
    return n


def _pull(place: Place) -> Tensor:
    """|∇p|²/p"""
    return place.probability * place.log_gradient_square


def _variance_of_one(place: Place) -> tuple[Tensor, Tensor]:
    """tr A₁ and tr A₀."""
    white, square, odds = place.num_logits / place.variance, place.log_gradient_square, place.odds
    return white + place.relative_laplacian - square, white - odds * place.relative_laplacian - odds**2 * square


def _shares(shaping: str, log_p: Tensor, miss: Tensor, odds: Tensor, n: Tensor) -> tuple[Tensor, ...]:
    """E c with c = r w₁ − (N−r) w₀ o, E[r w₁²], E[(N−r) w₀²] and Var c."""
    r, s, weight = hits(log_p, miss, n)
    of_hit, of_miss = WEIGHTS[shaping](r, s)
    mean = r * of_hit - s * of_miss * odds
    centre = ordered_sum(weight * mean, 0)
    squares = (weight * part for part in (r * of_hit**2, s * of_miss**2, (mean - centre) ** 2))
    return centre[0], *(ordered_sum(square, 0)[0] for square in squares)


# Weights of a hit and of a miss, of r hits and s misses, counts that need not be whole


def _raw(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    return 1 / (r + s), torch.zeros_like(r)


def _leave_one_out(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    n = r + s
    return s / (n * (n - 1)), -r / (n * (n - 1))


def _centered_ranks(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    of_hit, of_miss = _leave_one_out(r, s)
    return of_hit / 2, of_miss / 2


def _success(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    return 1 / r.clamp(min=1), torch.zeros_like(r)


def _maxrl(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    n = r + s
    return s / (r.clamp(min=1) * n), -r.clamp(max=1) / n


def _z_score(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    n = r + s
    return (s / r.clamp(min=1)).sqrt() / n, -(r / s.clamp(min=1)).sqrt() / n


WEIGHTS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "raw": _raw,
    "leave_one_out": _leave_one_out,
    "centered_ranks": _centered_ranks,
    "success": _success,
    "maxrl": _maxrl,
    "z_score": _z_score,
}
NEED_TWO = ("leave_one_out", "centered_ranks")
MIRRORED: dict[tuple[str, str], Callable[[Tensor], Tensor]] = {  # the multiple of mirrored raw
    ("mirrored", "raw"): torch.ones_like,
    ("mirrored", "centered_ranks"): lambda n: n / (2 * (n - 1)),
}


# Mini-batches


def pushed_variance(covariance: Tensor, gram: Tensor) -> Tensor:
    """tr Var(Jᵀg) [...] after backprop, for Var g [..., K, K] at the logits and the Gram matrix J Jᵀ [..., K, K]."""
    return (covariance * gram).sum((-2, -1))


def batch_variance(data_variance: Tensor | float, gradient_variance: Tensor | float, batch_size: float) -> Tensor:
    """tr Var of a mini-batch's gradient: (1/B)(V_data + E tr Var g), for independent examples and noise.

    V_data is the variance of the exact gradient between examples; E tr Var g the mean over examples of an estimate's
    own, both after backprop. With raw weights or a fixed baseline E tr Var g = V/N exactly; with leave_one_out, success
    and maxrl take `covariance` at that N. For an estimate whose mean is not the exact gradient (success, maxrl at
    small Np), V_data is that of its mean.
    """
    return torch.as_tensor((data_variance + gradient_variance) / batch_size, dtype=torch.float64)


def best_num_samples(
    data_variance: Tensor | float,
    sample_variance: Tensor | float,
    forward_cost: Tensor | float,
    query_cost: Tensor | float,
) -> Tensor:
    """N* = √(c_forward V/(c_query V_data)), of least (V_data + V/N)(c_forward + N c_query); not below 1.

    V = N E tr Var g after backprop; c_forward is the price of an example without its queries, backward pass included.
    """
    ratio = torch.as_tensor(forward_cost * sample_variance / (query_cost * data_variance), dtype=torch.float64)
    return ratio.sqrt().clamp(min=1.0)


# Parameters


def parameter_squared_cosine(num_directions: Tensor | float, num_parameters: Tensor | float) -> Tensor | float:
    """E cos² = n/(n + d − 1) of n independent directions at d parameters, where the fitness is linear and noiseless.

    n counts directions: of N mirrored samples (pairs) it is N/2, of N independent ones N if the fitness has no
    intercept; with ranks, n is RANK_FACTOR of that. Exact: cos² ~ Beta(n/2, (d−1)/2), since given a = εᵀv̂ [n] the
    estimate is |a|² along v̂ and |a| times d − 1 standard normals across. All directions must see the same mini-batch.
    """
    return num_directions / (num_directions + num_parameters - 1)


def parameter_directions_needed(cosine: Tensor | float, num_parameters: Tensor | float) -> Tensor | float:
    """The n, a real number, with n/(n + d − 1) = cosine²; in mirrored samples it is 2n."""
    return cosine**2 / (1 - cosine**2) * (num_parameters - 1)
