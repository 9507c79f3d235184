"""Where the directions of noise at the parameters come from, and their weighted sums: none are kept."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from esgrad.gradients.key import Key
from esgrad.kernels import streams
from esgrad.kernels.noise_sum import noise_sum
from esgrad.kernels.noise_table import Table, table_sum
from esgrad.tasks.members import Directions


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
            found = table_sum(weights.cpu(), offsets, table.numbers(), dimension, square=square).to(self.device)
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
            here = offsets[..., None] + coordinates(numbers, dimension).cpu()
            found = table.numbers()[here].to(self.step.device)
        if self.step.mask is not None:
            found = found * self.step.mask[seeds, None][..., coordinates(numbers, dimension)]
        return found


def coordinates(numbers: Tensor, dimension: int) -> Tensor:
    """Those of some blocks; the last coordinate stands for those that the last block lacks."""
    return (4 * numbers[:, None] + torch.arange(4, device=numbers.device)).flatten().clamp(max=dimension - 1)
