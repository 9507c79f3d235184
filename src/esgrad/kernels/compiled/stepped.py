"""`esgrad.kernels.stepped`, compiled."""

import numba
import numpy as np
from numpy import float32

from esgrad.kernels.compiled import njit


@njit
def stepped(out: np.ndarray, centre: np.ndarray, steps: np.ndarray, directions: np.ndarray) -> None:
    seeds, group, count, of_each, _ = out.shape
    for s in range(seeds):
        for g in range(group):
            for n in range(count):
                for k in range(of_each):
                    _step(out[s, g, n, k], centre[s, g], steps[s, g, k], directions[s, n])


@numba.njit(nogil=True)
def _step(out: np.ndarray, centre: np.ndarray, step: np.float32, direction: np.ndarray) -> None:
    for i in range(out.size):
        out[i] = centre[i] + float32(step * direction[i])
