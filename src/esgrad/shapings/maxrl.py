"""MaxRL, w = f/Σf − 1/N (0 without a success): (f − f̄)/(N f̄), the fitness centred and divided by its mean.

Tajwar et al., arXiv 2602.02710, there for language models. With 0/1 fitness and independent noise its mean is
(1 − (1−p)^(N−1)) ∇log p; at N = 2 it equals leave_one_out.
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
    none = total == 0  # not "total ≤ 0": a NaN stays one
    return (fitness / total.masked_fill(none, 1.0) - 1 / fitness.shape[1]).masked_fill(none, 0.0)


def expects(noise: ModuleType, probability: float, num_samples: int) -> tuple[str, float] | None:
    """The exact arm and the factor on it that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return (noise.EXACT["log_p"], 1 - (1 - probability) ** (num_samples - 1)) if noise.INDEPENDENT else None


def refuses(noise: ModuleType, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    if num_samples < 2:
        return f"maxrl is identically 0 at N = {num_samples}: N ≥ 2 would do"
    if noise.SUMS_TO_ZERO:
        return "noise with Σq = 0 cancels the centre: maxrl would be success"
    return None
