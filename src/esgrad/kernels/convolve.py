"""Convolutions with weights of their own for many networks at once, for numbers that lie examples last, [C, H, W, B].

Windows lie side by side and no stride is taken. Rows of an image are long runs of neighbours then, and a convolution is
a weighted sum of rows: nothing is copied into columns.
"""

from itertools import product

import torch
from torch import Tensor, float32

from esgrad.kernels import compiled
from esgrad.kernels.fma import fma


def convolve(numbers: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[m, out, H', W', B] of numbers [m or 1, C, H, W, B], weights [m, out, C, h, w] and biases [m, out]."""
    if not (numbers.dtype == weight.dtype == float32 and numbers.device.type == "cpu"):
        return by_columns(numbers, weight, bias)
    if not compiled.AVAILABLE:
        return by_torch(numbers, weight, bias)
    from esgrad.kernels.compiled import convolve as body

    members, outputs, _, height, width = weight.shape
    rows, columns, batch = numbers.shape[2] - height + 1, numbers.shape[3] - width + 1, numbers.shape[-1]
    out = numbers.new_empty(members, outputs, rows, columns * batch)
    start = weight.new_zeros(members, outputs) if bias is None else bias.contiguous()
    arrays = out, numbers.contiguous().flatten(3), weight.contiguous(), start
    body.convolve(*(each.numpy() for each in arrays), batch)
    return out.unflatten(3, (columns, batch))


def by_torch(numbers: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The oracle for float32 on a CPU: product after product is added to the bias, each time rounded once."""
    members, outputs, channels, height, width = weight.shape
    rows, columns, batch = numbers.shape[2] - height + 1, numbers.shape[3] - width + 1, numbers.shape[-1]
    out = weight.new_zeros(members, outputs, rows, columns, batch)
    if bias is not None:
        out += bias[..., None, None, None]
    for c, i, j in product(range(channels), range(height), range(width)):
        window = numbers[:, None, c, i : i + rows, j : j + columns]
        out = fma(weight[:, :, c, i, j, None, None, None], window, out)
    return out


def by_columns(numbers: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same to rounding, for other types and devices: products with the windows as columns."""
    members, _, _, height, width = weight.shape
    windows = numbers.unfold(2, height, 1).unfold(3, width, 1)  # [m, C, H', W', B, h, w]
    columns = windows.movedim((-2, -1), (2, 3)).flatten(1, 3)  # [m, C·h·w, H', W', B]
    made = torch.bmm(weight.flatten(2), columns.flatten(2).expand(members, -1, -1)).unflatten(2, columns.shape[2:])
    return made if bias is None else made + bias[..., None, None, None]


def largest(numbers: Tensor, size: int) -> Tensor:
    """The largest of each window of size · size, side by side, [..., H', W', B] of [..., H, W, B]; any NaN is one."""
    height, width = (side // size for side in numbers.shape[-3:-1])
    if compiled.AVAILABLE and numbers.dtype == float32 and numbers.device.type == "cpu":
        from esgrad.kernels.compiled import convolve as body

        lead, batch = numbers.shape[:-3], numbers.shape[-1]
        out = numbers.new_empty(lead.numel(), height, width * batch)
        images = numbers.contiguous().view(lead.numel(), -1, numbers.shape[-2] * batch)
        body.largest(out.numpy(), images.numpy(), size, batch)
        return out.view(*lead, height, width, batch)
    rows = numbers[..., : height * size, : width * size, :]
    return rows.unflatten(-2, (width, size)).unflatten(-4, (height, size)).amax((-4, -2))  # of [..., H', s, W', s, B]
