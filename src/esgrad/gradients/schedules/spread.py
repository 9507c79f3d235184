"""Spread: σ follows the logits, t = level · s² with s the standard deviation of an example's own logits.

As the estimate depends on logits/σ alone, this holds the noise at the same place in the competition of the classes,
however large the logits become.
"""

from esgrad.gradients.facts import Facts
from esgrad.gradients.schedules import Last
from esgrad.gradients.spaces import Space
from esgrad.types import Tensor

LEARNS = False
LEAST = 1e-6  # of s²: logits that are all alike have no spread, and t must stay above 0


def variance(level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
    """t [R, M] for the level [R], in units of the spread squared, and the logits `point` [R, M, D]."""
    return level[:, None] * squared(point)


def squared(point: Tensor) -> Tensor:
    """The spread squared, [R, M], of logits [R, M, D], summed in float64: what else is in the stack is rounded away."""
    return point.double().var(-1, correction=0).clamp(min=LEAST).to(point.dtype)


def refuses(facts: Facts, space: Space, samples: bool) -> str | None:
    """Why this rule cannot serve there, or None."""
    return (
        None
        if space.PER_EXAMPLE
        else "the spread is that of an example's own logits, and no position here is one's own"
    )
