"""What the laws know of an example: a few exact numbers of the smoothed accuracy p at its logits, float64."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from esgrad.theory.curvature import curvature, single_hit


class Place(NamedTuple):
    """The smoothed accuracy p around one example's logits; each field [...], relative to p, which may be tiny."""

    num_logits: int
    """K"""
    variance: Tensor
    """t, of the noise, in units of the logits squared"""
    log_probability: Tensor
    """log p"""
    miss: Tensor
    """1 − p"""
    log_gradient_square: Tensor
    """|∇log p|²"""
    relative_laplacian: Tensor
    """Δp/p"""
    along: Tensor
    """v̂ᵀ∇²p v̂/p, with v̂ the gradient's direction"""
    single_share: Tensor
    """P(q hits, −q does not)/p"""
    single_square: Tensor
    """E(|q|² | q hits, −q does not)/t"""
    single_along: Tensor
    """E((v̂·q)² | q hits, −q does not)/t"""

    def map(self, function: Callable[[Tensor], Tensor]) -> "Place":
        """The same of every field but K."""
        return Place(self.num_logits, *(function(field) for field in self[1:]))

    @property
    def odds(self) -> Tensor:
        """p/(1 − p), at most 1e150, so that its square is a number"""
        return self.probability / self.miss.clamp(min=1e-150)

    @property
    def probability(self) -> Tensor:
        """p"""
        return self.log_probability.exp()

    @property
    def gradient_square(self) -> Tensor:
        """|∇p|²"""
        return self.log_gradient_square * (2 * self.log_probability).exp()

    @property
    def laplacian(self) -> Tensor:
        """Δp"""
        return self.relative_laplacian * self.probability

    @property
    def pair_square(self) -> Tensor:
        """M = E[f₊f₋|q|²] of a mirrored pair."""
        relative = self.num_logits + self.variance * self.relative_laplacian - self.single_share * self.single_square
        return self.variance * self.probability * relative


def place(logits: Tensor, targets: Tensor, variance: Tensor | float) -> Place:
    """The place of logits [..., K], targets [...] under noise of variance t, [...] or broadcastable to it.

    Raises ValueError for fewer than two logits, and as `esgrad.quadrature.log_probability_and_gradient`.
    """
    return place_and_gradient(logits, targets, variance)[0]


def place_and_gradient(
    logits: Tensor, targets: Tensor, variance: Tensor | float, *, pairs: bool = True
) -> tuple[Place, Tensor]:
    """The place, and ∇log p [..., K]; what it says of mirrored pairs, dear to find at large K, is NaN if not asked."""
    if logits.ndim and logits.shape[-1] < 2:
        raise ValueError(f"logits have shape {list(logits.shape)}: expected two classes or more, nobody competes.")
    t = torch.as_tensor(variance, dtype=torch.float64, device=logits.device)
    known = curvature(logits, targets, t.sqrt())
    single = [torch.full_like(known.miss, torch.nan)] * 3
    if pairs:
        single = list(single_hit(logits, targets, t.sqrt(), known))
    of_a_hit = (known.log_probability, known.miss, known.gradient.square().sum(-1), known.laplacian, known.along)
    return Place(logits.shape[-1], t.expand(targets.shape), *of_a_hit, *single), known.gradient


def level_place(num_logits: int, variance: Tensor | float) -> Place:
    """The place of K equal logits, in closed form (a network's start), for any K ≥ 2 at the same price.

    With m the largest of K standard normals and e = E m: p = 1/K, |∇log p|² = e²K/((K−1)t), Δp = 0, as the length
    of q does not know which of its components is the largest, and a mirrored pair never hits twice.
    """
    if num_logits < 2:
        raise ValueError(f"num_logits is {num_logits}: expected two classes or more, nobody competes.")
    t = torch.as_tensor(variance, dtype=torch.float64)
    if not (t > 0).all():
        raise ValueError(f"variance t is {t.min().item()}: expected a positive number.")
    mean, square = maximum_moments(num_logits)
    longer = num_logits / (num_logits - 1)  # v̂·q = √longer (q_y − q̄)
    along = torch.full_like(t, longer * (square - 1 / num_logits))
    return Place(
        num_logits,
        t,
        torch.full_like(t, -math.log(num_logits)),
        torch.full_like(t, 1 - 1 / num_logits),
        longer * mean**2 / t,
        torch.zeros_like(t),
        (along - 1) / t,
        torch.ones_like(t),
        torch.full_like(t, num_logits),
        along,
    )


def maximum_moments(count: int) -> tuple[float, float]:
    """E m and E m² of the largest m of `count` ≥ 1 standard normals, by a trapezoid sum; error below 1e-12."""
    u = torch.arange(-12.0, 14.0, 0.01, dtype=torch.float64)
    density = (torch.special.log_ndtr(u) * (count - 1) - 0.5 * u * u).exp()
    density = density / density.sum()
    return float((density * u).sum()), float((density * u * u).sum())
