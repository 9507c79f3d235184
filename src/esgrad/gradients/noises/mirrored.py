"""Mirrored (antithetic) Gaussian noise: q_{2i+1} = −q_{2i}, so Σq = 0 (Brockhoff et al. 2010; arXiv 1703.03864 §2).

Even terms of the fitness cancel within a pair; so does every centre that a shaping might subtract.
"""

from collections.abc import Callable

from esgrad.gradients.noises.independent import EXACT as EXACT
from esgrad.gradients.noises.independent import score as score
from esgrad.types import Tensor

DRAWS_PER_SAMPLE = 0.5
TOGETHER = 2
INDEPENDENT = False
UNCORRELATED = False
SUMS_TO_ZERO = True
PAIRS = True
PLAIN = True
RANK = None
FAMILY = "gaussian"
CLASSES = None


def directions(normals: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
    """Samples start to stop (both even), of variance 1: the pairs (q, −q), one after the other."""
    half = normals(start // 2, stop // 2)  # [S, n/2, M, D]
    seeds, pairs, positions, dimension = half.shape
    signs = half.new_tensor([1.0, -1.0])[:, None, None]
    return (half[:, :, None] * signs).reshape(seeds, 2 * pairs, positions, dimension)  # [S, n, M, D]


def refuses(num_samples: int, dimension: int) -> str | None:
    """Why N samples of D coordinates cannot be drawn, or None."""
    return None if num_samples % 2 == 0 else f"mirrored noise comes in pairs: N = {num_samples} is odd"
