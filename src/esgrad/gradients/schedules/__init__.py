"""Rules for t, the variance of the noise: how it follows the training."""

from typing import NamedTuple, Protocol

from esgrad.gradients.facts import Facts
from esgrad.types import Tensor


class Last(NamedTuple):
    """What the step before has left behind."""

    variance: Tensor
    """t [R] or, a position's own, [R, M]."""
    mean_fitness: Tensor
    """The mean over its samples, [R]; NaN where none were drawn."""


class Rule(Protocol):
    """What a file states of its rule."""

    def variance(self, level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
        """t, [R] or per position [R, M], from the level [R] that the configuration gives.

        `last` is None at the first step, `point` is [R, M, D], `progress` the share of the run that is over.
        """

    def refuses(self, facts: Facts, per_example: bool, samples: bool) -> str | None:
        """Why this rule cannot serve a fitness of these facts, or None.

        `per_example`: whether a position is an example's own logits. `samples`: whether a step draws any.
        """


Contract = Rule
"""What mypy holds every file of this menu to."""
