"""Annealed: σ relative to the spread of the logits falls on a schedule, from √level to a tenth of it at the end.

Graduated optimisation: a blunt objective first, accuracy itself last. t = level · s² · 100^−progress, s as in `spread`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esgrad.variances import spread

if TYPE_CHECKING:
    from torch import Tensor

FALL = 100.0  # of t over a whole run


def variance(level: Tensor, previous: Tensor, hit_rate: Tensor, point: Tensor, progress: float) -> Tensor:
    """t [R, M] for the level [R] at the start, the logits `point` [R, M, D] and the share of the run that is over."""
    return FALL**-progress * level[:, None] * spread.squared(point)


def refuses(space: str, exact: str | None, blackbox: str) -> str | None:
    """Why this rule cannot serve there, or None."""
    return spread.refuses(space, exact, blackbox)
