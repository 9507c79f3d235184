"""Σ_n w_n q_n, added to a running total one sample after the other, so that no result depends on chunks or stacks."""

import numpy as np
from numba import njit
from torch import Tensor, float32

BLOCK = 8  # samples that the plain torch body sums together


def add(total: Tensor, weights: Tensor, noise: Tensor) -> None:
    """total [S, G, M, D] += Σ_n weights [S, G, n, M] · noise [S, n, M, D], in place."""
    if total.device.type == "cpu" and total.dtype == weights.dtype == noise.dtype == float32:
        _add(total.numpy(), weights.contiguous().numpy(), noise.contiguous().numpy())
    else:
        add_torch(total, weights, noise)


def add_torch(total: Tensor, weights: Tensor, noise: Tensor) -> None:
    """The same in plain torch, on any device: the oracle, equal up to the order within a block of samples."""
    for first in range(0, noise.shape[1], BLOCK):
        block = slice(first, first + BLOCK)
        total += (weights[:, :, block, :, None] * noise[:, None, block]).sum(2)


@njit(cache=True, nogil=True)
def _add(total: np.ndarray, weights: np.ndarray, noise: np.ndarray) -> None:
    seeds, group, positions, dimension = total.shape
    for s in range(seeds):
        for n in range(noise.shape[1]):
            for g in range(group):
                for m in range(positions):
                    weight = weights[s, g, n, m]
                    if weight != 0:  # 0/1 fitness leaves most weights 0 (NaN is not 0)
                        for k in range(dimension):
                            total[s, g, m, k] += weight * noise[s, n, m, k]
