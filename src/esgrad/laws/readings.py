"""A box that judges k readings together: what a sample is credited with, of the readings side by side.

Given their classes a_1, …, a_k the readings are independent. So with M_{i,d} the moments of reading i at class d, as if
d were its label, π_{i,d} its probability and c_{i,d} = P(a_i = d | hit),

    E(s | hit)/σ        =  Σ_d c_{i,d} v_{i,d}  in block i                                    which is ∇log p
    E((u·s)² | hit)/σ²  =  Σ_{i,d} c_{i,d} u_iᵀM_{i,d}u_i + Σ_{i≠j} E[(u_i·v_{i,a_i})(u_j·v_{j,a_j}) | hit]

and the same of a miss. All that is asked of the box is the sum over the readings it accepts of a product of factors,
one a reading (`blackboxes.ClassJudge.accepted`), which for a sum of digits is a convolution. Those that it rejects are
those that it accepts for other targets, so that a miss that hardly ever comes is no difference of two large numbers.
"""

from collections.abc import Callable
from itertools import combinations
from math import log

import torch
from torch import Tensor

from esgrad.gradients.credits import Credit
from esgrad.gradients.noises import Noise
from esgrad.laws.binomial import TINY
from esgrad.laws.example import Form, Moments
from esgrad.laws.places import moments as moments_of_one
from esgrad.tasks.blackboxes import ClassJudge

MOST_STRINGS = 10**5
"""So many strings of classes are looked at, to know which labels there are."""


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
    accepted = _Strings(share, lambda factors: judge.accepted(factors, targets))
    known = labels(judge, k, num_classes).to(targets.device)
    rejected = _Strings(share, lambda factors: _accepted_for_others(judge, factors, targets, known))
    gradient = (accepted.given[..., None] * one.gradient).sum(-2)  # [..., k, K]
    forms = (_form(one, accepted), _form(one, rejected))
    p, miss = accepted.chance, rejected.chance
    log_p = torch.where(miss < 0.5, torch.log1p(-miss), p.clamp(min=TINY).log())
    return Moments(k * one.dimension, 1.0, log_p, miss, gradient.flatten(-2), *forms)


class _Strings:
    """Strings of classes that a box accepts, or that it rejects, of readings with class probabilities π [..., k, K]."""

    def __init__(self, share: Tensor, total: Callable[[Tensor], Tensor]) -> None:
        """`total`: the sum over these strings of the product of their factors [..., k, K]."""
        self.share, self.total = share, total
        self.chance = total(share)
        with torch.enable_grad():
            factors = share.detach().requires_grad_()
            (slope,) = torch.autograd.grad(total(factors).sum(), factors)  # the total is linear in each factor
        self.given = share * slope / self.chance.clamp(min=TINY)[..., None, None]
        """P(a_i = d | such a string), [..., k, K]; 0 where there is none."""

    def mixed(self, values: Tensor) -> Tensor:
        """Σ_{i<j} E[x_i x_j | such a string] of x_i = values[..., i, a_i]."""
        found = torch.zeros_like(self.chance)
        for pair in combinations(range(self.share.shape[-2]), 2):
            factors = self.share.clone()
            factors[..., pair, :] *= values[..., pair, :]
            found = found + self.total(factors)
        return found / self.chance.clamp(min=TINY)


def _form(one: Moments, strings: _Strings) -> Form:
    """The second moments of what such strings are credited with, of the moments of each reading and class."""

    def along(u: Tensor, onto: Tensor) -> Tensor:
        blocks = u.unflatten(-1, one.gradient.shape[-3:-1])[..., None, :].expand_as(one.gradient)
        each = (one.gradient * blocks).sum(-1)  # u_i·v_{i,d}, [..., k, K]
        own = (strings.given * one.hit.along(blocks, each.square())).sum((-2, -1))
        return own + 2 * strings.mixed(each)

    return Form((strings.given * one.hit.trace).sum((-2, -1)), along, _no_matrix)


def _accepted_for_others(judge: ClassJudge, factors: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Σ over the strings that are wrong for the targets [...], of all known labels, of the product of their factors
    [..., k, K]."""
    every = targets[..., None].expand(*targets.shape, len(known))
    spread = factors[..., None, :, :].expand(*every.shape, *factors.shape[-2:])
    return judge.accepted(spread, known.expand_as(every)).masked_fill(known == every, 0.0).sum(-1)


def labels(judge: ClassJudge, readings: int, num_classes: int) -> Tensor:
    """The labels there are for k readings of K classes: from 0 to the largest that a string of one class stands for."""
    same = torch.arange(num_classes)[:, None].expand(num_classes, readings)
    return torch.arange(int(_label(judge, same, num_classes).max()) + 1)


def strings(judge: ClassJudge, readings: int, num_classes: int) -> Tensor:
    """What every string of classes stands for, [K^k]; ValueError for more strings than can be looked at."""
    count = num_classes**readings
    if count > MOST_STRINGS:
        raise ValueError(
            f"{readings} readings of {num_classes} classes make {count:.0e} strings, of which {MOST_STRINGS:,} can be"
            f" looked at: {int(log(MOST_STRINGS) / log(num_classes) + 1e-9)} readings would do"
        )
    classes = torch.arange(count)[:, None] // num_classes ** torch.arange(readings) % num_classes
    return _label(judge, classes, num_classes)


def _label(judge: ClassJudge, classes: Tensor, num_classes: int) -> Tensor:
    """What strings of classes [..., k] stand for."""
    return judge.predict(torch.nn.functional.one_hot(classes, num_classes).flatten(-2).float())


def _no_matrix() -> Tensor:
    raise ValueError("the covariance of several readings is not written out: its trace and directions are known")
