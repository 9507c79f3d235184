"""`esgrad.kernels.ordered_sum`, compiled: the halves of a row are folded where they lie."""

import numba
import numpy as np

from esgrad.kernels.compiled import njit


@njit
def fold(out: np.ndarray, values: np.ndarray, length: int) -> None:
    """Sums [n, inner] over the length of each row of values [n, length · inner]."""
    inner = out.shape[1]
    room = np.empty((length + 1) // 2 * inner, values.dtype)
    for row in range(len(values)):
        left, given = length, values[row]
        while left > 1:
            half = left // 2
            _add(room[: half * inner], given[: half * inner], given[half * inner : 2 * half * inner])
            if left % 2:
                _add(room[:inner], room[:inner], given[(left - 1) * inner : left * inner])
            left, given = half, room
        out[row] = given[:inner]


@numba.njit(nogil=True)
def _add(out: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    for i in range(out.size):
        out[i] = left[i] + right[i]
