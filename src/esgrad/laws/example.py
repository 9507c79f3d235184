"""What the laws know of an example: the first two moments of what a hit and a miss are credited with.

With s what a sample is credited with, p the probability of a hit, v = E(s | hit)/σ = ∇log p and o = p/(1−p), so that
E(s | miss)/σ = −o v, the laws need E(ssᵀ | hit)/σ² and E(ssᵀ | miss)/σ², as far as they are known (`Form`). Who credits
what is told in `esgrad.laws.gaussian` and `esgrad.laws.gumbel`. All numbers are float64.

A mirrored pair is a trial of its own: it hits where one of its two samples hits and the other misses. N samples are
then N/2 trials, and where both hit or both miss, nothing is left of the pair.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from esgrad.laws.binomial import TINY
from esgrad.laws.curvature import unit


class Form(NamedTuple):
    """A symmetric matrix A at each example."""

    trace: Tensor
    """tr A [...]"""
    along: Callable[[Tensor, Tensor], Tensor]
    """vᵀAv [...] of v [..., K], told (v·∇log p)² [...] as well"""
    matrix: Callable[[], Tensor]
    """A [..., K, K]"""

    def times(self, factor: Tensor) -> "Form":
        """The form of factor · A, factor [...]."""
        return Form(
            factor * self.trace,
            lambda v, onto: factor * self.along(v, onto),
            lambda: factor[..., None, None] * self.matrix(),
        )

    def plus(self, other: "Form") -> "Form":
        """The form of A + B."""
        return Form(
            self.trace + other.trace,
            lambda v, onto: self.along(v, onto) + other.along(v, onto),
            lambda: self.matrix() + other.matrix(),
        )


class Moments(NamedTuple):
    """What trials at E examples are credited with; each tensor [...] but the gradient."""

    dimension: int
    """Of the space that the credit lies in: K, or K − 1 where it sums to 0."""
    trials: float
    """A sample makes so many: 1, of a mirrored pair ½."""
    log_probability: Tensor
    """log of the chance of a hit"""
    miss: Tensor
    """of a miss, to relative precision"""
    gradient: Tensor
    """E(s | hit)/σ [..., K]"""
    hit: Form
    """E(ssᵀ | hit)/σ²"""
    missed: Form
    """E(ssᵀ | miss)/σ²"""


class Place(NamedTuple):
    """The same in numbers, for the laws of a trace and of a direction; each [...]."""

    dimension: int
    trials: float
    log_probability: Tensor
    miss: Tensor
    slope: Tensor
    """|E(s | hit)|²/σ², which is |∇log p|²"""
    hit_along: Tensor
    """the variance of one hit's s/σ along the gradient,"""
    hit_across: Tensor
    """and its trace across it"""
    miss_along: Tensor
    miss_across: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Place":
        """The same of every tensor."""
        return Place(self.dimension, self.trials, *(function(field) for field in self[2:]))

    @property
    def probability(self) -> Tensor:
        """Of a hit"""
        return self.log_probability.exp()

    @property
    def odds(self) -> Tensor:
        """p/(1 − p)"""
        return odds_of(self.log_probability, self.miss)

    @property
    def hit_variance(self) -> Tensor:
        """tr A₁"""
        return self.hit_along + self.hit_across

    @property
    def miss_variance(self) -> Tensor:
        """tr A₀"""
        return self.miss_along + self.miss_across


def seen(moments: Moments) -> Place:
    """The place of some moments, its directions along and across the gradient."""
    slope, direction = moments.gradient.square().sum(-1), unit(moments.gradient)
    ends = [(form.trace, form.along(direction, slope)) for form in (moments.hit, moments.missed)]
    return of_squares(moments[:4], slope, *ends)


def seen_along(moments: Moments, v: Tensor) -> Place:
    """The place that is seen along v [..., K] alone."""
    onto = (v * moments.gradient).sum(-1).square()
    ends = [(along, along) for along in (form.along(v, onto) for form in (moments.hit, moments.missed))]
    return of_squares(moments[:4], onto, *ends)


Counted = tuple[int, float, Tensor, Tensor]
"""What of moments a place takes over: dimension, trials, log p and 1 − p."""


def of_squares(counted: Counted, slope: Tensor, hit: tuple[Tensor, Tensor], missed: tuple[Tensor, Tensor]) -> Place:
    """A place from second moments, in all and along the gradient: variances are what the means' squares leave."""
    odds = odds_of(*counted[2:])
    variances = []
    for (whole, along), mean in ((hit, slope), (missed, odds**2 * slope)):
        variances += [(along - mean).clamp(min=0.0), (whole - along).clamp(min=0.0)]
    return Place(*counted, slope, *variances)


def odds_of(log_probability: Tensor, miss: Tensor) -> Tensor:
    """p/(1 − p), at most 1e150, so that its square is a number."""
    return log_probability.exp() / miss.clamp(min=1e-150)


def isotropic(trace: Tensor, along: Tensor, gradient: Tensor) -> Form:
    """The form that is `along` in the direction of the gradient [..., K] and alike across it."""
    num_logits, slope = gradient.shape[-1], gradient.square().sum(-1)
    across = (trace - along) / (num_logits - 1)

    def quadratic(v: Tensor, onto: Tensor) -> Tensor:
        part = onto / slope.clamp(min=TINY)
        return along * part + across * (v.square().sum(-1) - part)

    def matrix() -> Tensor:
        direction = unit(gradient)
        turned = ((along - across)[..., None] * direction)[..., :, None] * direction[..., None, :]
        return identity(across, num_logits).matrix() + turned

    return Form(trace, quadratic, matrix)


def identity(scale: Tensor, num_logits: int) -> Form:
    """The form of scale · I."""

    def matrix() -> Tensor:
        return scale[..., None, None] * torch.eye(num_logits, dtype=torch.float64, device=scale.device)

    return Form(num_logits * scale, lambda v, _: scale * v.square().sum(-1), matrix)


def outer(vector: Tensor) -> Form:
    """The form of vector vectorᵀ, which is the gradient."""
    return Form(vector.square().sum(-1), lambda _, onto: onto, lambda: vector[..., :, None] * vector[..., None, :])


def maximum_moments(count: int) -> tuple[float, float]:
    """E m and E m² of the largest m of `count` ≥ 1 standard normals, by a trapezoid sum; error below 1e-12."""
    u = torch.arange(-12.0, 14.0, 0.01, dtype=torch.float64)
    density = (torch.special.log_ndtr(u) * (count - 1) - 0.5 * u * u).exp()
    density = density / density.sum()
    return float((density * u).sum()), float((density * u * u).sum())


def level(num_logits: int, credit_sums_to_zero: bool, scale: Tensor, slope: Tensor, hit_along: Tensor) -> Place:
    """The place of K equal logits, which knows all classes but the target alike.

    scale: E s_k²/σ² of one coordinate of one sample; slope: |∇log p|²; hit_along: E((v̂·s)² | hit)/σ².
    """
    p = 1 / num_logits
    freedom = num_logits - 1 if credit_sums_to_zero else num_logits
    total = scale * num_logits
    hit_whole = slope if credit_sums_to_zero else total  # |s| does not know which of its components is the largest
    missed_whole = (total - p * hit_whole) / (1 - p)
    # E(v̂·s)²/σ² over all samples is what v̂'s K − 1 equal neighbours have, too: of the whole, an equal share.
    missed_along = (total / freedom - p * hit_along) / (1 - p)
    counted = (torch.full_like(scale, math.log(p)), torch.full_like(scale, 1 - p))
    return of_squares((freedom, 1.0, *counted), slope, (hit_whole, hit_along), (missed_whole, missed_along))
