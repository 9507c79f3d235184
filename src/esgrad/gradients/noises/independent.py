"""Independent Gaussian noise: q_n ~ N(0, t·I), every sample drawn afresh (the lecture's)."""

from collections.abc import Callable

from esgrad.gradients.categorical import gaussian
from esgrad.gradients.exact import Arms, log_smoothed, smoothed
from esgrad.types import Tensor

DRAWS_PER_SAMPLE = 1.0
TOGETHER = 1
INDEPENDENT = True
UNCORRELATED = True
SUMS_TO_ZERO = False
PAIRS = False
PLAIN = True
RANK = None
FAMILY = "gaussian"
CLASSES = gaussian
EXACT = Arms(smoothed, log_smoothed)


def directions(normals: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
    """Samples start to stop, of variance 1, from a source of standard normals `(start, stop) -> [S, n, M, D]`."""
    return normals(start, stop)  # [S, n, M, D]


def score(directions: Tensor) -> Tensor:
    """−∇ log density of the standard normal at the directions, which is the directions."""
    return directions


def refuses(num_samples: int, dimension: int) -> str | None:
    """Why N samples of D coordinates cannot be drawn, or None."""
    return None
