"""The fill on a CPU: `philox.philox` and `philox.standard_normal`, compiled, a tile of blocks at a time.

Loops over a tile are plain and branch-free, so that LLVM turns each into vector instructions; the normal is two loops,
as one would be a single chain too long to overlap with the next number's. No fastmath: the order and the rounding of
every operation are those of the oracle. The coefficients of the inverse are arguments, because numba's cache does not
notice a change in another file.
"""

import numba
import numpy as np
from numpy import float32, int32, uint32, uint64

from esgrad.kernels import philox
from esgrad.kernels.compiled import njit

TILE = 256  # blocks of 4 numbers; counters, words and normals of a tile stay in the first-level cache
M0, M1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
W0, W1 = uint64(0x9E3779B9), uint64(0xBB67AE85)
LOW, HIGH = uint64(0xFFFFFFFF), uint64(32)
NINE, TWO, ONE, TOP = uint32(9), int32(2), int32(1), int32(1 << 24)
ROOT_HALF, MANTISSA, EXPONENT, FULL = int32(0x3F3504F3), int32(0x7FFFFF), int32(23), int32(46)
Floats = tuple[np.float32, ...]
UNIT, SCALE = float32(1), float32(2.0**-24)


def fill(out: np.ndarray, seeds: np.ndarray, role: int, step: int, start: int, offset: int) -> None:
    """Fill `out` [S, n, M, D], float32 and contiguous, with the normals of samples start, …, start + n − 1 at the
    positions offset, …, offset + M − 1.

    `seeds` [S] is int64. Nothing is checked here: `streams.normals` does.
    """
    _fill(out, seeds, role, step, start, offset, *_COEFFICIENTS)


@njit
def _fill(
    out: np.ndarray,
    seeds: np.ndarray,
    role: int,
    step: int,
    start: int,
    offset: int,
    log2: Floats,
    p: Floats,
    q: Floats,
) -> None:
    _, samples, positions, dimension = out.shape
    blocks = (dimension + 3) // 4
    flat = out.reshape(-1)
    # A tile is some whole samples, or some whole positions of one, or a part of one position's blocks, so that the
    # counters of all tiles differ by their origin alone.
    across = TILE // (positions * blocks)  # whole samples
    rows = across * positions if across > 0 else TILE // blocks  # whole positions
    width = rows * blocks if rows > 0 else TILE
    places = np.zeros((3, TILE), uint32)
    for i in range(width):
        row = i // blocks if rows > 0 else 0
        places[0, i], places[1, i], places[2, i] = row % positions, row // positions, i - row * blocks
    words, scratch, logarithms = np.empty(4 * TILE, uint32), np.empty(4 * TILE, float32), np.empty(4 * TILE, float32)
    whole, at = dimension % 4 == 0, 0
    for seed in seeds:
        sample = start
        while sample < start + samples:
            position, block = 0, 0
            while position < positions:
                if rows > 0:
                    left = (start + samples - sample) * positions - position if across > 0 else positions - position
                    count = min(rows, left) * blocks
                else:
                    count = min(TILE, blocks - block)
                _philox(step, offset + position, sample, block, places, seed, role, words, count)
                if whole:
                    _normal(words, logarithms, flat[at : at + 4 * count], 4 * count, log2, p, q)
                    at += 4 * count
                else:
                    _normal(words, logarithms, scratch, 4 * count, log2, p, q)
                    if rows > 0:
                        at = _pack(scratch, count // blocks, 4 * blocks, dimension, flat, at)
                    else:
                        at = _pack(scratch, 1, 4 * count, min(4 * count, dimension - 4 * block), flat, at)
                if rows > 0:
                    position += count // blocks
                else:
                    block += count
                    if block == blocks:
                        position, block = position + 1, 0
            sample += max(1, across)


@numba.njit(nogil=True)
def _philox(
    step: int,
    position: int,
    sample: int,
    block: int,
    places: np.ndarray,
    seed: int,
    role: int,
    words: np.ndarray,
    count: int,
) -> None:
    """The words [4·count] of blocks at places [3, …] counted from a position, a sample and a block."""
    for i in range(count):
        k0, k1 = uint64(seed), uint64(role)
        c0, c1 = uint64(step), uint64(position) + uint64(places[0, i])
        c2, c3 = uint64(sample) + uint64(places[1, i]), uint64(block) + uint64(places[2, i])
        for _ in range(10):
            product0, product1 = M0 * c0, M1 * c2
            c0, c1 = (product1 >> HIGH) ^ c1 ^ k0, product1 & LOW
            c2, c3 = (product0 >> HIGH) ^ c3 ^ k1, product0 & LOW
            k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
        words[4 * i], words[4 * i + 1] = uint32(c0), uint32(c1)
        words[4 * i + 2], words[4 * i + 3] = uint32(c2), uint32(c3)


@numba.njit(nogil=True, error_model="numpy")  # a check of each division would keep the loop scalar
def _normal(
    words: np.ndarray, logarithms: np.ndarray, out: np.ndarray, count: int, log2: Floats, p: Floats, q: Floats
) -> None:
    """The normals of some words; `logarithms` is room for as many numbers."""
    l0, l1, l2, l3, l4, l5, l6, l7 = log2
    p0, p1, p2, p3, p4, p5 = p
    q0, q1, q2, q3, q4, q5 = q
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


@numba.njit(nogil=True)
def _pack(normals: np.ndarray, rows: int, width: int, dimension: int, out: np.ndarray, at: int) -> int:
    """Copy the first `dimension` numbers of each row. Returns the next free place."""
    for row in range(rows):
        if at + width <= out.size:  # what is too much here, the next row overwrites
            for block in range(width // 4):
                for j in range(4):
                    out[at + 4 * block + j] = normals[row * width + 4 * block + j]
        else:
            for j in range(dimension):
                out[at + j] = normals[row * width + j]
        at += dimension
    return at


def _floats(values: tuple[float, ...]) -> Floats:
    return tuple(float32(value) for value in values)


_COEFFICIENTS = (_floats(philox.LOG2), _floats(philox.P), _floats(philox.Q))
