"""Between which N of a grid a wanted cosine is first reached: of a measured curve, and of a law that names its N*.

Both are told in the same cells, censored at the same N, so that what is made of them can be compared.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, inf, log10

MOST_SAMPLES = 2**31
PER_DECADE = 8


def grid(most: float = MOST_SAMPLES) -> list[int]:
    """The N asked about, PER_DECADE in each: 1, 2, 3, 4, 5, 6, 8, 10, 14, …"""
    return sorted({ceil(10 ** (i / PER_DECADE) - 1e-9) for i in range(int(log10(most) * PER_DECADE) + 1)})


def bracket(samples: Sequence[int], cosines: Sequence[float], wanted: float) -> tuple[float, float]:
    """(low, high], from the mean cosine at each N; high is inf where `wanted` was not reached.

    A noisy curve may cross more than once: low is the last N before the first crossing (0 if there is none), high the
    first N after the last. It holds the crossings that were seen, and no chance is stated that N* is among them.
    """
    below = [cosine < wanted for cosine in cosines]
    if all(below):
        return float(samples[-1]), inf
    crossing = below.index(False)
    after = len(below) - below[::-1].index(True) if any(below) else 0
    return float(samples[crossing - 1]) if crossing else 0.0, float(samples[after]) if after < len(samples) else inf


def cell(needed: float, least: int = 1, reached: float = inf) -> tuple[float, float]:
    """The bracket of a curve without noise that crosses at N = `needed`, asked from N = `least` up to `reached`."""
    samples = [n for n in grid() if n >= least]
    at = bisect_left(samples, needed * (1 - 1e-12))
    if at == len(samples) or samples[at] > reached:
        return min(float(samples[-1]), reached), inf
    return float(samples[at - 1]) if at else 0.0, float(samples[at])
