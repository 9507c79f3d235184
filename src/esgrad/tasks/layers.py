"""Layers of plain networks, for numbers that lie features first and examples last: [..., F, B] or [..., C, H, W, B].

A layer with parameters is a product, of weights [out, in] with columns [in, places·B] that it makes of its input.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity)
"""Modules without parameters that take each number by itself, however numbers lie."""


@dataclass(frozen=True)
class Pointwise:
    """A function of each number."""

    module: nn.Module

    def __call__(self, numbers: Tensor) -> Tensor:
        return numbers.relu_() if isinstance(self.module, nn.ReLU) else self.module(numbers)


@dataclass(frozen=True)
class Flatten:
    """[..., C, H, W, B] to [..., C·H·W, B]."""

    def __call__(self, numbers: Tensor) -> Tensor:
        return numbers.flatten(-4, -2)


@dataclass(frozen=True)
class MaxPool:
    """The largest of each window, windows side by side."""

    size: int

    def __call__(self, numbers: Tensor) -> Tensor:
        height, width = (side // self.size for side in numbers.shape[-3:-1])
        rows = numbers[..., : height * self.size, : width * self.size, :]
        windows = rows.unflatten(-2, (width, self.size)).unflatten(-4, (height, self.size))
        return windows.amax((-4, -2))  # [..., C, H', s, W', s, B]


@dataclass(frozen=True)
class Product:
    """A layer with parameters, whose places in the network's list are given."""

    weight: int
    bias: int | None

    def columns(self, numbers: Tensor) -> Tensor:
        """[..., F, B] as it is."""
        return numbers

    def shaped(self, numbers: Tensor, of: Tensor) -> Tensor:
        """The product [..., out, places·B] as the next layer wants it; `of` is what this layer was given."""
        return numbers


@dataclass(frozen=True)
class Convolution(Product):
    """Of [..., C, H, W, B]: a product with the windows of its input."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def columns(self, numbers: Tensor) -> Tensor:
        """[..., C·h·w, H'·W'·B]."""
        vertical, horizontal = self.padding
        padded = nn.functional.pad(numbers, (0, 0, horizontal, horizontal, vertical, vertical))
        windows = padded.unfold(-3, self.size[0], self.stride[0]).unfold(-3, self.size[1], self.stride[1])
        return windows.movedim((-2, -1), (-5, -4)).flatten(-6, -4).flatten(-3)  # of [..., C, H', W', B, h, w]

    def shaped(self, numbers: Tensor, of: Tensor) -> Tensor:
        """[..., out, H', W', B]."""
        height, width = (
            (side + 2 * padding - size) // stride + 1
            for side, padding, size, stride in zip(of.shape[-3:-1], self.padding, self.size, self.stride, strict=True)
        )
        return numbers.unflatten(-1, (height, width, -1))


def layers(network: nn.Module, names: list[str]) -> list[Any] | None:
    """The layers of a network with parameters of these names; None for one with a part that is not known here."""
    found: list[Any] = []
    flat = False
    for name, module in _parts("", network):
        if isinstance(module, POINTWISE):
            found.append(Pointwise(module))
        elif isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            if not flat:
                found.append(Flatten())
            flat = True
        elif isinstance(module, nn.MaxPool2d) and not flat and _is_plain_pool(module):
            found.append(MaxPool(_pair(module.kernel_size)[0]))
        elif isinstance(module, (nn.Linear, nn.Conv2d)) and f"{name}weight" in names:
            bias = names.index(f"{name}bias") if module.bias is not None else None
            places = names.index(f"{name}weight"), bias
            if isinstance(module, nn.Linear) and flat:
                found.append(Product(*places))
            elif isinstance(module, nn.Conv2d) and not flat and _is_plain_convolution(module):
                found.append(Convolution(*places, *map(_pair, (module.kernel_size, module.stride, module.padding))))
            else:
                return None
        else:
            return None
    return found if flat and any(isinstance(layer, Product) for layer in found) else None


def _parts(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """What a chain of chains consists of, each with the beginning of its parameters' names."""
    if type(module) is not nn.Sequential:
        return [(name, module)]
    # not `named_children`, which tells of a part that is there twice but once
    return [part for key, child in module._modules.items() for part in _parts(f"{name}{key}.", child)]


def _is_plain_pool(module: nn.MaxPool2d) -> bool:
    size, stride = _pair(module.kernel_size), _pair(module.stride)
    others = _pair(module.padding) == (0, 0), _pair(module.dilation) == (1, 1), not module.ceil_mode
    return size[0] == size[1] and size == stride and all(others) and not module.return_indices


def _is_plain_convolution(module: nn.Conv2d) -> bool:
    known = isinstance(module.padding, tuple) and module.padding_mode == "zeros"
    return known and module.groups == 1 and module.dilation == (1, 1)


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def plain(network: nn.Module, names: list[str]) -> list[nn.Module | tuple[int, int | None]] | None:
    """A network that begins with `Flatten` and goes on with functions of each number and linear layers, these as the
    places of their parameters among the names; None for any other."""
    known = layers(network, names)
    if known is None or not isinstance(known[0], Flatten):
        return None
    if any(not isinstance(layer, Pointwise) and type(layer) is not Product for layer in known[1:]):
        return None
    return [layer.module if isinstance(layer, Pointwise) else (layer.weight, layer.bias) for layer in known[1:]]
