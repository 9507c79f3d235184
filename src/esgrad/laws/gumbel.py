"""Gumbel noise: what a sample is credited with, by its noise and by its class, in closed form.

With β = √(6t)/π, π = softmax(l/β), p = π_y, ρ the other classes' share of the misses, v = (onehot(y) − π)/β = ∇log p,
and u any direction, m = π·u, the moments of the noise's score (f s sᵀ by parts; s_k′ = (π/√6)(π/√6 − s_k)) are

    β² uᵀE(ssᵀ | hit)u/σ²   =  Σ_{k≠y} u_k² + m²  +  β² (u·v)²
    β² uᵀE(ssᵀ | miss)u/σ²  =  |u|² + 2p (u_y − ρ·u) m

and those of the class, v_a = (onehot(a) − π)/β, are v vᵀ where it hits and Σ_{a≠y} ρ_a v_a v_aᵀ where it misses.
"""

import math

import torch
from torch import Tensor

from esgrad.laws.example import Form, Moments, Place, level, outer


def scale(variance: Tensor) -> Tensor:
    """β."""
    return (6 * variance).sqrt() / math.pi


def noise_moments(logits: Tensor, targets: Tensor, variance: Tensor) -> Moments:
    """Credited with the noise, at logits [..., K], targets [...], t [...]."""
    beta, share, others, log_p, miss, v = _softmax(logits, targets, variance)
    k, p, unit = logits.shape[-1], log_p.exp(), _onehot(logits, targets)
    own, weight = unit.bool(), 1 / beta**2

    def hit(u: Tensor, onto: Tensor) -> Tensor:
        mean = (share * u).sum(-1)
        return weight * (u.masked_fill(own, 0.0).square().sum(-1) + mean**2) + onto

    def missed(u: Tensor, onto: Tensor) -> Tensor:
        ahead = ((unit - others) * u).sum(-1)
        return weight * (u.square().sum(-1) + 2 * p * ahead * (share * u).sum(-1))

    def hit_matrix() -> Tensor:
        return (weight[..., None, None] * (torch.diag_embed(1 - unit) + _square(share))) + _square(v)

    def missed_matrix() -> Tensor:
        mixed = (unit - others)[..., :, None] * share[..., None, :]
        eye = torch.eye(k, dtype=torch.float64, device=share.device)
        return weight[..., None, None] * (eye + p[..., None, None] * (mixed + mixed.mT))

    squares = share.square().sum(-1)
    hits = Form(weight * (k - 1 + squares) + v.square().sum(-1), hit, hit_matrix)
    trace = weight * (k + 2 * p * (p - miss * others.square().sum(-1)))
    return Moments(k, 1.0, log_p, miss, v, hits, Form(trace, missed, missed_matrix))


def class_moments(logits: Tensor, targets: Tensor, variance: Tensor) -> Moments:
    """Credited with the class."""
    beta, share, others, log_p, miss, v = _softmax(logits, targets, variance)
    weight = 1 / beta**2

    def missed(u: Tensor, onto: Tensor) -> Tensor:
        away = u - (share * u).sum(-1, keepdim=True)
        return weight * (others * away.square()).sum(-1)

    def matrix() -> Tensor:
        classes = torch.eye(logits.shape[-1], dtype=torch.float64, device=share.device) - share[..., None, :]
        return weight[..., None, None] * torch.einsum("...a,...aj,...ak->...jk", others, classes, classes)

    trace = weight * (1 - 2 * (others * share).sum(-1) + share.square().sum(-1))
    return Moments(logits.shape[-1] - 1, 1.0, log_p, miss, v, outer(v), Form(trace, missed, matrix))


def level_place(num_logits: int, variance: Tensor, credits_classes: bool) -> Place:
    """At K equal logits: |∇log p|² = (1 − 1/K)/β²; the noise's hits scatter by 1/(Kβ²) along the gradient."""
    weight = 1 / scale(variance) ** 2
    slope = weight * (1 - 1 / num_logits)
    if credits_classes:
        return level(num_logits, True, slope / num_logits, slope, slope)
    place = level(num_logits, False, weight, slope, slope + weight / num_logits)
    return place


def _softmax(logits: Tensor, targets: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
    """β, π, ρ, log p, 1 − p and v; neither p nor 1 − p is lost where it is tiny."""
    beta = scale(variance).expand(targets.shape)
    scaled = logits.double() / beta[..., None]
    log_share, own = scaled.log_softmax(-1), _onehot(logits, targets).bool()
    log_others = log_share.masked_fill(own, -torch.inf)
    log_miss = log_others.logsumexp(-1)
    miss = log_miss.exp()
    log_p = torch.where(miss < 0.5, torch.log1p(-miss), log_share.gather(-1, targets[..., None])[..., 0])
    others = (log_others - log_miss[..., None]).exp()
    share = torch.where(own, log_p[..., None], log_share).exp()
    v = torch.where(own, miss[..., None], -share) / beta[..., None]
    return beta, share, others, log_p, miss, v


def _onehot(logits: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(targets, logits.shape[-1]).double()


def _square(vector: Tensor) -> Tensor:
    return vector[..., :, None] * vector[..., None, :]
