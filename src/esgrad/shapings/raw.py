"""Raw fitness, w = f/N: the lecture's estimate, g = 1/(tN) Σ f_n q_n, unbiased for ∇ E f(x + q)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

NEEDS_NONNEGATIVE = False
NEEDS_NORMS = False


def weights(fitness: Tensor) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]."""
    return fitness / fitness.shape[1]


def expects(noise: ModuleType, probability: float, num_samples: int) -> tuple[str, float] | None:
    """The exact arm and the factor on it that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return noise.EXACT["p"], 1.0


def refuses(noise: ModuleType, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    return None
