"""A sum whose order no other dimension changes, so that no result depends on a stack, a chunk or a batch."""

from esgrad.types import Tensor


def ordered_sum(values: Tensor, dim: int) -> Tensor:
    """Sum over a dimension, kept with length 1, by halving: `torch.sum` may order its terms by the whole shape."""
    while (length := values.shape[dim]) > 1:
        half = length // 2
        folded = values.narrow(dim, 0, half) + values.narrow(dim, half, half)
        if length % 2:
            folded.narrow(dim, 0, 1).add_(values.narrow(dim, length - 1, 1))
        values = folded
    return values
