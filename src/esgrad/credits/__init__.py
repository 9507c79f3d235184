"""What a sample is credited with: the s_n in gradient = (1/σ) Σ_n w_n(f) s_n."""

from typing import Any, Protocol

from esgrad.facts import Facts
from esgrad.key import Key
from esgrad.noises import Noise
from esgrad.types import Tensor


class Asked(Protocol):
    """N samples around a point, what the fitness said of them, and what they are credited with."""

    @property
    def fitness(self) -> Tensor:
        """[R, N, M]."""

    def norms(self) -> Tensor:
        """|s|² of every sample, [R, N, M]."""

    def total(self, weights: Tensor) -> Tensor:
        """(1/σ) Σ_n w_n s_n, [R, M, D], for weights [R, N, M]."""


class Credit(Protocol):
    """What a file states of its credit."""

    OF_CLASSES: bool
    """Whether a sample is credited with the class it led to, and not with its noise."""

    def ask(self, noise: Noise, num_samples: int, fitness: Any, point: Tensor, variance: Tensor, key: Key) -> Asked:
        """Ask a fitness (`esgrad.fitness.Fitness`) about N samples around the point [R, M, D].

        `variance` is t, [R] or per position [R, M].
        """

    def draws(self, noise: Noise, num_samples: int, positions: int, dimension: int) -> float:
        """Random numbers drawn for N samples of M positions with D coordinates."""

    def refuses(self, noise: Noise, facts: Facts) -> str | None:
        """Why samples of this noise cannot be credited so for a fitness of these facts, or None."""
