"""R networks of one architecture run as one: plain torch modules, stacked by torch.func."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from esgrad.tasks.layers import plain

Pull = Callable[[Tensor], list[Tensor]]
"""From a gradient at logits [R, B, D] to one at each parameter."""


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
        return self._through(images)[-1].unflatten(1, images.shape[1:-3]).flatten(2)

    def _through(self, images: Tensor) -> list[Tensor]:
        """What each module of a plain perceptron is given, [R, B·k, features], and last what comes out."""
        numbers = [images.flatten(1, -4).flatten(2)]
        for module in self.plain or ():
            given = numbers[-1]
            numbers.append(module(given) if isinstance(module, nn.Module) else self._linear(given, *module))
        return numbers

    def _linear(self, numbers: Tensor, weight: int, bias: int | None) -> Tensor:
        """A linear layer's, [R, n, in] to [R, n, out], by the products and sums that `vmap` makes of it."""
        made = torch.bmm(numbers, self.parameters[weight].transpose(1, 2))
        return made if bias is None else made + self.parameters[bias][:, None]

    def vjp(self, images: Tensor) -> tuple[Tensor, Pull]:
        """Logits [R, B, D], and the chain rule from a gradient at them to one at each parameter.

        For plain perceptrons of ReLU the rule is written out, in autograd's own products and sums, to the same bits.
        """
        if self.plain is None or any(
            isinstance(module, nn.Module) and type(module) is not nn.ReLU for module in self.plain
        ):
            logits = self(images)
            return logits, partial(self.chain, logits)
        with torch.no_grad():
            numbers = self._through(images)
        return numbers[-1].unflatten(1, images.shape[1:-3]).flatten(2), partial(self._pulled, numbers)

    def _pulled(self, inputs: list[Tensor], gradient: Tensor) -> list[Tensor]:
        """The gradients at the parameters of a plain perceptron; `inputs` as of `_through`."""
        found: dict[int, Tensor] = {}
        gradient = gradient.reshape(inputs[-1].shape)
        with torch.no_grad():
            for at, module in reversed(list(enumerate(self.plain or ()))):
                if isinstance(module, nn.Module):
                    gradient = torch.ops.aten.threshold_backward(gradient, inputs[at + 1], 0)
                    continue
                weight, bias = module
                found[weight] = torch.bmm(inputs[at].transpose(1, 2), gradient).transpose(1, 2)
                if bias is not None:
                    found[bias] = gradient.sum(1)
                if at > 0:
                    gradient = torch.bmm(gradient, self.parameters[weight])
        return [found[each] for each in range(len(self.parameters))]

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
