"""Centered ranks, w = (rank/(N−1) − ½)/N, ranks from 0, ties averaged (arXiv 1703.03864 §2).

The paper's code breaks ties arbitrarily, so that equal fitness still moves the weights; accuracy ties often, and
averaged ties give it 0. On 0/1 fitness this is exactly ½ · leave_one_out; on any other a shaped objective.
"""

from collections.abc import Callable

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.gradients.shapings import leave_one_out
from esgrad.types import Tensor

ASCENDS = "p"
FEWEST = 2
LINEAR = False
BY_RANK = True
NEEDS_NONNEGATIVE = False
WEIGHS_MISSES = True


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]; NaN fitness gives NaN weights."""
    num_samples = fitness.shape[1]
    below, at_most = ties(fitness)
    rank = (below + at_most - 1) / 2  # the mean rank of a tied block, from 0
    weights = (rank / (num_samples - 1) - 0.5) / num_samples
    return (weights + 0 * fitness.movedim(1, -1)).movedim(-1, 1)


def ties(fitness: Tensor) -> tuple[Tensor, Tensor]:
    """For fitness [R, N, M] how many samples are worse, and how many are no better, the sample itself among them; int64
    [R, M, N] both."""
    import torch

    values = fitness.movedim(1, -1).contiguous()
    ordered = values.sort(-1).values
    below, at_most = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return below, at_most


def of_counts(hits: Tensor, misses: Tensor) -> tuple[Tensor, Tensor]:
    """Half of leave_one_out's."""
    of_hit, of_miss = leave_one_out.of_counts(hits, misses)
    return of_hit / 2, of_miss / 2


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""
    if noise.SUMS_TO_ZERO:  # Σq = 0 takes the centre away again
        return noise.EXACT.p, num_samples / (2 * (num_samples - 1))
    return (noise.EXACT.p, 0.5) if noise.UNCORRELATED else None


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    if num_samples < FEWEST:
        return f"centered_ranks ranks two samples or more: N = {num_samples}, N ≥ 2 would do"
    return None
