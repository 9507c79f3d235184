"""`esgrad.kernels.classes`, compiled."""

import numba
import numpy as np

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.normals import Stream, philox_at
from esgrad.kernels.exp2 import EXP2, LOG2_E

TILE = 128  # blocks of two samples at a time
GUIDE, MANY = 1024, 200  # parts of a guide, and samples from which on it pays


@njit
def weights(log_probability: np.ndarray, bits: int, out: np.ndarray) -> None:
    """Of rows [n, K]."""
    for row in range(len(out)):
        largest = log_probability[row, 0]
        for k in range(1, log_probability.shape[1]):
            largest = max(largest, log_probability[row, k])
        _weights(log_probability[row], largest, bits, out[row])


@numba.njit(nogil=True)
def _weights(log_probability: np.ndarray, largest: float, bits: int, out: np.ndarray) -> None:
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13 = EXP2
    least = -bits - 2.0
    for k in range(out.size):
        power = (log_probability[k] - largest) * LOG2_E
        whole = np.rint(least if power < least else power)
        fraction = power - whole
        f = -0.5 if fraction < -0.5 else fraction
        value = ((((((c13 * f + c12) * f + c11) * f + c10) * f + c9) * f + c8) * f + c7) * f + c6
        value = (((((value * f + c5) * f + c4) * f + c3) * f + c2) * f + c1) * f + c0
        scale = np.int64((np.int64(whole) + bits + 1023) << 52)
        out[k] = np.rint(value * scale.view(np.float64))


@njit
def draw(
    cumulative: np.ndarray, seeds: np.ndarray, role: int, step: int, start: int, offset: int, out: np.ndarray
) -> None:
    runs, places, _ = cumulative.shape
    samples, group = out.shape[1], runs // len(seeds)
    places_of_blocks, words = np.zeros((3, TILE), np.uint32), np.empty(4 * TILE, np.uint32)
    places_of_blocks[1] = np.arange(TILE)  # a block serves two samples
    numbers, guides = np.empty(2 * TILE), np.zeros((group, GUIDE + 2), np.int64)
    for s in range(len(seeds)):
        stream = Stream(seeds[s], role, step)
        for q in range(places):
            if samples >= MANY:
                for g in range(group):
                    _guide(cumulative[s * group + g, q], guides[g])
            for first in range(0, samples, 2 * TILE):
                count = min(2 * TILE, samples - first)
                philox_at(stream, offset + q, (start + first) // 2, 0, places_of_blocks, words, (count + 1) // 2)
                for i in range(count):
                    high, low = np.uint64(words[2 * i]), np.uint64(words[2 * i + 1])
                    bits = (high << np.uint64(20)) | (low >> np.uint64(12))
                    numbers[i] = (np.float64(bits) + 0.5) * 2.0**-52
                for g in range(group):
                    r = s * group + g
                    if samples >= MANY:
                        _search_from(cumulative[r, q], guides[g], numbers[:count], out[r, first : first + count, q])
                    else:
                        _search(cumulative[r, q], numbers[:count], out[r, first : first + count, q])


@numba.njit(nogil=True)
def _search(cumulative: np.ndarray, numbers: np.ndarray, found: np.ndarray) -> None:
    """The first partial sum beyond each number times the total, by halves."""
    last = cumulative.size - 1
    total = cumulative[last]
    for i in range(numbers.size):
        at = min(numbers[i] * total, total - 0.5)
        below, above = 0, last
        while below < above:
            middle = (below + above) // 2
            if cumulative[middle] <= at:
                below = middle + 1
            else:
                above = middle
        found[i] = below


@numba.njit(nogil=True, error_model="numpy")
def _guide(cumulative: np.ndarray, guide: np.ndarray) -> None:
    """Of each of GUIDE parts of the total the first class whose partial sum lies in it or beyond."""
    scale, at = GUIDE / cumulative[cumulative.size - 1], 0
    for k in range(cumulative.size):
        part = int(cumulative[k] * scale)
        while at <= part:
            guide[at] = k
            at += 1


@numba.njit(nogil=True, error_model="numpy")
def _search_from(cumulative: np.ndarray, guide: np.ndarray, numbers: np.ndarray, found: np.ndarray) -> None:
    """The same, from where a guide says on: as numbers and sums are rounded alike, no class before that can be it."""
    total = cumulative[cumulative.size - 1]
    scale = GUIDE / total
    for i in range(numbers.size):
        at = min(numbers[i] * total, total - 0.5)
        k = guide[int(at * scale)]
        while cumulative[k] <= at:
            k += 1
        found[i] = k


@njit
def tally(sums: np.ndarray, weight: np.ndarray, classes: np.ndarray) -> None:
    runs, samples, places = classes.shape
    readings = places // weight.shape[2]
    for r in range(runs):
        for n in range(samples):
            for q in range(places):
                sums[r, q, classes[r, n, q]] += weight[r, n, q // readings]
