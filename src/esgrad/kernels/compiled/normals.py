"""Words and normals of a tile of blocks: `philox.philox` and `philox.standard_normal`, compiled.

Loops over a tile are plain and branch-free, so that LLVM turns each into vector instructions; the normal is two loops,
as one would be a single chain too long to overlap with the next number's. No fastmath: the order and the rounding of
every operation are those of the oracle.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy import float32, int32, uint32, uint64

from esgrad.kernels import philox

TILE = 256  # blocks of 4 numbers; counters, words and normals of a tile stay in the first-level cache
M0, M1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
W0, W1 = uint64(0x9E3779B9), uint64(0xBB67AE85)
LOW, HIGH = uint64(0xFFFFFFFF), uint64(32)
NINE, TWO, ONE, TOP = uint32(9), int32(2), int32(1), int32(1 << 24)
ROOT_HALF, MANTISSA, EXPONENT, FULL = int32(0x3F3504F3), int32(0x7FFFFF), int32(23), int32(46)
UNIT, SCALE = float32(1), float32(2.0**-24)
LOG2, P, Q = (tuple(map(float32, values)) for values in (philox.LOG2, philox.P, philox.Q))


class Stream(NamedTuple):
    """Whose numbers they are; a block's place in it is a position, a sample and its number there."""

    seed: int
    role: int
    step: int


class Room(NamedTuple):
    """Where blocks are made."""

    places: np.ndarray
    """uint32 [3, n]: the position, sample and number of each, counted from some origin."""
    words: np.ndarray
    """uint32 [4n]."""
    logarithms: np.ndarray
    """float32 [4n], for the way from words to normals."""
    normals: np.ndarray
    """float32 [4n]."""


@numba.njit(nogil=True)
def room(blocks: int) -> Room:
    """Room for so many blocks; all places are 0."""
    numbers = 4 * blocks
    made = np.empty(numbers, uint32), np.empty(numbers, float32), np.empty(numbers, float32)
    return Room(np.zeros((3, blocks), uint32), *made)


@numba.njit(nogil=True)
def philox_at(
    stream: Stream, position: int, sample: int, block: int, places: np.ndarray, words: np.ndarray, count: int
) -> None:
    """The words [4·count] of blocks at places [3, …] counted from a position, a sample and a block."""
    for i in range(count):
        k0, k1 = uint64(stream.seed), uint64(stream.role)
        c0, c1 = uint64(stream.step), uint64(position) + uint64(places[0, i])
        c2, c3 = uint64(sample) + uint64(places[1, i]), uint64(block) + uint64(places[2, i])
        for _ in range(10):
            product0, product1 = M0 * c0, M1 * c2
            c0, c1 = (product1 >> HIGH) ^ c1 ^ k0, product1 & LOW
            c2, c3 = (product0 >> HIGH) ^ c3 ^ k1, product0 & LOW
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
        words[4 * i], words[4 * i + 1] = uint32(c0), uint32(c1)
        words[4 * i + 2], words[4 * i + 3] = uint32(c2), uint32(c3)


@numba.njit(nogil=True)
def philox_side(stream: Stream, position: int, sample: int, blocks: int, words: np.ndarray, side: int) -> None:
    """The words of all blocks of `side` samples: of each block all first ones, then all second ones, and so on."""
    for block in range(blocks):
        at = 4 * side * block
        for i in range(side):
            k0, k1 = uint64(stream.seed), uint64(stream.role)
            c0, c1 = uint64(stream.step), uint64(position)
            c2, c3 = uint64(sample + i), uint64(block)
            for _ in range(10):
                product0, product1 = M0 * c0, M1 * c2
                c0, c1 = (product1 >> HIGH) ^ c1 ^ k0, product1 & LOW
                c2, c3 = (product0 >> HIGH) ^ c3 ^ k1, product0 & LOW
                k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            words[at + i], words[at + side + i] = uint32(c0), uint32(c1)
            words[at + 2 * side + i], words[at + 3 * side + i] = uint32(c2), uint32(c3)


@numba.njit(nogil=True, error_model="numpy")  # a check of each division would keep the loop scalar
def normal(words: np.ndarray, logarithms: np.ndarray, out: np.ndarray, count: int) -> None:
    """The normals of some words; `logarithms` is room for as many numbers."""
    l0, l1, l2, l3, l4, l5, l6, l7 = LOG2
    p0, p1, p2, p3, p4, p5 = P
    q0, q1, q2, q3, q4, q5 = Q
    # numba widens int32 sums to int64: int32(…) keeps them narrow, and the vectors full.
    for i in range(count):
        odd = int32(TWO * int32(words[i] >> NINE) + ONE)
        below, above = float32(odd), float32(int32(TOP - odd))
        square = np.float32(below * above)
        product = int32(square.view(np.int32) - ROOT_HALF)
        mantissa = np.int32((product & MANTISSA) + ROOT_HALF)
        z = mantissa.view(np.float32) - UNIT
        log = (((((((l7 * z + l6) * z + l5) * z + l4) * z + l3) * z + l2) * z + l1) * z + l0) * z
        logarithms[i] = float32(int32(FULL - int32(product >> EXPONENT))) - log
        out[i] = (below - above) * SCALE
    for i in range(count):
        w = logarithms[i]
        numerator = ((((p5 * w + p4) * w + p3) * w + p2) * w + p1) * w + p0
        denominator = ((((q5 * w + q4) * w + q3) * w + q2) * w + q1) * w + q0
        out[i] = out[i] * numerator / denominator
