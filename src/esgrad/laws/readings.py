"""A box that judges k readings together: what a sample is credited with, of the readings side by side.

Given their classes a_1, …, a_k the readings are independent. So with M_{i,d} the moments of reading i at class d, as if
d were its label, π_{i,d} its probability and c_{i,d} = P(a_i = d | hit),

    E(s | hit)/σ        =  Σ_d c_{i,d} v_{i,d}  in block i                                    which is ∇log p
    E((u·s)² | hit)/σ²  =  Σ_{i,d} c_{i,d} u_iᵀM_{i,d}u_i + Σ_{i≠j} E[(u_i·v_{i,a_i})(u_j·v_{j,a_j}) | hit]

All that is asked of the box is the sum over the readings it accepts of a product of factors, one a reading
(`blackboxes.ClassJudge.accepted`), which for a sum of digits is a convolution.
"""

from itertools import combinations

import torch
from torch import Tensor

from esgrad.gradients.credits import Credit
from esgrad.gradients.noises import Noise
from esgrad.laws.example import Form, Moments
from esgrad.laws.places import moments as moments_of_one
from esgrad.tasks.blackboxes import ClassJudge


def moments(
    noise: Noise, credit: Credit, judge: ClassJudge, logits: Tensor, targets: Tensor, variance: Tensor | float
) -> Moments:
    """The moments at logits [..., k, K], targets [...], of independent noise of variance t; gradients are [..., k·K].

    ValueError for a combination without a law, and for mirrored noise, whose readings are not independent.
    """
    if not noise.INDEPENDENT:
        raise ValueError("the readings of mirrored samples know of each other: independent noise has a law")
    *_, k, num_classes = logits.shape
    each = torch.arange(num_classes, device=logits.device).expand(*logits.shape[:-1], num_classes)  # [..., k, K]
    spread = logits.double()[..., None, :].expand(*logits.shape, num_classes)
    one = moments_of_one(noise, credit, spread, each, variance, whole=True)  # [..., k, K] of each reading and class
    share = one.log_probability.softmax(-1)  # π, whose logarithms are exact but for their common error
    p = judge.accepted(share, targets)
    given = _given_a_hit(judge, share, targets) / p[..., None, None]  # c
    gradient = (given[..., None] * one.gradient).sum(-2)  # [..., k, K]

    def hit(u: Tensor, onto: Tensor) -> Tensor:
        blocks = u.unflatten(-1, (k, num_classes))
        along = (one.gradient * blocks[..., None, :]).sum(-1)  # u_i·v_{i,d}, [..., k, K]
        own = (given * one.hit.along(blocks[..., None, :].expand_as(one.gradient), along.square())).sum((-2, -1))
        return own + 2 * _mixed(judge, share, along, targets) / p

    def all_samples(u: Tensor) -> Tensor:
        blocks = u.unflatten(-1, (k, num_classes))[..., None, :].expand_as(one.gradient)
        onto = (one.gradient * blocks).sum(-1).square()
        return (share * one.hit.along(blocks, onto)).sum((-2, -1))

    def missed(u: Tensor, onto: Tensor) -> Tensor:
        return (all_samples(u) - p * hit(u, onto)) / (1 - p)

    of_hit = (given * one.hit.trace).sum((-2, -1))
    of_all = (share * one.hit.trace).sum((-2, -1))
    forms = Form(of_hit, hit, _no_matrix), Form((of_all - p * of_hit) / (1 - p), missed, _no_matrix)
    return Moments(k * one.dimension, 1.0, p.log(), 1 - p, gradient.flatten(-2), *forms)


def _given_a_hit(judge: ClassJudge, share: Tensor, targets: Tensor) -> Tensor:
    """P(a_i = d and a hit), [..., k, K]: the derivative of what is accepted, as it is linear in each factor."""
    with torch.enable_grad():
        factors = share.detach().requires_grad_()
        (slope,) = torch.autograd.grad(judge.accepted(factors, targets).sum(), factors)
    return share * slope


def _mixed(judge: ClassJudge, share: Tensor, along: Tensor, targets: Tensor) -> Tensor:
    """Σ_{i<j} E[x_i x_j; hit] of x_i = along[..., i, a_i]."""
    total = torch.zeros_like(share[..., 0, 0])
    for pair in combinations(range(share.shape[-2]), 2):
        factors = share.clone()
        factors[..., pair, :] *= along[..., pair, :]
        total = total + judge.accepted(factors, targets)
    return total


def _no_matrix() -> Tensor:
    raise ValueError("the covariance of several readings is not written out: its trace and directions are known")
