"""`esgrad.kernels.weighted_sum`, compiled."""

import numpy as np

from esgrad.kernels.compiled import njit


@njit
def add(total: np.ndarray, weights: np.ndarray, scores: np.ndarray) -> None:
    seeds, group, positions, lanes, dimension = total.shape
    for s in range(seeds):
        for n in range(scores.shape[1]):
            for g in range(group):
                for m in range(positions):
                    weight = weights[s, g, n, m]
                    if weight != 0:  # 0/1 fitness leaves most weights 0 (NaN is not 0); a sum does not notice a 0
                        for k in range(dimension):
                            total[s, g, m, n % lanes, k] += weight * scores[s, n, m, k]
