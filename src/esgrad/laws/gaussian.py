"""Gaussian noise: what a sample is credited with, by its noise, by the noise of a mirrored pair, and by its class.

With H = ∇²p/p (`esgrad.laws.curvature`) and v = ∇log p, the moments of the noise's score s = q/σ are exactly

    E(ssᵀ | hit)/σ²   =  I/t + H
    E(ssᵀ | miss)/σ²  =  I/t − o H                       o = p/(1−p)

and those of the class, v_a = ∇log π_a with π_a the probability of class a, are v vᵀ where it hits and
Σ_{a≠y} π_a v_a v_aᵀ/(1−p) where it misses.
"""

import math

import torch
from torch import Tensor

from esgrad.gradients.quadrature import log_probability_and_gradient
from esgrad.laws.binomial import TINY
from esgrad.laws.curvature import Curvature, curvature, second_order, single_hit
from esgrad.laws.example import Form, Moments, Place, identity, isotropic, level, maximum_moments, odds_of, outer

EXACT_UP_TO = 100
"""Logits; beyond, ∇²p is known by its trace and along ∇p alone, and the classes' gradients are too many."""


def noise_moments(logits: Tensor, targets: Tensor, variance: Tensor, *, whole: bool = False) -> Moments:
    """Credited with the noise, at logits [..., K], targets [...], t [...].

    `whole`: with all of ∇²p, up to K = EXACT_UP_TO, the same to the bit whatever else is in the batch.
    """
    t, k = variance.double().expand(targets.shape), logits.shape[-1]
    if whole and k <= EXACT_UP_TO:
        log_p, miss, v, hessian = second_order(logits, targets, t.sqrt())
        bend = _dense(hessian)
    else:
        known = curvature(logits, targets, t.sqrt())
        log_p, miss, v = known.log_probability, known.miss, known.gradient
        bend = isotropic(known.laplacian, known.along, v)
    odds = odds_of(log_p, miss)
    white = identity(1 / t, k)
    return Moments(k, 1.0, log_p, miss, v, white.plus(bend), white.plus(bend.times(-odds)))


def pair_moments(logits: Tensor, targets: Tensor, variance: Tensor) -> Moments:
    """Of mirrored pairs of which one sample hits and one misses: credited with the noise of the one that hits.

    E(qqᵀ) is taken as alike across the gradient.
    """
    t, k = variance.double().expand(targets.shape), logits.shape[-1]
    known: Curvature = curvature(logits, targets, t.sqrt())
    single = single_hit(logits, targets, t.sqrt(), known)
    share = single.share.clamp(min=TINY)  # 0 where the target leads so far that nobody ever misses
    log_chance = (math.log(2) + share.log() + known.log_probability).clamp(max=0.0)
    v = known.gradient / share[..., None]
    hit = isotropic(single.square / t, single.along / t, v)
    return Moments(k, 0.5, log_chance, -torch.expm1(log_chance), v, hit, hit.times(torch.zeros_like(t)))


def class_moments(logits: Tensor, targets: Tensor, variance: Tensor) -> Moments:
    """Credited with the class; ValueError beyond K = EXACT_UP_TO."""
    k = logits.shape[-1]
    if k > EXACT_UP_TO:
        raise ValueError(
            f"the law of Gaussian noise credited with the class needs a gradient for each class: K = {k} is more than "
            f"{EXACT_UP_TO}; Gumbel noise has one at every K"
        )
    t = variance.double().expand(targets.shape)
    each = torch.arange(k, device=logits.device).expand(*targets.shape, k)
    spread = logits.double()[..., None, :].expand(*targets.shape, k, k)
    log_share, gradients = log_probability_and_gradient(spread, each, t.sqrt()[..., None].expand_as(each))
    own = torch.nn.functional.one_hot(targets, k).bool()
    log_others = log_share.masked_fill(own, -torch.inf)
    others = log_others.softmax(-1)
    log_p, miss, v = curvature(logits, targets, t.sqrt())[:3]  # to relative precision

    def missed(u: Tensor, onto: Tensor) -> Tensor:
        return (others * torch.einsum("...ak,...k->...a", gradients, u).square()).sum(-1)

    def matrix() -> Tensor:
        return torch.einsum("...a,...aj,...ak->...jk", others, gradients, gradients)

    trace = (others * gradients.square().sum(-1)).sum(-1)
    return Moments(k - 1, 1.0, log_p, miss, v, outer(v), Form(trace, missed, matrix))


def level_place(num_logits: int, variance: Tensor, credits_classes: bool) -> Place:
    """At K equal logits, m the largest of K standard normals: |∇log p|² = (E m)² K/((K−1)t); |q| does not know which of
    its components is the largest."""
    mean, square = maximum_moments(num_logits)
    longer = num_logits / (num_logits - 1)  # v̂·q = √longer (q_y − q̄)
    slope = longer * mean**2 / variance
    if credits_classes:
        return level(num_logits, True, slope / num_logits, slope, slope)
    return level(num_logits, False, 1 / variance, slope, longer * (square - 1 / num_logits) / variance)


def level_pair_place(num_logits: int, variance: Tensor) -> Place:
    """The same of a mirrored pair, which never hits twice."""
    one = level_place(num_logits, variance, False)
    log_chance = one.log_probability + math.log(2)
    chance = log_chance.exp()
    nothing = torch.zeros_like(variance)
    return one._replace(
        trials=0.5, log_probability=log_chance, miss=1 - chance, miss_along=nothing, miss_across=nothing
    )


def _dense(matrix: Tensor) -> Form:
    """The form of a matrix [..., K, K] that is written out."""
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
    return Form(trace, lambda v, _: torch.einsum("...j,...jk,...k->...", v, matrix, v), lambda: matrix)
