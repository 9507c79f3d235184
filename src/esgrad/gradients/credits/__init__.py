"""What a sample is credited with: the s_n in gradient = (1/σ) Σ_n w_n(f) s_n."""

from typing import Any, Protocol

from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor


class Asked(Protocol):
    """N samples around a point, each with what the fitness said of it: for weights that know more than hits."""

    @property
    def fitness(self) -> Tensor:
        """[R, N, M]."""

    def norms(self) -> Tensor:
        """|s|² of every sample, [R, N, M], up to a factor of each position."""

    def total(self, weights: Tensor) -> Tensor:
        """(1/σ) Σ_n w_n s_n, [R, M, D], for weights [R, N, M]."""


class Tally(Protocol):
    """Hits and misses around a point while N grows, for 0/1 fitness: nothing is kept but sums."""

    hits: Tensor
    """How many of the samples so far hit, float64 [R, M]."""

    def grow(self, num_samples: int, active: Tensor | None = None, last: bool = False) -> None:
        """Ask on, up to N samples in all; where others can be left out, at the positions active [M] alone.

        With `last` it will not grow again, and may keep less.
        """

    def total(self, of_hit: Tensor, of_miss: Tensor) -> Tensor:
        """(1/σ) [(w₁ − w₀) Σ_hits s + w₀ Σ s], [R, M, D], for weights of a hit and of a miss, [R, M]."""


class Credit(Protocol):
    """What a file states of its credit; arguments that are shared mean the same.

    `fitness` is an `esgrad.gradients.fitness.Fitness`, `point` is [R, M, D], `variance` is t, [R] or per position
    [R, M].
    """

    OF_CLASSES: bool
    """Whether a sample is credited with the class it led to, and not with its noise."""

    def ask(self, noise: Noise, num_samples: int, fitness: Any, point: Tensor, variance: Tensor, key: Key) -> Asked:
        """Ask about N samples, and keep what was said of each."""

    def tally(self, noise: Noise, fitness: Any, point: Tensor, variance: Tensor, key: Key, misses: bool) -> Tally:
        """An empty tally for 0/1 fitness; `misses`: whether weights of a miss other than 0 will be asked for."""

    def draws(self, noise: Noise, num_samples: int, positions: int, dimension: int, readings: int) -> float:
        """Random numbers drawn for N samples of M positions, each of D coordinates that are k readings."""

    def refuses(self, noise: Noise, facts: Facts) -> str | None:
        """Why samples of this noise cannot be credited so for a fitness of these facts, or None."""


Contract = Credit
"""What mypy holds every file of this menu to."""
