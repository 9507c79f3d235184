"""A population: N samples of noise at the parameters, asked some members at a time and summed without being kept.

Of mirrored samples both signs of a direction are asked together, and their weights are taken together,
Σ_n w_n s_n = Σ_i (w_{2i} − w_{2i+1}) z_i, so that no direction is drawn twice for one sum. Where several processes work
on a run, each asks some of the members; what they tell each other is fitness alone, as each knows the others' noise.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.kernels import parallel, processes, streams
from esgrad.kernels.noise_sum import noise_sum
from esgrad.kernels.noise_table import Table, table_sum
from esgrad.tasks.members import Directions

ROOM = 2**20  # numbers that some members may take at a time

Judge = Callable[[Directions, Tensor, slice, slice], Tensor]
"""From directions of some seeds, their steps ±σ [s, G, steps], which seeds and which members, to the fitness
[s, G, n, steps]."""


@dataclass(frozen=True)
class Source:
    """Where directions come from: normals of their own, or a table's; and which coordinates have any."""

    dimension: int
    table: Table | None = None
    subset: float = 1.0
    """The share of the coordinates that a step perturbs, drawn anew in each."""

    def mask(self, key: Key, device: torch.device) -> Tensor | None:
        """1 for the coordinates perturbed in a step, else 0, [S, d]."""
        if self.subset == 1.0:
            return None
        seeds, _, step, position = key
        place = 0, 1, 1, self.dimension
        drawn = streams.normals(seeds, streams.Role.SUBSET, step, *place, offset=position, device=device)[:, 0, 0]
        return (torch.special.ndtr(drawn) < self.subset).to(drawn.dtype)

    def sum(self, weights: Tensor, key: Key, square: bool) -> Tensor:
        """Σ_n w_n z_n [S, G, d], or Σ_n w_n (z_n² − 1), for weights [S, G, n]."""
        seeds, role, step, position = key
        if self.table is None:
            found = noise_sum(weights, seeds, role, step, self.dimension, position=position, square=square)
        else:
            offsets = self.table.offsets(seeds, role, step, 0, weights.shape[-1], self.dimension)
            found = table_sum(weights, offsets, self.table.numbers(), self.dimension, square=square)
        mask = self.mask(key, weights.device)
        return found if mask is None else found * mask[:, None]


@dataclass(frozen=True)
class Drawn:
    """Directions of some members of some seeds, drawn where they are asked for."""

    source: Source
    key: Key
    members: slice
    mask: Tensor | None
    device: torch.device

    def between(self, low: int, high: int) -> Tensor:
        """The coordinates low to high, [s, n, high − low]."""
        numbers = torch.arange(low // 4, -(-high // 4), device=self.device)
        return self._blocks(slice(None), numbers)[..., low % 4 :][..., : high - low]

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        """Blocks of four coordinates of one seed, [n, 4·len(numbers)]."""
        return self._blocks(slice(seed, seed + 1), numbers)[0]

    def _blocks(self, seeds: slice, numbers: Tensor) -> Tensor:
        of, role, step, position = self.key
        start, stop = self.members.start, self.members.stop
        if self.source.table is None:
            place = start, stop, numbers
            found = streams.blocks(of[seeds], role, step, *place, position=position, device=self.device)
        else:
            coordinates = _coordinates(numbers, self.source.dimension)
            offsets = self.source.table.offsets(of[seeds], role, step, start, stop, self.source.dimension)
            found = self.source.table.numbers()[offsets[..., None] + coordinates]
        if self.mask is not None:
            found = found * self.mask[seeds, None][..., _coordinates(numbers, self.source.dimension)]
        return found


def _coordinates(numbers: Tensor, dimension: int) -> Tensor:
    """Those of some blocks; the last coordinate stands for those that the last block lacks."""
    return (4 * numbers[:, None] + torch.arange(4, device=numbers.device)).flatten().clamp(max=dimension - 1)


class Scaled:
    """Directions with a factor for each coordinate, of runs that share no σ: [R, n, d] of as many seeds."""

    def __init__(self, directions: Drawn, sigma: Tensor) -> None:
        """`sigma` is [s, G, d]."""
        self.directions, self.sigma, self.group = directions, sigma.flatten(0, 1), sigma.shape[1]

    def between(self, low: int, high: int) -> Tensor:
        each = self.directions.between(low, high).repeat_interleave(self.group, 0)
        return each * self.sigma[:, None, low:high]

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        coordinates = _coordinates(numbers, self.sigma.shape[-1])
        return self.directions.blocks(seed // self.group, numbers) * self.sigma[seed, coordinates]


class Population:
    """N samples around the parameters of R = S·G runs, with what was said of each: `credits.Asked` for plain noise."""

    def __init__(
        self,
        noise: Noise,
        num_samples: int,
        judge: Judge,
        size: int,
        point: Tensor,
        variance: Tensor,
        key: Key,
        source: Source,
    ) -> None:
        """Ask about all samples.

        `point` is [R, 1, d], `variance` t, [R] or of each coordinate [R, 1, d]; `size` says how many numbers a member
        of every run of a seed takes.
        """
        self.key, self.source, self.device = key, source, point.device
        self.sigma = variance.sqrt().view(len(key.seeds), -1, *variance.shape[2:])  # [S, G] or [S, G, d]
        self.signs = 2 if noise.PAIRS else 1
        self.num_directions = num_samples // self.signs
        self.mask = source.mask(key, point.device)
        fitness = point.new_zeros(*self.sigma.shape[:2], self.num_directions, self.signs)

        def part(of: tuple[slice, slice]) -> None:
            seeds, members = of
            fitness[seeds, :, members] = self._asked(judge, seeds, members)

        parallel.each(part, self._parts(size, processes.share(self.num_directions)))
        self.fitness = processes.shared(fitness).flatten(2).flatten(0, 1)[..., None]  # [R, N, 1]

    def norms(self) -> Tensor:
        """|z|² of every sample, [R, N, 1]."""
        found = self.sigma.new_empty(len(self.sigma), self.num_directions)
        for seeds, members in self._parts(self.source.dimension, slice(0, self.num_directions)):
            found[seeds, members] = self._drawn(seeds, members).between(0, self.source.dimension).square().sum(-1)
        return found.repeat_interleave(self.signs, 1).repeat_interleave(self.sigma.shape[1], 0)[..., None]

    def total(self, weights: Tensor) -> Tensor:
        """(1/σ) Σ_n w_n z_n, [R, 1, d], for weights [R, N, 1]."""
        each = self._of_directions(weights)
        summed = self.source.sum(each[..., 0] - each[..., 1] if self.signs == 2 else each[..., 0], self.key, False)
        sigma = self.sigma if self.sigma.dim() == 3 else self.sigma[..., None]
        return (summed / sigma).flatten(0, 1)[:, None]

    def log_sigma(self, weights: Tensor) -> Tensor:
        """Σ_n w_n (z_n² − 1), [R, 1, d], for weights [R, N, 1]: what is estimated for ln σ."""
        summed = self.source.sum(self._of_directions(weights).sum(-1), self.key, True)
        return summed.flatten(0, 1)[:, None]

    def _of_directions(self, weights: Tensor) -> Tensor:
        """[S, G, directions, signs]."""
        return weights.view(*self.sigma.shape[:2], self.num_directions, self.signs)

    def _asked(self, judge: Judge, seeds: slice, members: slice) -> Tensor:
        """The fitness of some members of some seeds, [s, G, n, signs]."""
        drawn, sigma = self._drawn(seeds, members), self.sigma[seeds]
        if sigma.dim() == 2:
            return judge(drawn, torch.stack([sigma, -sigma][: self.signs], -1), seeds, members)
        group = sigma.shape[1]  # no σ is shared: each run is a seed of its own
        steps = sigma.new_tensor([1.0, -1.0][: self.signs]).expand(len(sigma) * group, 1, -1)
        runs = slice(seeds.start * group, seeds.stop * group)
        return judge(Scaled(drawn, sigma), steps, runs, members).view(len(sigma), group, -1, self.signs)

    def _drawn(self, seeds: slice, members: slice) -> Drawn:
        mask = None if self.mask is None else self.mask[seeds]
        return Drawn(self.source, self.key._replace(seeds=self.key.seeds[seeds]), members, mask, self.device)

    def _parts(self, size: int, of: slice) -> Iterator[tuple[slice, slice]]:
        """Which seeds and which of some members are asked at a time."""
        count, seeds = of.stop - of.start, len(self.sigma)
        members = max(1, min(count, ROOM // size))
        together = max(1, ROOM // (size * members)) if members == count else 1
        for seed in range(0, seeds, together):
            for first in range(of.start, of.stop, members):
                yield slice(seed, min(seed + together, seeds)), slice(first, min(first + members, of.stop))
