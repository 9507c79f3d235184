"""`esgrad.kernels.owen`, compiled."""

import numpy as np
from numpy import uint64

from esgrad.kernels.compiled import njit
from esgrad.kernels.owen import HASH, LOW, SWAPS

# For the compiled body: numba takes numbers of a module as constants, but not those in a tuple.
MASK = uint64(LOW)
H0, H1, H2, H3 = (uint64(factor) for factor in HASH)
(W0, M0), (W1, M1), (W2, M2), (W3, M3), (W4, M4) = ((uint64(width), uint64(mask)) for width, mask in SWAPS)


@njit
def scramble(points: np.ndarray, seeds: np.ndarray, words: np.ndarray) -> None:
    for s in range(words.shape[0]):
        for n in range(words.shape[1]):
            for m in range(words.shape[2]):
                for d in range(words.shape[3]):
                    x = uint64(points[n, d] + seeds[s, m, d]) & MASK
                    x ^= x * H0 & MASK
                    x ^= x * H1 & MASK
                    x ^= x * H2 & MASK
                    x ^= x * H3 & MASK
                    x = x >> W0 & M0 | (x & M0) << W0
                    x = x >> W1 & M1 | (x & M1) << W1
                    x = x >> W2 & M2 | (x & M2) << W2
                    x = x >> W3 & M3 | (x & M3) << W3
                    x = x >> W4 & M4 | (x & M4) << W4
                    words[s, n, m, d] = x
