"""Layers of plain networks, for numbers that lie features first and examples last: [..., F, B] or [..., C, H, W, B].

A layer with parameters takes numbers, weights and biases of m members, or the numbers that all of them share.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from esgrad.kernels.convolve import convolve, largest

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
        return largest(numbers, self.size)


@dataclass(frozen=True)
class Product:
    """A linear layer, whose parameters' places in the network's list are given."""

    weight: int
    bias: int | None

    def __call__(self, numbers: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[m, out, B] of numbers [m or 1, in, B], weights [m, out, in] and biases [m, out]."""
        numbers = numbers.expand(len(weight), -1, -1)
        return torch.bmm(weight, numbers) if bias is None else torch.baddbmm(bias[..., None], weight, numbers)


@dataclass(frozen=True)
class Convolution(Product):
    """A convolution of [m or 1, C, H, W, B]."""

    stride: tuple[int, int]
    padding: tuple[int, int]

    def __call__(self, numbers: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """[m, out, H', W', B] for weights [m, out, C, h, w]."""
        vertical, horizontal = self.padding
        padded = nn.functional.pad(numbers, (0, 0, horizontal, horizontal, vertical, vertical))
        return convolve(padded, weight, bias)[:, :, :: self.stride[0], :: self.stride[1]]


def layers(network: nn.Module, names: list[str]) -> list[Any] | None:
    """The layers of a network with parameters of these names; None for one with a part that is not known here."""
    found: list[Any] = []
    flat = False
    for name, module in _parts("", network):
        if not _is_as_its_class_has_it(module):
            return None
        if type(module) in POINTWISE:
            found.append(Pointwise(module))
        elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            if not flat:
                found.append(Flatten())
            flat = True
        elif type(module) is nn.MaxPool2d and not flat and _is_plain_pool(module):
            found.append(MaxPool(_pair(module.kernel_size)[0]))
        elif type(module) in (nn.Linear, nn.Conv2d) and (places := _places(name, module, names)):
            if type(module) is nn.Linear and flat:
                found.append(Product(*places))
            elif type(module) is nn.Conv2d and not flat and _is_plain_convolution(module):
                found.append(Convolution(*places, *map(_pair, (module.stride, module.padding))))
            else:
                return None
        else:
            return None
    if not flat or not any(isinstance(layer, Product) for layer in found):
        return None
    for at in range(len(found) - 1):  # the largest first: there are fewer numbers to be cut off then
        this, following = found[at : at + 2]
        if isinstance(this, Pointwise) and isinstance(this.module, nn.ReLU) and isinstance(following, MaxPool):
            found[at : at + 2] = following, this
    return found


def _parts(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """What a chain of chains consists of, each with the beginning of its parameters' names."""
    if type(module) is not nn.Sequential or not _is_as_its_class_has_it(module):
        return [(name, module)]
    # not `named_children`, which tells of a part that is there twice but once
    return [part for key, child in module._modules.items() for part in _parts(f"{name}{key}.", child)]


def _is_as_its_class_has_it(module: nn.Module) -> bool:
    """Whether nothing is hooked to it and no other `forward` is put in the place of its class's."""
    return not (module._forward_pre_hooks or module._forward_hooks or "forward" in vars(module))


def _places(name: str, module: nn.Module, names: list[str]) -> tuple[int, int | None] | None:
    """Those of a layer's weight and bias; None where it shares one with another layer, whose name that has."""
    own = [f"{name}{kind}" for kind, _ in module.named_parameters(recurse=False)]
    if not set(own) <= set(names) or f"{name}weight" not in own:
        return None
    return names.index(f"{name}weight"), names.index(f"{name}bias") if module.bias is not None else None


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
