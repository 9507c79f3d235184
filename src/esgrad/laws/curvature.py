"""Second derivatives of the smoothed accuracy p, and what a mirrored pair sees of it, exactly, per example.

As in esgrad.gradients.quadrature, with x_k = a_k + u, λ = φ/Φ and E_w the mean over u with weights φ(u) Π Φ(x_k):

    t ∂²p/∂l_j∂l_k / p  =  E_w[λ(x_j) λ(x_k)]           j ≠ k, neither the target
    t ∂²p/∂l_k² / p     =  −E_w[x_k λ(x_k)]             the target's row and column make every row's sum 0
    t Δp / p            =  E_w[(Σλ)² − Σλ² − 2 Σ xλ]    (= E_w[u² − 1 − Σ xλ], which cancels as p → 1)
    (1 − p) / p         =  E_w[Σ λ(x_k) / λ(u)]         by parts, for p ≥ ½; nothing cancels as p → 1

Everything is relative to p, so that it survives where p is too small for a float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from esgrad.gradients.quadrature import (
    HALF_LOG_2PI,
    find_window,
    in_blocks,
    log_cdf_and_ratio,
    node_count,
    ordered_sum,
    standardize,
    weigh,
)

PAIR_LEFT, PAIR_RIGHT, PAIR_STEP = 6.0, 9.0, 0.2  # a leader's pair: window around a_min/2, in σ; error < 1e-9
LEADING = 1e-9  # σ ahead of all others: below, both of a pair hit so rarely that it is 0
TINIEST = 1e-300  # the length of a vector that still has a direction
SMALLEST = 1e-18  # of Φ(x) − Φ(y) relative to Φ(x): what rounding leaves of it


class Curvature(NamedTuple):
    """What quadrature knows of the smoothed accuracy at one example's logits; all but the gradient are [...]."""

    log_probability: Tensor
    """log p"""
    miss: Tensor
    """1 − p, to relative precision"""
    gradient: Tensor
    """∇log p, [..., K]"""
    laplacian: Tensor
    """Δp / p"""
    along: Tensor
    """v̂ᵀ∇²p v̂ / p with v̂ the direction of the gradient"""


class SingleHit(NamedTuple):
    """What a mirrored pair (q, −q) knows, given that q hits and −q does not; each [...]."""

    share: Tensor
    """P(q hits, −q does not) / p = (p − c)/p, with c = P(both hit)"""
    square: Tensor
    """E|q|²/t"""
    along: Tensor
    """E(v̂·q)²/t"""


def unit(vector: Tensor, dim: int = -1) -> Tensor:
    """The direction of a vector along `dim`, also of one so short that its square is no float64; 0 has none."""
    scaled = vector / vector.abs().amax(dim, keepdim=True).clamp(min=TINIEST)
    return scaled / scaled.norm(dim=dim, keepdim=True).clamp(min=1.0)


def curvature(logits: Tensor, targets: Tensor, sigma: Tensor | float) -> Curvature:
    """p, its gradient, Laplacian and curvature along the gradient; arguments and errors as for the gradient."""
    gaps, labels, scales = standardize(logits, targets, sigma)
    log_p, miss, pull, laplacian, along = in_blocks(_curvature, node_count(gaps.shape[0]), gaps)
    gradient = (-pull / scales).scatter(0, labels, (pull.sum(0) / scales))
    shape = targets.shape
    return Curvature(
        log_p.reshape(shape),
        miss.reshape(shape),
        gradient.T.reshape(logits.shape),
        (laplacian / scales**2).reshape(shape),
        (along / scales**2).reshape(shape),
    )


def laplacian(logits: Tensor, targets: Tensor, sigma: Tensor | float) -> Tensor:
    """Δp/p [...], float64, in units of 1/logits²."""
    return curvature(logits, targets, sigma).laplacian


def hessian(logits: Tensor, targets: Tensor, sigma: Tensor | float) -> Tensor:
    """∇²p/p [..., K, K], float64, in units of 1/logits²; its rows sum to 0."""
    return second_order(logits, targets, sigma)[3]


def second_order(logits: Tensor, targets: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log p [...], 1 − p [...], ∇log p [..., K] and ∇²p/p [..., K, K], from one pass.

    Float64, and the same to the bit whatever else is in the batch, as a training needs it.
    """
    gaps, labels, scales = standardize(logits, targets, sigma)
    num_classes, shape = gaps.shape[0], targets.shape
    (window,) = in_blocks(find_window, 2, gaps)
    log_p, miss, pull, found = in_blocks(_second_order, node_count(num_classes), gaps, window)
    gradient = (-pull / scales).scatter(0, labels, ordered_sum(pull, 0) / scales)
    found = found / scales**2
    row, column = labels.expand(1, num_classes, -1), labels[None].expand(num_classes, 1, -1)
    found = found.scatter(0, row, -ordered_sum(found, 0))
    found = found.scatter(1, column, 0.0)
    found = found.scatter(1, column, -ordered_sum(found, 1)).movedim(-1, 0)
    return (
        log_p.reshape(shape),
        miss.reshape(shape),
        gradient.T.reshape(logits.shape),
        found.reshape(*logits.shape, num_classes),
    )


def single_hit(logits: Tensor, targets: Tensor, sigma: Tensor | float, known: Curvature) -> SingleHit:
    """What a mirrored pair knows given that q hits and −q does not; `known` is `curvature` of the same arguments.

    Unless the target leads (a_k > 0 for all k), never do both hit, and this is what a hit knows. Else z_k, the noise
    of a competitor, lies in (u − a_k, u + a_k) where both hit; to let nothing cancel as p → 1, the difference
    of all hits and double hits is taken inside the integral, with ρ_k = Φ(u − a_k)/Φ(u + a_k).
    """
    gaps, labels, scales = standardize(logits, targets, sigma)
    log_p = known.log_probability.reshape(1, -1)
    t = scales**2
    share = torch.ones_like(log_p)
    square = gaps.shape[0] + t * known.laplacian.reshape(1, -1)
    along = 1 + t * known.along.reshape(1, -1)
    leads = gaps.amin(0) > LEADING
    if leads.any():
        gradient = known.gradient.reshape(-1, gaps.shape[0]).T[:, leads]
        direction = unit(gradient, 0)
        own = direction.gather(0, labels[:, leads])
        others = direction.scatter(0, labels[:, leads], 0.0)
        points = round((PAIR_LEFT + PAIR_RIGHT) / PAIR_STEP)
        log_single, square[:, leads], along[:, leads] = in_blocks(_single_hit, 3 * points, gaps[:, leads], own, others)
        share[:, leads] = (log_single - log_p[:, leads]).exp().clamp(max=1.0)
    return SingleHit(*(each.reshape(targets.shape) for each in (share, square, along)))


def _curvature(gaps: Tensor) -> tuple[Tensor, ...]:
    """log p, 1 − p [1, E], E_w λ [K, E], and t Δp/p, t v̂ᵀ∇²p v̂/p [1, E], for gaps [K, E]."""
    log_p, nodes, weights, mass, ratio = weigh(gaps)
    weights = weights / mass  # [n, E]
    bend = ratio * (gaps[:, None] + nodes)  # x λ(x), [K, n, E]
    total = ratio.sum(0)  # [n, E]
    laplacian = (weights * (total**2 - (ratio**2).sum(0) - 2 * bend.sum(0))).sum(0, keepdim=True)
    pull = (weights * ratio).sum(1)  # [K, E]
    # As the rows of ∇²p sum to 0, only the differences d_k = v̂_k − v̂_y enter v̂ᵀ∇²p v̂.
    direction = unit(torch.cat([-pull, pull.sum(0, keepdim=True)]), 0)
    fall = direction[:-1] - direction[-1]
    part = (fall[:, None] * ratio).sum(0) ** 2 - ((fall[:, None] * ratio) ** 2 + fall[:, None] ** 2 * bend).sum(0)
    along = (weights * part).sum(0, keepdim=True)
    log_p, miss = _with_miss(log_p, nodes, weights, ratio)
    return log_p, miss, pull, laplacian, along


def _second_order(gaps: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log p, 1 − p [1, E], E_w λ [K, E] and t ∇²p/p [K, K, E] but for the target's row and column (0)."""
    log_p, nodes, weights, mass, ratio = weigh(gaps, window)
    weights = weights / mass
    log_p, miss = _with_miss(log_p, nodes, weights, ratio)
    weighted = ratio * weights
    found = torch.stack([ordered_sum(weighted * row, 1)[:, 0] for row in ratio])
    bend = ordered_sum(weighted * (gaps[:, None] + nodes), 1)[:, 0]  # E_w xλ(x), [K, E]
    found.diagonal().copy_(-bend.T)
    return log_p, miss, ordered_sum(weighted, 1)[:, 0], found


def _with_miss(log_p: Tensor, nodes: Tensor, weights: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """log p and 1 − p [1, E], each to relative precision, also as p → 1."""
    _, own = log_cdf_and_ratio(nodes)
    share = weights * ordered_sum(ratio, 0)[0] / own.clamp(min=1e-300)
    miss = torch.where(log_p > -0.69, ordered_sum(share, 0) * log_p.exp(), -torch.expm1(log_p))
    return torch.where(log_p > -0.69, torch.log1p(-miss), log_p), miss


def _single_hit(gaps: Tensor, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log P(q hits, −q does not), E|q|²/t and E(v̂·q)²/t given that [1, E]; v̂ is `own` [1, E] and `others` [K, E]."""
    count = round((PAIR_LEFT + PAIR_RIGHT) / PAIR_STEP) + 1
    nodes = PAIR_STEP * torch.arange(count, dtype=gaps.dtype, device=gaps.device)[:, None]
    nodes = nodes + (0.5 * gaps.amin(0) - PAIR_LEFT)  # [n, E]
    high, low = gaps[:, None] + nodes, nodes - gaps[:, None]  # x and y of z ∈ (y, x), [K, n, E]
    log_high, ratio_high = log_cdf_and_ratio(high)
    log_low, ratio_low = log_cdf_and_ratio(low)
    log_rho = log_low - log_high
    rho = log_rho.exp()
    both = (-torch.expm1(log_rho)).clamp(min=SMALLEST)  # 1 − ρ
    odds = rho / both
    log_both = torch.where(rho < 0.5, torch.log1p(-rho), both.log()).sum(0)  # log B/A, [n, E]
    single = (-torch.expm1(log_both)).clamp(min=1e-300)  # (A − B)/A
    exponent = log_high.sum(0) - 0.5 * nodes**2 + single.log()
    peak = exponent.amax(0)
    weights = (exponent - peak).exp()  # of A − B
    mass = weights.sum(0)
    weights = weights / mass
    double = log_both.exp() / single * odds  # (B/(A − B)) ρ/(1 − ρ), [K, n, E]
    # Of z below x less of z in (y, x): the difference of the means is odds·(λ(x) − λ(y)), of squares the second.
    mean_change, square_change = ratio_high - ratio_low, high * ratio_high - low * ratio_low
    square = nodes**2 + gaps.shape[0] - 1 - (high * ratio_high).sum(0) + (double * square_change).sum(0)
    w = others[:, None]
    mean = own * nodes - (w * ratio_high).sum(0)  # E(v̂·z) over z below x
    spread = (w**2 * (1 - high * ratio_high - ratio_high**2)).sum(0)
    shift = (w * odds * mean_change).sum(0)
    along = mean**2 + spread + (w * double * mean_change).sum(0) * (2 * mean - shift)
    step = odds * mean_change
    along = along + (w**2 * double * (square_change + mean_change * (2 * ratio_high + step))).sum(0)
    log_single = peak + (mass * PAIR_STEP).log() - HALF_LOG_2PI
    return log_single[None], (weights * square).sum(0, keepdim=True), (weights * along).sum(0, keepdim=True)
