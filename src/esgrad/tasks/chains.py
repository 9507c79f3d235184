"""Members whose networks are chains of known layers: their parameters are never all in memory.

    x(W ± σE) = xW ± σ·xE

Up to the first layer with parameters all members see the same input. The first product is then made once a batch, the
second once for both signs of a direction and for every σ. In later layers each member has an input of its own, and
W ± σE is made, a layer at a time.

The shape of each product is that of one member, so that its bits do not depend on how many are made together.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from esgrad.kernels.stepped import stepped
from esgrad.tasks.layers import Convolution, Product, layers
from esgrad.tasks.members import AnyNetworks, Directions, Members, factored
from esgrad.tasks.stack import Stack

TOGETHER = 16  # members whose products with a vector are made as one with a matrix
IMAGES = 128  # that go through convolutions at a time: what they make of a row stays in the cache
LARGE = 2**14  # weights of a first layer of which leaving out some pays

Moves = Sequence[Callable[[Tensor], Tensor]]
"""Of each seed what the noise of the first layer makes of an input."""


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
        each = [move(x[None]) for move, x in zip(first, part.numbers[seeds], strict=True)]
        moved = torch.stack(each) if len(each) > 1 else each[0][None]  # of one seed no copy is made
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
        if factored(directions) and not isinstance(self.first, Convolution):
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
