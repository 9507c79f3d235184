"""Leave-one-out baseline (RLOO), w = (f − f̄₋ₙ)/N with f̄₋ₙ the mean of the other fitnesses; unbiased for ∇ E f.

Kool, van Hoof & Welling 2019. As f − f̄₋ₙ = (f − f̄)·N/(N−1), the weights are (f − f̄)/(N−1).
"""

from collections.abc import Callable

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

ASCENDS = "p"
FEWEST = 2
LINEAR = True
BY_RANK = False
NEEDS_NONNEGATIVE = False
WEIGHS_MISSES = True


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]."""
    return (fitness - fitness.mean(1, keepdim=True)) / (fitness.shape[1] - 1)


def of_counts(hits: Tensor, misses: Tensor) -> tuple[Tensor, Tensor]:
    """(N − r)/(N(N−1)) and −r/(N(N−1)), r the hits."""
    n = hits + misses
    return misses / (n * (n - 1)), -hits / (n * (n - 1))


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return (noise.EXACT.p, 1.0) if noise.UNCORRELATED else None


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    if num_samples < FEWEST:
        return f"leave_one_out needs another sample to compare with: N = {num_samples}, N ≥ 2 would do"
    if noise.SUMS_TO_ZERO:
        return "noise with Σq = 0 cancels the centre: leave_one_out would be N/(N−1) times raw, biased"
    return None
