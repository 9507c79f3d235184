"""Centered ranks, w = (rank/(N−1) − ½)/N, ranks from 0, ties averaged (arXiv 1703.03864 §2).

The paper's code breaks ties arbitrarily, so that equal fitness still moves the weights; accuracy ties often, and
averaged ties give it 0. On 0/1 fitness this is exactly ½ · leave_one_out; on any other a shaped objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

NEEDS_NONNEGATIVE = False
NEEDS_NORMS = False


def weights(fitness: Tensor) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]; NaN fitness gives NaN weights."""
    from torch import searchsorted

    num_samples = fitness.shape[1]
    values = fitness.movedim(1, -1).contiguous()  # [R, M, N]
    ordered = values.sort(-1).values
    below, at_most = (searchsorted(ordered, values, right=right) for right in (False, True))
    rank = (below + at_most - 1) / 2  # the mean rank of a tied block, from 0
    weights = (rank / (num_samples - 1) - 0.5) / num_samples
    return (weights + 0 * values).movedim(-1, 1)


def expects(noise: ModuleType, probability: float, num_samples: int) -> tuple[str, float] | None:
    """The exact arm and the factor on it that 0/1 fitness gives in expectation, or None: a shaped objective."""
    if noise.SUMS_TO_ZERO:  # Σq = 0 takes the centre away again
        return noise.EXACT["p"], num_samples / (2 * (num_samples - 1))
    return (noise.EXACT["p"], 0.5) if noise.UNCORRELATED else None


def refuses(noise: ModuleType, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    return f"centered_ranks ranks two samples or more: N = {num_samples}, N ≥ 2 would do" if num_samples < 2 else None
