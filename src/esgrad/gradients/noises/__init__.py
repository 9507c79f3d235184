"""How the noise q is drawn: `directions` turns standard normals into N directions of mean 0 and variance 1.

q_n = σ·z_n,   ∇E f(x + q) = E[f·score(z)]/σ,   score(z) = −∇ log density(z)      (Gaussian noise: score(z) = z)
"""

from collections.abc import Callable
from typing import Protocol

from esgrad.gradients.categorical import Family
from esgrad.gradients.exact import Arms
from esgrad.types import Tensor


class Noise(Protocol):
    """What a file states of its noise; shapings and credits decide from these facts alone what they estimate."""

    DRAWS_PER_SAMPLE: float
    """Random vectors made for one sample."""
    TOGETHER: int
    """Samples made together: a chunk starts at a multiple of it, and ends at one or at N."""
    INDEPENDENT: bool
    """The samples are independent of each other."""
    UNCORRELATED: bool
    """E[score(z_n) | all other samples] = 0: a baseline made of the others adds no bias."""
    SUMS_TO_ZERO: bool
    """Σ score(z_n) = 0 in every draw: no centre of the fitness is felt."""
    PAIRS: bool
    """Samples come in pairs, z and −z."""
    PLAIN: bool
    """A direction is a standard normal as it was drawn; where they come in pairs, that and its mirror image."""
    EXACT: Arms
    """The exact gradients of p = P(argmax(l + q) = y) and of log p."""

    @property
    def RANK(self) -> int | None:
        """Of what each matrix of the parameters is perturbed by; None: every number has noise of its own."""

    @property
    def FAMILY(self) -> str | None:
        """The density that laws are known for, "gaussian" or "gumbel", or None."""

    @property
    def CLASSES(self) -> Family | None:
        """How independent samples lead to classes, for credit to the class; None where samples know of each other."""

    def directions(self, normals: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
        """Samples start to stop, [S, n, M, D], of mean 0 and variance 1, from a source of standard normals."""

    def score(self, directions: Tensor) -> Tensor:
        """−∇ log density at the directions."""

    def refuses(self, num_samples: int, dimension: int) -> str | None:
        """Why N samples of D coordinates cannot be drawn, or None."""


Contract = Noise
"""What mypy holds every file of this menu to."""
