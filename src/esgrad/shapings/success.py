"""Success-only weights, w = f/Σf (0 without a success): MaxRL without its baseline.

Tajwar et al., arXiv 2602.02710 (the N-truncated log-likelihood), there for language models. With 0/1 fitness and
independent noise its mean is (1 − (1−p)^N) ∇log p; at N = 1 it is the lecture's raw estimate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

NEEDS_NONNEGATIVE = True
NEEDS_NORMS = False


def weights(fitness: Tensor) -> Tensor:
    """Fitness [R, N, M], none of it negative, to weights [R, N, M]."""
    total = fitness.sum(1, keepdim=True)
    return fitness / total.masked_fill(total == 0, 1.0)


def expects(noise: ModuleType, probability: float, num_samples: int) -> tuple[str, float] | None:
    """The exact arm and the factor on it that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return (noise.EXACT["log_p"], 1 - (1 - probability) ** num_samples) if noise.INDEPENDENT else None


def refuses(noise: ModuleType, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    return None
