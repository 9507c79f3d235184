"""Utilities of natural evolution strategies, w = max(0, ln(N/2 + 1) − ln k)/Σ − 1/N, k the rank from 1 for the best.

Wierstra et al. 2014 (JMLR 15, equation 8): the better half counts, the best most; SNES and xNES use them. Tied samples
share the mean of theirs, so that equal fitness moves nothing.
"""

from collections.abc import Callable

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

ASCENDS = None
FEWEST = 2
LINEAR = False
BY_RANK = True
NEEDS_NONNEGATIVE = False


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]; NaN fitness gives NaN weights."""
    import torch

    from esgrad.gradients.shapings.centered_ranks import ties

    num_samples = fitness.shape[1]
    below, at_most = ties(fitness)  # of the ranks from 0 for the worst
    ranks = torch.arange(num_samples, 0, -1, device=fitness.device, dtype=torch.float64)
    utilities = (torch.log(torch.tensor(num_samples / 2 + 1, dtype=torch.float64)) - ranks.log()).clamp(min=0)
    sums = torch.nn.functional.pad(utilities.cumsum(0), (1, 0)) / utilities.sum()
    mean = (sums[at_most] - sums[below]) / (at_most - below)
    return ((mean - 1 / num_samples).to(fitness.dtype) + 0 * fitness.movedim(1, -1)).movedim(-1, 1)


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """Nothing that is known: a shaped objective."""
    return None


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    if num_samples < FEWEST:
        return f"nes_utilities compares two samples or more: N = {num_samples}, N ≥ 2 would do"
    return None
