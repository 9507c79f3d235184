"""Where the directions of noise at the parameters come from, and their weighted sums: none are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod, sqrt
from typing import Protocol

import torch
from torch import Tensor

from esgrad.gradients.key import Key
from esgrad.kernels import streams
from esgrad.kernels.noise_sum import noise_sum
from esgrad.kernels.noise_table import Table, table_sum
from esgrad.tasks.members import Directions

TOGETHER = 256  # members whose factors are multiplied at a time


class Step(Protocol):
    """The noise of one step."""

    def drawn(self, seeds: slice, members: slice) -> Directions:
        """Directions of some members of some seeds, made where they are asked for."""

    def sum(self, weights: Tensor, square: bool) -> Tensor:
        """Σ_n w_n z_n [S, G, d], or Σ_n w_n (z_n² − 1), for weights [S, G, n]."""


class Source(Protocol):
    """Where directions come from."""

    @property
    def numbers(self) -> int:
        """Numbers that are made for a direction."""

    def at(self, key: Key, device: torch.device) -> Step:
        """The noise of a step."""


@dataclass(frozen=True)
class Full:
    """Each coordinate has a number of its own, or none: normals, or a table's."""

    dimension: int
    table: Table | None = None
    subset: float = 1.0
    """The share of the coordinates that a step perturbs, drawn anew in each."""

    @property
    def numbers(self) -> int:
        return self.dimension

    def at(self, key: Key, device: torch.device) -> "FullStep":
        return FullStep(self, key, device)


class FullStep:
    """A step of `Full`."""

    def __init__(self, source: Full, key: Key, device: torch.device) -> None:
        self.source, self.key, self.device = source, key, device
        self.mask = None if source.subset == 1.0 else self._mask()

    def drawn(self, seeds: slice, members: slice) -> "FullDrawn":
        return FullDrawn(self, seeds, members)

    def sum(self, weights: Tensor, square: bool) -> Tensor:
        seeds, role, step, position = self.key
        dimension, table = self.source.dimension, self.source.table
        if table is None:
            found = noise_sum(weights, seeds, role, step, dimension, position=position, square=square)
        else:
            offsets = table.offsets(seeds, role, step, 0, weights.shape[-1], dimension)
            found = table_sum(weights, offsets, table.numbers(), dimension, square=square)
        return found if self.mask is None else found * self.mask[:, None]

    def _mask(self) -> Tensor:
        """1 for the coordinates that are perturbed, else 0, [S, d]."""
        seeds, _, step, position = self.key
        place = 0, 1, 1, self.source.dimension
        drawn = streams.normals(seeds, streams.Role.SUBSET, step, *place, offset=position, device=self.device)[:, 0, 0]
        return (torch.special.ndtr(drawn) < self.source.subset).to(drawn.dtype)


@dataclass(frozen=True)
class FullDrawn:
    """Directions of `Full`."""

    step: FullStep
    seeds: slice
    members: slice

    def between(self, low: int, high: int) -> Tensor:
        numbers = torch.arange(low // 4, -(-high // 4), device=self.step.device)
        return self._blocks(self.seeds, numbers)[..., low % 4 :][..., : high - low]

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        seed += self.seeds.start
        return self._blocks(slice(seed, seed + 1), numbers)[0]

    def _blocks(self, seeds: slice, numbers: Tensor) -> Tensor:
        of, role, step, position = self.step.key
        start, stop, dimension = self.members.start, self.members.stop, self.step.source.dimension
        if (table := self.step.source.table) is None:
            place = start, stop, numbers
            found = streams.blocks(of[seeds], role, step, *place, position=position, device=self.step.device)
        else:
            offsets = table.offsets(of[seeds], role, step, start, stop, dimension)
            found = table.numbers()[offsets[..., None] + coordinates(numbers, dimension)]
        if self.step.mask is not None:
            found = found * self.step.mask[seeds, None][..., coordinates(numbers, dimension)]
        return found


def coordinates(numbers: Tensor, dimension: int) -> Tensor:
    """Those of some blocks; the last coordinate stands for those that the last block lacks."""
    return (4 * numbers[:, None] + torch.arange(4, device=numbers.device)).flatten().clamp(max=dimension - 1)


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
        shape, total = (
            self.source.shapes[number],
            weights.new_zeros(*weights.shape[:2], prod(self.source.shapes[number])),
        )
        for first in range(0, weights.shape[-1], TOGETHER):
            some = slice(first, min(first + TOGETHER, weights.shape[-1]))
            drawn, each = self.drawn(slice(0, len(weights)), some), weights[..., some]
            if len(shape) == 1:
                total += each @ drawn.numbers(number)
                continue
            a, b = drawn.factors(number)  # [S, n, out, r], [S, n, r, in]
            left, right = a.transpose(1, 2).flatten(2), b.flatten(1, 2)  # [S, out, n·r], [S, n·r, in]
            weighed = each.repeat_interleave(self.source.rank, -1)[:, :, None] * left[:, None]  # [S, G, out, n·r]
            made = weighed @ right[:, None] / sqrt(self.source.rank)  # [S, G, out, in]
            total += (made.transpose(-1, -2) if len(shape) == 2 else made).flatten(2)
        return total


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
