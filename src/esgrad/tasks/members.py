"""What networks around those of a stack make of a batch: at centre ± σz, whose parameters are never all in memory.

    x(W ± σE) = xW ± σ·xE

Up to the first layer with parameters all members see the same input. The first product is then made once a batch, the
second once for both signs of a direction and for every σ. In later layers each member has an input of its own, and
W ± σE is made, a layer at a time. Other networks than plain chains of layers are run by `torch.func.vmap`.

The shape of each product is that of one member, so that its bits do not depend on how many are made together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import prod, sqrt
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from esgrad.kernels.stepped import stepped
from esgrad.tasks.layers import Convolution, Product, layers
from esgrad.tasks.stack import Stack

TOGETHER = 16  # members whose products with a vector are made as one with a matrix
IMAGES = 128  # that go through convolutions at a time: what they make of a row stays in the cache
LARGE = 2**14  # weights of a first layer of which leaving out some pays

Moves = Sequence[Callable[[Tensor], Tensor]]


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


class Part:
    """Some images of the batch, up to the first layer with parameters: what all members of a run share."""

    def __init__(self, members: "Chains", images: Tensor) -> None:
        """`images` are [S, b, C, H, W]."""
        first, centre = members.first, members.centre
        numbers = images.movedim(1, -1)
        for layer in members.before:
            numbers = layer(numbers)
        self.numbers = numbers  # [S, in, b] or [S, C, H, W, b]
        bias = [None] * len(numbers) if first.bias is None else centre[first.bias]
        each = zip(numbers, centre[first.weight], bias, strict=True)
        self.base = torch.stack([first(x[None], weight, b) for x, weight, b in each])  # [S, G, out, ...]


class Chains(Members):
    """Networks that are chains of known layers."""

    def __init__(self, stack: Stack, images: Tensor, seeds: int, chain: list[Any]) -> None:
        super().__init__(stack, images, seeds)
        at = next(number for number, layer in enumerate(chain) if isinstance(layer, Product))
        self.before, self.first, self.later = chain[:at], chain[at], chain[at + 1 :]
        most = IMAGES if isinstance(self.first, Convolution) else self.images.shape[1]
        self.parts = [Part(self, images) for images in self.images.split(most, 1)]
        self.seen = self._seen()

    @property
    def numbers(self) -> int:
        """As above, known exactly."""
        return 2 * self.parts[0].base[0].numel()

    def _seen(self) -> list[tuple[Tensor, Tensor]] | None:
        """Of each seed the inputs that are not 0 in all of the batch, [1, inputs, B], and the blocks of their noise.

        None where leaving out the others cannot be, or would not pay. A third of MNIST's pixels are such.
        """
        low, (_, _, out, *others) = self.ends[self.first.weight], self.centre[self.first.weight].shape
        if len(others) != 1 or low % 4 or out % 4 or out * others[0] < LARGE:
            return None
        given = self.parts[0].numbers
        within = torch.arange(out // 4, device=given.device) + low // 4
        inputs = [each.abs().amax(1).nonzero() for each in given]  # [inputs, 1] each
        return [
            (numbers[None, which[:, 0]], (which * (out // 4) + within).flatten())
            for numbers, which in zip(given, inputs, strict=True)
        ]

    def of_images(self, directions: Directions, steps: Tensor, seeds: slice, members: slice) -> Tensor:
        first = self._first(directions, seeds)
        later = {
            place: self.stepped(place, directions, steps, seeds).flatten(0, 3)
            for layer in self.later
            if isinstance(layer, Product)
            for place in (layer.weight, layer.bias)
            if place is not None
        }
        each = [self._of_part(part, first, later, steps, seeds) for part in self.parts]
        return torch.cat(each, -2) if len(each) > 1 else each[0]

    def _of_part(self, part: Part, first: Moves, later: dict[int, Tensor], steps: Tensor, seeds: slice) -> Tensor:
        """Logits [s, G, n, steps, b, K]."""
        moved = torch.stack([move(x[None]) for move, x in zip(first, part.numbers[seeds], strict=True)])
        numbers = stepped(part.base[seeds], steps, moved)  # [s, G, n, steps, out, ...]
        lead = numbers.shape[:4]
        numbers = numbers.flatten(0, 3)
        for layer in self.later:
            if isinstance(layer, Product):
                numbers = layer(numbers, later[layer.weight], None if layer.bias is None else later[layer.bias])
            else:
                numbers = layer(numbers)
        return numbers.unflatten(0, lead).transpose(-1, -2)

    def _first(self, directions: Directions, seeds: slice) -> Moves:
        """Of each seed what the noise of the first layer with parameters makes of numbers [1, in, ...]."""
        bias = None if self.first.bias is None else self.noise(self.first.bias, directions)  # [s, n, out]
        if isinstance(directions, Factored) and not isinstance(self.first, Convolution):
            factors = directions.factors(self.first.weight)
            return [partial(_by_factors, a, b, e) for a, b, e in self._each(*factors, bias)]
        if self.seen is None:
            weight = self.noise(self.first.weight, directions)  # [s, n, out, ...]
            return [partial(self.first, weight=w, bias=e) for w, e in self._each(weight, bias)]
        out, moves = self.centre[self.first.weight].shape[2], []
        for number, (seen, blocks) in enumerate(self.seen[seeds]):
            weight = directions.blocks(number, blocks).unflatten(1, (-1, out)).transpose(1, 2)
            moved = self.first(seen, weight, None if bias is None else bias[number])
            moves.append(partial(_given, moved))
        return moves

    @staticmethod
    def _each(*parts: Tensor | None) -> Iterator[tuple[Any, ...]]:
        """Of each seed its own; None stays None."""
        count = next(len(part) for part in parts if part is not None)
        return zip(*([None] * count if part is None else part for part in parts), strict=True)


def _given(moved: Tensor, numbers: Tensor) -> Tensor:
    return moved


def _by_factors(a: Tensor, b: Tensor, bias: Tensor | None, numbers: Tensor) -> Tensor:
    """A (B x)/√r + e, [n, out, B], for A [n, out, r] and B [n, r, in].

    The products with B are made TOGETHER, as one by one they would only wait for x.
    """
    members, rank, inputs = b.shape
    padded = b.new_zeros(-(-members // TOGETHER) * TOGETHER, rank, inputs)
    padded[:members] = b
    groups = padded.view(-1, TOGETHER * rank, inputs)
    inner = torch.bmm(groups, numbers.expand(len(groups), -1, -1)).view(-1, rank, numbers.shape[-1])[:members]
    made = (a @ inner) / sqrt(rank) if rank > 1 else a * inner
    return made if bias is None else made.add_(bias[..., None])


def around(stack: Stack, images: Tensor, seeds: int, own_batches: bool = False) -> Members:
    """The members around a stack's networks, in the way that is fastest for these; arguments as of `AnyNetworks`."""
    chain = None if own_batches else layers(stack.network, stack.names)
    return AnyNetworks(stack, images, seeds, own_batches) if chain is None else Chains(stack, images, seeds, chain)
