"""`esgrad.kernels.classes`, compiled."""

import numpy as np

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.normals import Stream, philox_at

TILE = 128  # blocks of two samples at a time


@njit
def draw(
    cumulative: np.ndarray, seeds: np.ndarray, role: int, step: int, start: int, offset: int, out: np.ndarray
) -> None:
    runs, places, classes = cumulative.shape
    samples, group = out.shape[1], runs // len(seeds)
    places_of_blocks, words = np.zeros((3, TILE), np.uint32), np.empty(4 * TILE, np.uint32)
    places_of_blocks[1] = np.arange(TILE)  # a block serves two samples
    for s in range(len(seeds)):
        stream = Stream(seeds[s], role, step)
        for q in range(places):
            for first in range(0, samples, 2 * TILE):
                count = min(2 * TILE, samples - first)
                blocks = (count + 1) // 2
                pair = (start + first) // 2
                philox_at(stream, offset + q, pair, 0, places_of_blocks, words, blocks)
                for g in range(group):
                    r = s * group + g
                    total = cumulative[r, q, classes - 1]
                    for i in range(count):
                        high, low = np.uint64(words[2 * i]), np.uint64(words[2 * i + 1])
                        bits = (high << np.uint64(20)) | (low >> np.uint64(12))
                        at = (np.float64(bits) + 0.5) * 2.0**-52 * total
                        at = min(at, total - 0.5)
                        below, above = 0, classes - 1  # the first partial sum beyond x
                        while below < above:
                            middle = (below + above) // 2
                            if cumulative[r, q, middle] <= at:
                                below = middle + 1
                            else:
                                above = middle
                        out[r, first + i, q] = below


@njit
def tally(sums: np.ndarray, weight: np.ndarray, classes: np.ndarray) -> None:
    runs, samples, places = classes.shape
    readings = places // weight.shape[2]
    for r in range(runs):
        for n in range(samples):
            for q in range(places):
                sums[r, q, classes[r, n, q]] += weight[r, n, q // readings]
