"""Fitness shaping: how fitness becomes weights, w_n(f).

A shaping knows no noise and no credit by name: it decides from the facts that the noise states (`noises/`).
"""

from collections.abc import Callable
from typing import Protocol

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor


class Shaping(Protocol):
    """What a file states of its shaping."""

    @property
    def ASCENDS(self) -> str | None:
        """What its mean ascends with many samples of 0/1 fitness, a function of p; None where that is not known."""

    FEWEST: int
    """The fewest samples N from which anything is estimated."""
    LINEAR: bool
    """Whether the weights of a·f + b·g are those of f times a plus those of g times b."""
    BY_RANK: bool
    """Whether the weights depend on the order of the fitness alone."""
    NEEDS_NONNEGATIVE: bool
    """Whether a negative fitness would turn the estimate around."""

    def weights(self, fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
        """Fitness [R, N, M] to weights [R, N, M]; `norms()` is |score|² of what each sample is credited with."""

    def expects(self, noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
        """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""

    def refuses(self, noise: Noise, num_samples: int) -> str | None:
        """Why this combination estimates nothing useful, or None."""


class CountsLaw(Shaping, Protocol):
    """A shaping that gives each hit one weight and each miss another, which depend on their numbers alone."""

    WEIGHS_MISSES: bool
    """Whether a miss has a weight other than 0."""

    def of_counts(self, hits: Tensor, misses: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of a hit and of a miss given r hits and N − r misses, counts that need not be whole."""


def has_counts_law(shaping: Shaping) -> bool:
    """Whether it is a `CountsLaw`."""
    return hasattr(shaping, "of_counts")


Contract = Shaping
"""What mypy holds every file of this menu to."""
