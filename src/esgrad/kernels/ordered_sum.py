"""A sum whose order no other dimension changes, so that no result depends on a stack, a chunk or a batch."""

from math import prod

from torch import Tensor, float32, float64

from esgrad.kernels import compiled


def ordered_sum(values: Tensor, dim: int) -> Tensor:
    """Sum over a dimension, kept with length 1, by halving: `torch.sum` may order its terms by the whole shape."""
    usual = values.device.type == "cpu" and values.dtype in (float32, float64) and not values.requires_grad
    if not compiled.AVAILABLE or not usual or values.numel() == 0:
        return by_torch(values, dim)
    from esgrad.kernels.compiled import ordered_sum as body

    dim %= values.dim()
    before, length, after = values.shape[:dim], values.shape[dim], values.shape[dim + 1 :]
    out = values.new_empty(*before, 1, *after)
    rows, inner = prod(before), prod(after)
    body.fold(out.view(rows, inner).numpy(), values.contiguous().view(rows, length * inner).numpy(), length)
    return out


def by_torch(values: Tensor, dim: int) -> Tensor:
    """The oracle, on any device."""
    while (length := values.shape[dim]) > 1:
        half = length // 2
        folded = values.narrow(dim, 0, half) + values.narrow(dim, half, half)
        if length % 2:
            folded.narrow(dim, 0, 1).add_(values.narrow(dim, length - 1, 1))
        values = folded
    return values
