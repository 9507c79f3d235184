"""Decaying: σ falls on a schedule, from √level to a tenth of it at the end, t = level·100^−progress.

As `annealed`, but for noise at the parameters, which have no spread of logits to be measured by.
"""

from esgrad.gradients.facts import Facts
from esgrad.gradients.schedules import Last
from esgrad.gradients.schedules.annealed import FALL
from esgrad.gradients.spaces import Space
from esgrad.types import Tensor

LEARNS = False


def variance(level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
    """t [R] from the level [R] at the start and the share of the run that is over."""
    return FALL**-progress * level


def refuses(facts: Facts, space: Space, samples: bool) -> str | None:
    """Why this rule cannot serve there, or None."""
    return None
