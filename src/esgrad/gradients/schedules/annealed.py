"""Annealed: σ relative to the spread of the logits falls on a schedule, from √level to a tenth of it at the end.

Graduated optimisation: a blunt objective first, accuracy itself last. t = level · s² · 100^−progress, s as in `spread`.
"""

from esgrad.gradients.schedules import Last, spread
from esgrad.gradients.schedules.spread import refuses
from esgrad.types import Tensor

__all__ = ["FALL", "LEARNS", "refuses", "variance"]
LEARNS = False
FALL = 100.0  # of t over a whole run


def variance(level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
    """t [R, M] for the level [R] at the start, the logits `point` [R, M, D] and the share of the run that is over."""
    return FALL**-progress * level[:, None] * spread.squared(point)
