"""MaxRL, w = f/Σf − 1/N (0 without a success): (f − f̄)/(N f̄), the fitness centred and divided by its mean.

Tajwar et al., arXiv 2602.02710, there for language models. With 0/1 fitness and independent noise its mean is
(1 − (1−p)^(N−1)) ∇log p; at N = 2 it equals leave_one_out.
"""

from collections.abc import Callable

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

ASCENDS = "log p"
FEWEST = 2
LINEAR = False
BY_RANK = False
NEEDS_NONNEGATIVE = True
WEIGHS_MISSES = True


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M], none of it negative, to weights [R, N, M]."""
    total = fitness.sum(1, keepdim=True)
    none = total == 0  # not "total ≤ 0": a NaN stays one
    return (fitness / total.masked_fill(none, 1.0) - 1 / fitness.shape[1]).masked_fill(none, 0.0)


def of_counts(hits: Tensor, misses: Tensor) -> tuple[Tensor, Tensor]:
    """(N − r)/(rN) and −1/N, r the hits; 0 without one."""
    n = hits + misses
    return misses / (hits.clamp(min=1) * n), -hits.clamp(max=1) / n


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return (noise.EXACT.log_p, 1 - (1 - probability) ** (num_samples - 1)) if noise.INDEPENDENT else None


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    if num_samples < FEWEST:
        return f"maxrl is identically 0 at N = {num_samples}: N ≥ 2 would do"
    if noise.SUMS_TO_ZERO:
        return "noise with Σq = 0 cancels the centre: maxrl would be success"
    return None
