"""Success-only weights, w = f/Σf (0 without a success): MaxRL without its baseline.

Tajwar et al., arXiv 2602.02710 (the N-truncated log-likelihood), there for language models. With 0/1 fitness and
independent noise its mean is (1 − (1−p)^N) ∇log p; at N = 1 it is the lecture's raw estimate.
"""

from collections.abc import Callable

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

ASCENDS = "log p"
FEWEST = 1
LINEAR = False
BY_RANK = False
NEEDS_NONNEGATIVE = True
WEIGHS_MISSES = False


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M], none of it negative, to weights [R, N, M]."""
    total = fitness.sum(1, keepdim=True)
    return fitness / total.masked_fill(total == 0, 1.0)


def of_counts(hits: Tensor, misses: Tensor) -> tuple[Tensor, Tensor]:
    """1/r and 0, r the hits."""
    return 1 / hits.clamp(min=1), 0 * hits


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return (noise.EXACT.log_p, 1 - (1 - probability) ** num_samples) if noise.INDEPENDENT else None


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    return None
