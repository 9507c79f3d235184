"""Rules for t, the variance of the noise: how it follows the training."""

from typing import NamedTuple, Protocol

from esgrad.gradients.facts import Facts
from esgrad.gradients.spaces import Space
from esgrad.types import Tensor


class Last(NamedTuple):
    """What the step before has left behind."""

    variance: Tensor
    """t [R], a position's own [R, M], or a coordinate's [R, M, D]."""
    mean_fitness: Tensor
    """The mean over its samples, [R]; NaN where none were drawn."""
    log_sigma: Tensor | None = None
    """What the step estimated for ln σ, Σ_n w_n (z_n² − 1) [R, M, D]; None unless the rule learns σ."""


class Rule(Protocol):
    """What a file states of its rule."""

    LEARNS: bool
    """Whether it learns σ from an estimate, for each coordinate."""

    def variance(self, level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
        """t, [R], per position [R, M] or per coordinate [R, M, D], from the level [R] that the configuration gives.

        `last` is None at the first step, `point` is [R, M, D], `progress` the share of the run that is over.
        """

    def refuses(self, facts: Facts, space: Space, samples: bool) -> str | None:
        """Why it cannot serve a fitness of these facts in a space, or None; `samples`: whether a step draws any."""


Contract = Rule
"""What mypy holds every file of this menu to."""
