"""`esgrad.kernels.orthonormal`, compiled."""

import numpy as np

from esgrad.kernels.compiled import njit


@njit
def orthogonalise(vectors: np.ndarray) -> None:
    seeds, samples, positions, dimension = vectors.shape
    rows, lengths = np.empty((samples, dimension)), np.empty(samples)  # float64
    for s in range(seeds):
        for m in range(positions):
            for n in range(samples):
                for k in range(dimension):
                    rows[n, k] = vectors[s, n, m, k]
                lengths[n] = _length(rows[n])
                for _ in range(2):
                    for before in range(n):
                        part = 0.0
                        for k in range(dimension):
                            part += rows[before, k] * rows[n, k]
                        for k in range(dimension):
                            rows[n, k] -= part * rows[before, k]
                left = _length(rows[n])
                for k in range(dimension):
                    rows[n, k] /= left
                    vectors[s, n, m, k] = rows[n, k] * lengths[n]


@njit
def _length(row: np.ndarray) -> float:
    square = 0.0
    for k in range(row.size):
        square += row[k] * row[k]
    return np.sqrt(square)
