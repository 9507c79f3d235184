"""Quasi-random noise: a Sobol sequence scrambled by Owen's rule, anew in each step and position, made normal.

Sobol 1967, direction numbers of Joe & Kuo 2008; Owen 1995, as a hash of the digits (Burley 2020, JCGT 9(4),
listing 3). Each sample alone is N(0, t·I), so raw is unbiased; together they fill space evenly, N a power of two best,
so a smooth fitness has less variance. They know of each other: a baseline made of the others adds bias.
"""

from collections.abc import Callable

from esgrad.gradients.noises.independent import EXACT as EXACT
from esgrad.gradients.noises.independent import score as score
from esgrad.types import Tensor

DRAWS_PER_SAMPLE = 1.0
TOGETHER = 1
INDEPENDENT = False
UNCORRELATED = False
SUMS_TO_ZERO = False
PAIRS = False
PLAIN = False
RANK = None
FAMILY = "gaussian"
CLASSES = None
MOST_COORDINATES = 21_201  # of Joe and Kuo's direction numbers
BITS = 30  # of a coordinate before scrambling, hence of the number of a sample


def directions(normals: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
    """Samples start to stop, of variance 1, [S, n, M, D]; the source of normals gives each (s, m, d) its scrambling."""
    from esgrad.kernels.philox import standard_normal
    from esgrad.kernels.sobol import scrambled

    seeds = normals(0, 2)  # [S, 2, M, D]
    return standard_normal(scrambled(seeds, start, stop))


def refuses(num_samples: int, dimension: int) -> str | None:
    """Why N samples of D coordinates cannot be drawn, or None."""
    if dimension > MOST_COORDINATES:
        return f"quasi noise has {MOST_COORDINATES} coordinates at most: D = {dimension} is more"
    return None if num_samples <= 2**BITS else f"quasi noise has 2^{BITS} samples at most: N = {num_samples} is more"
