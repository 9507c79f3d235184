"""`esgrad.kernels.argmax`, compiled."""

import numpy as np

from esgrad.kernels.compiled import njit


@njit
def argmax(rows: np.ndarray, found: np.ndarray) -> None:
    for row in range(rows.shape[0]):
        best, largest, total = 0, rows[row, 0], rows[row, 0]
        for k in range(1, rows.shape[1]):  # selections, no branches: which is the largest cannot be predicted
            value = rows[row, k]
            total += value
            larger = value > largest
            best = k if larger else best
            largest = value if larger else largest
        if total != total:  # a NaN among them (or both infinities, which the search below judges as well)
            for k in range(rows.shape[1] - 1, -1, -1):
                if rows[row, k] != rows[row, k]:
                    best = k
        found[row] = best
