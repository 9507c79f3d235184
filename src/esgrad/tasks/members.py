"""What networks around those of a stack make of a batch: the members at centre ± σz, of any architecture."""

from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Protocol, TypeGuard

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from esgrad.kernels.stepped import stepped
from esgrad.tasks.stack import Stack


class Factored(Protocol):
    """Directions that know the factors A·B/√r of each matrix."""

    def factors(self, number: int) -> tuple[Tensor, Tensor]:
        """A [s, n, out, r] and B [s, n, r, in] of one of the parameters."""

    def parameter(self, number: int) -> Tensor:
        """The directions of one of the parameters, [s, n, ...]."""


def factored(directions: object) -> TypeGuard[Factored]:
    """Whether these are `Factored`; asked too often for a protocol's own check, which takes 10 µs."""
    return hasattr(directions, "factors")


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
        if factored(directions):
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
