"""R networks of one architecture run as one: plain torch modules, stacked by torch.func."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from esgrad.tasks.layers import plain


class Stack:
    """The parameters of R networks, each [R, ...], and the ways to run them."""

    def __init__(self, networks: Sequence[nn.Module], device: torch.device | str = "cpu") -> None:
        stacked, buffers = stack_module_state(list(networks))
        if buffers:
            raise ValueError(f"a network of a stack has parameters only, but this one has buffers: {sorted(buffers)}")
        self.network = networks[0].to(device)
        self.names = list(stacked)
        self.plain = plain(self.network, self.names)
        self.parameters = [tensor.detach().to(device).requires_grad_() for tensor in stacked.values()]

    def __call__(self, images: Tensor) -> Tensor:
        """Images [R, B, ...] to logits [R, B, D], the readings of an example side by side."""
        if self.plain is None:
            return vmap(self._one)(self.parameters, images).flatten(2)
        numbers = images.flatten(1, -4).flatten(2)  # [R, B·k, features]
        for module in self.plain:
            numbers = module(numbers) if isinstance(module, nn.Module) else self._linear(numbers, *module)
        return numbers.unflatten(1, images.shape[1:-3]).flatten(2)

    def _linear(self, numbers: Tensor, weight: int, bias: int | None) -> Tensor:
        """A linear layer's, [R, n, in] to [R, n, out], by the products and sums that `vmap` makes of it."""
        made = torch.bmm(numbers, self.parameters[weight].transpose(1, 2))
        return made if bias is None else made + self.parameters[bias][:, None]

    def chain(self, logits: Tensor, gradient: Tensor) -> list[Tensor]:
        """The chain rule: from a gradient at logits that this stack made, [R, B, D] both, to one at its parameters."""
        with torch.enable_grad():  # a sum, not `grad_outputs`, for which torch imports sympy: .4 s a process
            return list(torch.autograd.grad((logits * gradient).sum(), self.parameters))

    def flat(self) -> Tensor:
        """The parameters of each run as one vector, [R, d]; a matrix column by column, so that all weights of one input
        lie side by side."""
        return torch.cat([_turned(each.detach()).flatten(1) for each in self.parameters], 1)

    def unflatten(self, vectors: Tensor) -> list[Tensor]:
        """Vectors [..., d] as a list of parameters [..., shape]."""
        shapes = [_turned(each).shape[1:] for each in self.parameters]
        pieces = vectors.split([prod(shape) for shape in shapes], -1)
        turned = [piece.unflatten(-1, shape) for piece, shape in zip(pieces, shapes, strict=True)]
        return [
            piece.transpose(-1, -2) if each.dim() == 3 else piece
            for piece, each in zip(turned, self.parameters, strict=True)
        ]

    def _one(self, parameters: Sequence[Tensor], images: Tensor) -> Tensor:
        each = images.flatten(0, -4)  # [n, C, H, W]: a network sees images, one by one or side by side
        logits = functional_call(self.network, dict(zip(self.names, parameters, strict=True)), each)
        return logits.unflatten(0, images.shape[:-3])


def _turned(parameter: Tensor) -> Tensor:
    """[R, out, in] as [R, in, out]; anything else as it is."""
    return parameter.transpose(1, 2) if parameter.dim() == 3 else parameter


Build = Callable[[], nn.Module]


def initialised(build: Build, seed: int) -> nn.Module:
    """A network initialised by torch's own rules from a seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the CPU's alone
        return build()
