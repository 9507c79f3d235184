"""Orthogonal Gaussian noise: blocks of up to 32 directions at right angles, each of a Gaussian's length.

Choromanski et al., arXiv 1804.02395: the directions of a block are Gaussian vectors made orthonormal (Haar), times
the lengths those vectors had, which are independent of them; so each q_n ~ N(0, t·I). Turning a direction around
leaves the law of all as it is, hence E[q_n | the others] = 0, and baselines stay unbiased. Fewer directions say the
same twice: with a linear fitness, D orthogonal samples find the slope up to their lengths' noise.
"""

from collections.abc import Callable

from esgrad.gradients.noises.independent import EXACT as EXACT
from esgrad.gradients.noises.independent import score as score
from esgrad.types import Tensor

DRAWS_PER_SAMPLE = 1.0
TOGETHER = 32  # blocks of min(D, 32) samples are counted from each multiple of 32 on, whatever the chunks
INDEPENDENT = False
UNCORRELATED = True
SUMS_TO_ZERO = False
PAIRS = False
PLAIN = False
RANK = None
FAMILY = "gaussian"
CLASSES = None


def directions(normals: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
    """Samples start (a multiple of 32) to stop, of variance 1, [S, n, M, D], from a source of standard normals."""
    from esgrad.kernels.orthonormal import orthogonalise

    drawn = normals(start, stop)
    for group in drawn.split(TOGETHER, 1):
        for block in group.split(min(TOGETHER, drawn.shape[-1]), 1):
            orthogonalise(block)
    return drawn


def refuses(num_samples: int, dimension: int) -> str | None:
    """Why N samples of D coordinates cannot be drawn, or None."""
    return None
