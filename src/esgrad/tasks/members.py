"""What networks around those of a stack make of a batch: at centre ± σz, whose parameters are never all in memory.

    x(W ± σE) = xW ± σ·xE

Up to the first layer with parameters all members see the same input. The first product is then made once a batch, the
second once for both signs of a direction and for every σ. In later layers each member has an input of its own, and
W ± σE is made, a layer at a time. Other networks than plain chains of layers are run by `torch.func.vmap`.

The shape of each product is that of one member, so that its bits do not depend on how many are made together.
"""

from dataclasses import dataclass
from itertools import accumulate
from math import prod, sqrt
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from esgrad.kernels.stepped import stepped
from esgrad.tasks.layers import Product, layers
from esgrad.tasks.stack import Stack

TOGETHER = 16  # members whose products with a vector are made as one with a matrix
LARGE = 2**14  # weights of a first layer of which leaving out some pays


@runtime_checkable
class Factored(Protocol):
    """Directions that know the factors A·B/√r of each matrix."""

    def factors(self, number: int) -> tuple[Tensor, Tensor]:
        """A [s, n, out, r] and B [s, n, r, in] of one of the parameters."""

    def parameter(self, number: int) -> Tensor:
        """The directions of one of the parameters, [s, n, ...]."""


class Directions(Protocol):
    """Directions z of n members of s seeds, [s, n, d], as `Stack.flat` lays parameters out."""

    def between(self, low: int, high: int) -> Tensor:
        """The coordinates low to high, [s, n, high − low]."""

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        """Blocks of four coordinates of one seed, [n, 4·len(numbers)]."""


@dataclass(frozen=True)
class Given:
    """Directions that are there, [s, n, d]."""

    directions: Tensor

    def between(self, low: int, high: int) -> Tensor:
        return self.directions[..., low:high]

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        index = (4 * numbers[:, None] + torch.arange(4, device=numbers.device)).flatten()
        return self.directions[seed][:, index]


class Members:
    """The networks around those of a stack of R = S·G runs, at a batch of images for each of S seeds."""

    def __init__(self, stack: Stack, images: Tensor, seeds: int) -> None:
        """`images` [R, B, ...] are the same for all runs of a seed."""
        self.stack = stack
        self.centre = [each.detach().unflatten(0, (seeds, -1)) for each in stack.parameters]  # [S, G, ...]
        self.ends = list(accumulate((prod(each.shape[2:]) for each in self.centre), initial=0))
        of_seeds = images.unflatten(0, (seeds, -1))[:, 0]  # [S, B, (k,) C, H, W]
        self.shape = of_seeds.shape[1:-3]
        self.images = of_seeds.flatten(1, -4)  # [S, B·k, C, H, W]

    def logits(self, directions: Directions, steps: Tensor, seeds: slice, members: slice) -> Tensor:
        """Those of the networks at centre + step·direction, for n directions of some seeds and for steps such as σ and
        −σ, [s, G, steps]: [s, G, n, steps, B, D]. `members` says which directions these are of all."""
        each = self.of_images(directions, steps, seeds, members)
        return each.unflatten(-2, self.shape).flatten(5)  # of [s, G, n, steps, B·k, K]

    def of_images(self, directions: Directions, steps: Tensor, seeds: slice, members: slice) -> Tensor:
        """The same of each image that an example consists of, [s, G, n, steps, B·k, K]."""
        raise NotImplementedError

    @property
    def numbers(self) -> int:
        """Roughly how many numbers a member of every run of a seed makes of its input, with both signs."""
        widest = max(prod(each.shape[2:3]) for each in self.centre) * prod(self.shape)
        return 2 * self.centre[0].shape[1] * widest

    def noise(self, parameter: int, directions: Directions) -> Tensor:
        """The directions of one of the parameters, [s, n, ...]."""
        if isinstance(directions, Factored):
            return directions.parameter(parameter)
        shape = self.centre[parameter].shape[2:]
        flat = directions.between(self.ends[parameter], self.ends[parameter + 1])
        return flat.unflatten(2, shape[::-1]).transpose(2, 3) if len(shape) == 2 else flat.unflatten(2, shape)

    def stepped(self, parameter: int, directions: Directions, steps: Tensor, seeds: slice) -> Tensor:
        """One of the parameters at all members, [s, G, n, steps, ...]."""
        return stepped(self.centre[parameter][seeds], steps, self.noise(parameter, directions))


class AnyNetworks(Members):
    """Networks of any kind, by vmap; and all where each direction has a batch of its own."""

    def __init__(self, stack: Stack, images: Tensor, seeds: int, own_batches: bool = False) -> None:
        """With batches of their own images are [R, directions, B, ...]."""
        self.own_batches = own_batches
        super().__init__(stack, images.flatten(1, 2) if own_batches else images, seeds)
        if own_batches:
            self.shape = (images.shape[2], *self.shape[1:])
            self.images = self.images.unflatten(1, (images.shape[1], -1))  # [S, directions, B·k, C, H, W]

    def of_images(self, directions: Directions, steps: Tensor, seeds: slice, members: slice) -> Tensor:
        at = [self.stepped(each, directions, steps, seeds) for each in range(len(self.centre))]
        shape = at[0].shape[:4]  # s, G, n, steps

        def one(parameters: list[Tensor], batch: Tensor) -> Tensor:
            return functional_call(self.stack.network, dict(zip(self.stack.names, parameters, strict=True)), batch)

        flat = [each.flatten(1, 3) for each in at]  # [s, G·n·steps, ...]
        images = self.images[seeds]
        if self.own_batches:
            images = images[:, None, members, None].expand(*shape, *images.shape[2:]).flatten(1, 3)
        of_seed = vmap(one, in_dims=(0, 0 if self.own_batches else None))
        return vmap(of_seed)(flat, images).unflatten(1, shape[1:])


class Chains(Members):
    """Networks that are chains of known layers."""

    def __init__(self, stack: Stack, images: Tensor, seeds: int, chain: list[Any]) -> None:
        super().__init__(stack, images, seeds)
        at = next(number for number, layer in enumerate(chain) if isinstance(layer, Product))
        self.first, self.later = chain[at], chain[at + 1 :]
        numbers = self.images.movedim(1, -1)
        for layer in chain[:at]:
            numbers = layer(numbers)
        self.given, self.columns = numbers, self.first.columns(numbers)  # [S, in, P]
        weight = self.centre[self.first.weight].flatten(3)  # [S, G, out, in]
        runs = self.columns.repeat_interleave(weight.shape[1], 0)
        self.base = (weight.flatten(0, 1) @ runs).unflatten(0, weight.shape[:2])  # [S, G, out, P]
        if self.first.bias is not None:
            self.base += self.centre[self.first.bias][..., None]
        self.seen = self._seen()

    def _seen(self) -> list[tuple[Tensor, Tensor]] | None:
        """Of each seed the inputs that are not 0 in all of the batch, [inputs, P], and the blocks of their noise.

        None where leaving out the others cannot be, or would not pay. A third of MNIST's pixels are such.
        """
        low, (_, _, out, *others) = self.ends[self.first.weight], self.centre[self.first.weight].shape
        if len(others) != 1 or low % 4 or out % 4 or out * others[0] < LARGE:
            return None
        within = torch.arange(out // 4, device=self.columns.device) + low // 4
        inputs = [each.abs().amax(1).nonzero() for each in self.columns]  # [inputs, 1] each
        return [
            (columns[which[:, 0]], (which * (out // 4) + within).flatten())
            for columns, which in zip(self.columns, inputs, strict=True)
        ]

    def of_images(self, directions: Directions, steps: Tensor, seeds: slice, members: slice) -> Tensor:
        moved = self._first_moves(directions, seeds)
        if self.first.bias is not None:
            moved += self.noise(self.first.bias, directions)[..., None]
        numbers = stepped(self.base[seeds], steps, moved)  # [s, G, n, steps, out, P]
        numbers = self.first.shaped(numbers, self.given)
        for layer in self.later:
            if not isinstance(layer, Product):
                numbers = layer(numbers)
                continue
            columns = layer.columns(numbers)
            weight, lead = self.stepped(layer.weight, directions, steps, seeds).flatten(5), columns.shape[:-2]
            product = weight.flatten(0, 3), columns.flatten(0, 3)
            if layer.bias is None:
                made = torch.bmm(*product)
            else:
                bias = self.stepped(layer.bias, directions, steps, seeds).flatten(0, 3)
                made = torch.baddbmm(bias[..., None], *product)
            numbers = layer.shaped(made.unflatten(0, lead), numbers)
        return numbers.transpose(-1, -2)

    def _first_moves(self, directions: Directions, seeds: slice) -> Tensor:
        """E x of the first layer with parameters, [s, n, out, P]."""
        if isinstance(directions, Factored):
            return self._factored_moves(directions, seeds)
        if self.seen is None:
            noise = self.noise(self.first.weight, directions).flatten(3)  # [s, n, out, in]
            pairs = list(zip(noise, self.columns[seeds], strict=True))
        else:
            out = self.base.shape[2]
            pairs = [
                (directions.blocks(number, blocks).unflatten(1, (-1, out)).transpose(1, 2), columns)
                for number, (columns, blocks) in enumerate(self.seen[seeds])
            ]
        return torch.stack([torch.bmm(each, columns.expand(len(each), -1, -1)) for each, columns in pairs])

    def _factored_moves(self, directions: Factored, seeds: slice) -> Tensor:
        """A (B x)/√r, the products with B by TOGETHER members, as one by one they would only wait for x."""
        a, b = directions.factors(self.first.weight)
        seeded, members, rank, inputs = b.shape
        padded = b.new_zeros(seeded, -(-members // TOGETHER) * TOGETHER, rank, inputs)
        padded[:, :members] = b
        groups = padded.view(seeded, -1, TOGETHER * rank, inputs)
        pairs = zip(groups, self.columns[seeds], strict=True)
        found = torch.stack([torch.bmm(each, x.expand(len(each), -1, -1)) for each, x in pairs])
        inner = found.view(seeded, -1, rank, self.columns.shape[-1])[:, :members]
        return (a @ inner) / sqrt(rank) if rank > 1 else a * inner


def around(stack: Stack, images: Tensor, seeds: int, own_batches: bool = False) -> Members:
    """The members around a stack's networks, in the way that is fastest for these; arguments as of `AnyNetworks`."""
    chain = None if own_batches else layers(stack.network, stack.names)
    return AnyNetworks(stack, images, seeds, own_batches) if chain is None else Chains(stack, images, seeds, chain)
