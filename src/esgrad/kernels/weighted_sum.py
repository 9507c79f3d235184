"""Σ_n w_n s_n in one defined order, which every body keeps, so that no result depends on chunks, stacks or speed.

LANES running sums side by side: sample n is added to lane n mod LANES, n ascending, product and sum each rounded once;
at the end the lanes are folded in halves. A kernel that streams over the samples can keep that order in registers.
"""

import torch
from torch import Tensor, float32

from esgrad.kernels import compiled

LANES = 16


def lanes(weights: Tensor, scores: Tensor) -> Tensor:
    """Empty lanes [S, G, M, LANES, D] for weights [S, G, n, M] and scores [S, n, M, D]."""
    seeds, group = weights.shape[:2]
    size = (seeds, group, scores.shape[2], LANES, scores.shape[3])
    return torch.zeros(size, dtype=torch.promote_types(weights.dtype, scores.dtype), device=scores.device)


def add(total: Tensor, weights: Tensor, scores: Tensor) -> None:
    """total [S, G, M, LANES, D] += weights [S, G, n, M] · scores [S, n, M, D], the first n a multiple of LANES."""
    single = total.dtype == weights.dtype == scores.dtype == float32
    if compiled.AVAILABLE and total.device.type == "cpu" and single:
        from esgrad.kernels.compiled import weighted_sum as body

        body.add(total.numpy(), weights.contiguous().numpy(), scores.contiguous().numpy())
    else:
        add_torch(total, weights, scores)


def add_torch(total: Tensor, weights: Tensor, scores: Tensor) -> None:
    """The same in plain torch, on any device: the oracle, equal to the bit."""
    for first in range(0, scores.shape[1], LANES):
        block = slice(first, first + LANES)
        products = weights[:, :, block, :, None] * scores[:, None, block]  # [S, G, n, M, D]
        total[:, :, :, : products.shape[2]] += products.movedim(2, 3)


def fold(total: Tensor) -> Tensor:
    """The sum over the lanes [..., LANES, D] in halves: [..., D]."""
    while (half := total.shape[-2] // 2) > 0:
        total = total[..., :half, :] + total[..., half:, :]
    return total[..., 0, :]
