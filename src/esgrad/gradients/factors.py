"""Directions of low rank (EGGROLL, arXiv 2511.16652): each matrix is perturbed by the product of two factors.

A product with such a direction is two with its factors, and the weighted sum of all of them is one product.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod, sqrt

import torch
from torch import Tensor

from esgrad.gradients.directions import coordinates
from esgrad.gradients.key import Key
from esgrad.kernels import streams, weighted_sum

TOGETHER = 256  # members whose factors are multiplied at a time, a multiple of the sum's lanes


@dataclass(frozen=True)
class LowRank:
    """Each matrix [out, in] of the parameters is perturbed by A·B/√r, A [out, r] and B [r, in] standard normals.

    What is no matrix has numbers of its own.
    """

    shapes: tuple[tuple[int, ...], ...]
    rank: int

    @property
    def lengths(self) -> list[int]:
        """Numbers that are made for each of the parameters, in whole blocks."""
        each = [self.rank * (shape[0] + prod(shape[1:])) if len(shape) > 1 else prod(shape) for shape in self.shapes]
        return [-(-length // 4) * 4 for length in each]

    @property
    def numbers(self) -> int:
        return sum(self.lengths)

    def at(self, key: Key, device: torch.device) -> "LowRankStep":
        return LowRankStep(self, key, device)


class LowRankStep:
    """A step of `LowRank`."""

    def __init__(self, source: LowRank, key: Key, device: torch.device) -> None:
        self.source, self.key, self.device = source, key, device
        self.starts = list(accumulate(source.lengths, initial=0))

    def drawn(self, seeds: slice, members: slice) -> "LowRankDrawn":
        return LowRankDrawn(self, seeds, members)

    def sum(self, weights: Tensor, square: bool) -> Tensor:
        assert not square  # σ is learnt from plain noise alone
        parts = [self._sum(weights, number) for number in range(len(self.source.shapes))]
        return torch.cat(parts, -1)

    def _sum(self, weights: Tensor, number: int) -> Tensor:
        """Of one of the parameters, [S, G, ...] flat; a matrix [out, in] column by column, as `Stack.flat` has it."""
        shape = self.source.shapes[number]
        if len(shape) == 1:
            return self._sum_of_vectors(weights, number)
        total = weights.new_zeros(*weights.shape[:2], prod(shape))
        for some in _some(weights):
            drawn, each = self.drawn(slice(0, len(weights)), some), weights[..., some]
            a, b = drawn.factors(number)  # [S, n, out, r], [S, n, r, in]
            left, right = a.transpose(1, 2).flatten(2), b.flatten(1, 2)  # [S, out, n·r], [S, n·r, in]
            weighed = each.repeat_interleave(self.source.rank, -1)[:, :, None] * left[:, None]  # [S, G, out, n·r]
            made = weighed @ right[:, None] / sqrt(self.source.rank)  # [S, G, out, in]
            total += (made.transpose(-1, -2) if len(shape) == 2 else made).flatten(2)
        return total

    def _sum_of_vectors(self, weights: Tensor, number: int) -> Tensor:
        """Of one that is no matrix: a product of matrices would round with a view to how many runs there are."""
        total = weights.new_zeros(*weights.shape[:2], 1, weighted_sum.LANES, *self.source.shapes[number])
        for some in _some(weights):
            drawn = self.drawn(slice(0, len(weights)), some).numbers(number)
            weighted_sum.add(total, weights[..., some, None], drawn[:, :, None])
        return weighted_sum.fold(total)[:, :, 0]


def _some(weights: Tensor) -> Iterator[slice]:
    """Which samples of weights [S, G, n] are added at a time."""
    for first in range(0, weights.shape[-1], TOGETHER):
        yield slice(first, min(first + TOGETHER, weights.shape[-1]))


@dataclass(frozen=True)
class LowRankDrawn:
    """Directions of `LowRank`, which know their factors."""

    step: LowRankStep
    seeds: slice
    members: slice

    def numbers(self, number: int) -> Tensor:
        """What is drawn for one of the parameters, [s, n, numbers], without what fills its last block."""
        shape, rank = self.step.source.shapes[number], self.step.source.rank
        length = rank * (shape[0] + prod(shape[1:])) if len(shape) > 1 else prod(shape)
        start, of = self.step.starts[number], self.step.key
        blocks = torch.arange(start // 4, start // 4 + -(-length // 4), device=self.step.device)
        place = self.members.start, self.members.stop, blocks
        seeds: Sequence[int] = of.seeds[self.seeds]
        drawn = streams.blocks(seeds, of.role, of.step, *place, position=of.offset, device=self.step.device)
        return drawn[..., :length]

    def factors(self, number: int) -> tuple[Tensor, Tensor]:
        """A [s, n, out, r] and B [s, n, r, in] of a matrix."""
        shape, rank = self.step.source.shapes[number], self.step.source.rank
        a, b = self.numbers(number).split([shape[0] * rank, prod(shape[1:]) * rank], -1)
        return a.unflatten(-1, (shape[0], rank)), b.unflatten(-1, (rank, -1))

    def parameter(self, number: int) -> Tensor:
        """The directions of one of the parameters, [s, n, ...]."""
        shape = self.step.source.shapes[number]
        if len(shape) == 1:
            return self.numbers(number)
        a, b = self.factors(number)
        return ((a @ b) / sqrt(self.step.source.rank)).unflatten(-1, shape[1:])

    def between(self, low: int, high: int) -> Tensor:
        parts = [self.parameter(number) for number in range(len(self.step.source.shapes))]
        return torch.cat([(p.transpose(2, 3) if p.dim() == 4 else p).flatten(2) for p in parts], -1)[..., low:high]

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        whole = self.between(0, sum(map(prod, self.step.source.shapes)))
        return whole[seed][:, coordinates(numbers, whole.shape[-1])]
