"""Leave-one-out baseline (RLOO), w = (f − f̄₋ₙ)/N with f̄₋ₙ the mean of the other fitnesses; unbiased for ∇ E f.

Kool, van Hoof & Welling 2019. As f − f̄₋ₙ = (f − f̄)·N/(N−1), the weights are (f − f̄)/(N−1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

NEEDS_NONNEGATIVE = False
NEEDS_NORMS = False


def weights(fitness: Tensor) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]."""
    return (fitness - fitness.mean(1, keepdim=True)) / (fitness.shape[1] - 1)


def expects(noise: ModuleType, probability: float, num_samples: int) -> tuple[str, float] | None:
    """The exact arm and the factor on it that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return (noise.EXACT["p"], 1.0) if noise.UNCORRELATED else None


def refuses(noise: ModuleType, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    if num_samples < 2:
        return f"leave_one_out needs another sample to compare with: N = {num_samples}, N ≥ 2 would do"
    if noise.SUMS_TO_ZERO:
        return "noise with Σq = 0 cancels the centre: leave_one_out would be N/(N−1) times raw, biased"
    return None
