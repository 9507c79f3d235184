"""Raw fitness, w = f/N: the lecture's estimate, g = 1/(tN) Σ f_n q_n, unbiased for ∇ E f(x + q)."""

from collections.abc import Callable

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

ASCENDS = "p"
FEWEST = 1
LINEAR = True
BY_RANK = False
NEEDS_NONNEGATIVE = False
WEIGHS_MISSES = False


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]."""
    return fitness / fitness.shape[1]


def of_counts(hits: Tensor, misses: Tensor) -> tuple[Tensor, Tensor]:
    """1/N and 0."""
    return 1 / (hits + misses), 0 * hits


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return noise.EXACT.p, 1.0


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    return None
