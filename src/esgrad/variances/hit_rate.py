"""Hit rate: t grows where more than half of the samples hit and falls where fewer do; the level is where it starts.

Rechenberg's success rule (1973) with ½ for ⅕, as p(1−p), the variance of the fitness, is largest there. It uses what
the black box has said already and asks no queries of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esgrad.variances.spread import squared

if TYPE_CHECKING:
    from torch import Tensor

WANTED = 0.5
GAIN = 0.1  # of a step, on log t
FARTHEST = 100.0  # σ stays between 1/100 and 100 times the spread of the logits: all misses, or noise alone, no farther


def variance(level: Tensor, previous: Tensor, hit_rate: Tensor, point: Tensor, progress: float) -> Tensor:
    """t [R] from that of the step before [R] and the share of its samples that hit [R]; NaN at the first step."""
    from torch import where

    spread = squared(point).double().mean(-1).to(point.dtype)  # [R]
    moved = (previous * (GAIN * (hit_rate - WANTED)).exp()).clamp(spread / FARTHEST**2, spread * FARTHEST**2)
    return where(hit_rate.isnan(), level, moved)


def refuses(space: str, exact: str | None, blackbox: str) -> str | None:
    """Why this rule cannot serve there, or None."""
    if exact is not None:
        return f"hit_rate follows the samples' hits, and {exact} draws none"
    if space == "parameters":
        return "hit_rate is for noise at the logits; at the parameters t is fixed"
    if space == "batch":
        return "hit_rate needs hits and misses, and a batch's fitness is a mean over its examples"
    return "hit_rate needs a fitness of hits and misses, not −CE" if blackbox == "cross_entropy" else None
