"""`esgrad.kernels.noise_sum`, compiled: a tile of coordinates after the other, of each all samples."""

import numba
import numpy as np
from numpy import float32

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.normals import TILE, Stream, normal, philox_at, room
from esgrad.kernels.weighted_sum import LANES


@njit
def add(
    out: np.ndarray,
    weights: np.ndarray,
    seeds: np.ndarray,
    role: int,
    step: int,
    position: int,
    low: int,
    high: int,
    square: bool,
) -> None:
    """Fill out [S, G, low:high] with the sums for weights [S, G, n], `square` of z² − 1; `low` is a multiple of 4."""
    seeded, group, samples = weights.shape
    places, words, logarithms, normals = room(TILE)
    places[2] = np.arange(TILE)
    lanes = np.empty((LANES, group, 4 * TILE), float32)
    for s in range(seeded):
        stream = Stream(seeds[s], role, step)
        for first in range(low, high, 4 * TILE):
            last = min(high, first + 4 * TILE)
            blocks = (last - first + 3) // 4
            lanes[:] = float32(0)
            for lane in range(min(LANES, samples)):  # the noise has no order of its own: one lane's sums stay in cache
                for n in range(lane, samples, LANES):
                    if not weights[s, :, n].any():
                        continue
                    philox_at(stream, position, n, first // 4, places, words, blocks)
                    normal(words, logarithms, normals, 4 * blocks)
                    if square:
                        _square(normals[: 4 * blocks])
                    for g in range(group):
                        _add(lanes[lane, g, : 4 * blocks], weights[s, g, n], normals[: 4 * blocks])
            half = LANES // 2
            while half > 0:
                for lane in range(half):
                    for g in range(group):
                        _add(lanes[lane, g], float32(1), lanes[lane + half, g])
                half //= 2
            for g in range(group):
                out[s, g, first:last] = lanes[0, g, : last - first]


@numba.njit(nogil=True)
def _square(numbers: np.ndarray) -> None:
    """z² − 1."""
    for i in range(numbers.size):
        numbers[i] = float32(numbers[i] * numbers[i]) - float32(1)


@numba.njit(nogil=True)
def _add(total: np.ndarray, weight: np.float32, numbers: np.ndarray) -> None:
    for i in range(total.size):
        total[i] += weight * numbers[i]
