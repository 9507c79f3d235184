"""Vectors turned to right angles, their lengths kept: Gram–Schmidt in a fixed order, so no result depends on a stack.

Each vector loses its parts along those before it, one after the other, twice, as once leaves rounding's remains ("twice
is enough": Giraud et al. 2005), and gets its length back. From independent Gaussian vectors the directions are Haar.
"""

import torch
from torch import Tensor

from esgrad.kernels import compiled


def orthogonalise(vectors: Tensor) -> None:
    """Orthogonalise vectors [S, n, M, D], n ≤ D, over n for each s and m, in place."""
    if compiled.AVAILABLE and vectors.device.type == "cpu" and vectors.dtype == torch.float32:
        from esgrad.kernels.compiled import orthonormal as body

        body.orthogonalise(vectors.numpy())
    else:
        orthogonalise_torch(vectors)


def orthogonalise_torch(vectors: Tensor) -> None:
    """The same in plain torch: the oracle, equal to the bit on a CPU, and on other devices up to rounding."""
    rows = list(vectors.double().unbind(1))  # [S, M, D] each
    for n, row in enumerate(rows):
        length, left = _sum(row * row).sqrt(), row
        for _ in range(2):
            for before in rows[:n]:
                left = left - _sum(before * left) * before
        rows[n] = left / _sum(left * left).sqrt()
        vectors[:, n] = rows[n] * length


def _sum(terms: Tensor) -> Tensor:
    """The sum over the last axis, one term after the other; [..., 1]."""
    return terms.cumsum(-1)[..., -1:]
