"""The laws of the estimators on 0/1 fitness: variance at the logits, mini-batches, parameters.

Given the number of hits r of N independent samples, a shaping of 0/1 fitness is a pair of weights, w₁(r) for a hit and
w₀(r) for a miss (`shapings.CountsLaw`). With p the smoothed accuracy, v = ∇log p and o = p/(1−p), the variance of
g = (1/σ) Σ w_n s_n is

    Var g  =  E[r w₁²] A₁ + E[(N−r) w₀²] A₀ + Var[r w₁ − (N−r) w₀ o] v vᵀ
    A₁     =  E(ssᵀ | hit)/σ² − v vᵀ            credited with Gaussian noise  I/t + ∇²p/p − v vᵀ
    A₀     =  E(ssᵀ | miss)/σ² − o² v vᵀ                                      I/t − o ∇²p/p − o² v vᵀ

as hits and misses are independent given r, of means v and −o v: exact for any p and N. Who credits what decides A₁ and
A₀ alone (`esgrad.laws.example`); the trace needs no more of an example than a `Place`. Of the lecture's raw weights
it is (pK/t + Δp − |∇p|²)/N; tests/test_theory.py writes out the others.
"""

import math

import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.credits import Credit
from esgrad.gradients.noises import Noise
from esgrad.gradients.shapings import CountsLaw, Shaping, has_counts_law
from esgrad.kernels.ordered_sum import ordered_sum
from esgrad.laws.binomial import hits
from esgrad.laws.example import Moments, Place
from esgrad.laws.places import has_place

RANK_FACTOR = 3 / math.pi
"""What centered ranks of a Gaussian fitness leave of n directions: the squared correlation of a value and its rank."""


# Variance at one example's logits


def has_law(noise: Noise, credit: Credit, shaping: Shaping) -> bool:
    """Whether `gradient_variance` knows this combination."""
    known = has_place(noise, credit) and has_counts_law(shaping)
    return known and shaping.refuses(noise, 2) is None and (noise.INDEPENDENT or _is_linear(shaping))


def gradient_variance(shaping: Shaping, place: Place, num_samples: Tensor | float) -> Tensor:
    """tr Var g [...] at a place [...], in units of 1/logits², for 0/1 fitness; N [...] or a number.

    Exact. Raises ValueError for a shaping without a law there, and for fewer samples than it needs.
    """
    law, n = _checked(shaping, place, num_samples)
    _, of_hits, of_misses, of_mean = _shares(law, place, n)
    return of_hits * place.hit_variance + of_misses * place.miss_variance + of_mean * place.slope


def mean_share(shaping: Shaping, place: Place, num_samples: Tensor | float) -> Tensor:
    """What the mean of the estimate is of E(s | hit)/σ, [...]: E[r w₁ − (N−r) w₀ o]. Errors as above."""
    law, n = _checked(shaping, place, num_samples)
    return _shares(law, place, n)[0]


def mean_and_covariance(shaping: Shaping, moments: Moments, num_samples: Tensor | float) -> tuple[Tensor, Tensor]:
    """E g [..., K] and Var g [..., K, K]; its trace is `gradient_variance`. Errors as there.

    E g = E[r w₁ − (N−r) w₀ o] v: what `expects` of the shaping says, factor and exact gradient.
    """
    place = Place(*moments[:4], *[moments.miss] * 5)  # of which only the hits are looked at
    law, n = _checked(shaping, place, num_samples)
    centre, *shares = _shares(law, place, n)
    of_hits, of_misses, of_mean = (share[..., None, None] for share in shares)
    v, odds = moments.gradient, place.odds[..., None, None]
    outer = v[..., :, None] * v[..., None, :]
    of_a_miss = moments.missed.matrix() - odds**2 * outer
    return centre[..., None] * v, of_hits * (moments.hit.matrix() - outer) + of_misses * of_a_miss + of_mean * outer


def covariance(shaping: Shaping, moments: Moments, num_samples: Tensor | float) -> Tensor:
    """Var g [..., K, K]. Errors as above."""
    return mean_and_covariance(shaping, moments, num_samples)[1]


def baseline_variance(place: Place, baseline: Tensor | float, num_samples: Tensor | float) -> Tensor:
    """tr Var g [...] of w = (f − b)/N, b fixed, [...] or a number, credited with Gaussian noise
    (((1−2b)p + b²) K/t + (1−2b) Δp − |∇p|²)/N."""
    b = torch.as_tensor(baseline, dtype=torch.float64, device=place.miss.device)
    p, q = place.probability, place.miss
    of_mean = p * q * (1 - b * (1 + place.odds)) ** 2 * place.slope
    return (p * (1 - b) ** 2 * place.hit_variance + q * b**2 * place.miss_variance + of_mean) / num_samples


def best_baseline(place: Place) -> Tensor:
    """The fixed baseline of least variance, b* = E[f|s|²]/E|s|² [...]; credited with Gaussian noise p + tΔp/K."""
    hit = place.probability * (place.hit_variance + place.slope)
    return hit / (hit + place.miss * (place.miss_variance + place.odds**2 * place.slope))


def _checked(shaping: Shaping, place: Place, num_samples: Tensor | float) -> tuple[CountsLaw, Tensor]:
    if not has_counts_law(shaping) or (place.trials != 1 and not _is_linear(shaping)):
        where = "independent samples" if place.trials == 1 else "mirrored pairs"
        raise ValueError(f"the variance of {menu.name(shaping)} with {where} has no law here")
    n = torch.as_tensor(num_samples, dtype=torch.float64, device=place.miss.device)
    fewest = max(shaping.FEWEST, round(1 / place.trials))
    if not (n >= fewest).all():
        raise ValueError(f"num_samples is {n.min().item():g}: expected {fewest} or more for {menu.name(shaping)}.")
    return shaping, n  # type: ignore[return-value]


def _shares(law: CountsLaw, place: Place, n: Tensor) -> tuple[Tensor, ...]:
    """E c with c = r w₁ − (N−r) w₀ o, E[r w₁²], E[(N−r) w₀²] and Var c, over the trials' hits r."""
    r, s, weight = hits(place.log_probability, place.miss, n * place.trials)
    if place.trials == 1:
        of_hit, of_miss = law.of_counts(r, s)
    else:  # of a pair that hits, q has a hit's weight and −q a miss's; other pairs sum to 0
        of_hit, of_miss = _difference(law, n), torch.zeros_like(r)
    mean = r * of_hit - s * of_miss * place.odds
    centre = ordered_sum(weight * mean, 0)
    squares = (weight * part for part in (r * of_hit**2, s * of_miss**2, (mean - centre) ** 2))
    return centre[0], *(ordered_sum(square, 0)[0] for square in squares)


def _difference(law: CountsLaw, num_samples: Tensor, hit_count: float = 1.0) -> Tensor:
    """w₁ − w₀ at N, which of linear weights is the same whatever the hits."""
    of_hit, of_miss = law.of_counts(torch.full_like(num_samples, hit_count), num_samples - hit_count)
    return of_hit - of_miss


def _is_linear(shaping: Shaping) -> bool:
    """Whether weights are a multiple of the fitness, up to a centre: the multiple does not know the hits."""
    if not has_counts_law(shaping):
        return False
    law: CountsLaw = shaping  # type: ignore[assignment]
    eight = torch.tensor(8.0, dtype=torch.float64)
    return bool(_difference(law, eight, 1.0).sub(_difference(law, eight, 3.0)).abs() < 1e-12)


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
