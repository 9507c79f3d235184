"""Vectors turned to right angles, their lengths kept: Gram–Schmidt in a fixed order, so no result depends on a stack.

Each vector loses its parts along those before it, twice, as once leaves rounding's remains ("twice is enough":
Giraud et al. 2005), and gets its length back. From independent Gaussian vectors the directions are Haar.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor


def orthogonalise(vectors: Tensor) -> None:
    """Orthogonalise vectors [S, n, M, D], n ≤ D, over n for each s and m, in place."""
    if vectors.device.type == "cpu" and vectors.dtype == torch.float32:
        _orthogonalise(vectors.numpy())
    else:
        orthogonalise_torch(vectors)


def orthogonalise_torch(vectors: Tensor) -> None:
    """The same in plain torch, on any device: the oracle, equal up to rounding."""
    rows = vectors.movedim(1, -2).double()  # [S, M, n, D]
    lengths = rows.norm(dim=-1, keepdim=True)
    for n in range(rows.shape[-2]):
        for _ in range(2):
            parts = rows[..., :n, :] @ rows[..., n, :, None]  # [S, M, n, 1]
            rows[..., n, :] -= (parts * rows[..., :n, :]).sum(-2)
        rows[..., n, :] /= rows[..., n, :].norm(dim=-1, keepdim=True)
    vectors.copy_((rows * lengths).movedim(-2, 1))


@njit(cache=True, nogil=True)
def _orthogonalise(vectors: np.ndarray) -> None:
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


@njit(cache=True, nogil=True)
def _length(row: np.ndarray) -> float:
    square = 0.0
    for k in range(row.size):
        square += row[k] * row[k]
    return np.sqrt(square)
