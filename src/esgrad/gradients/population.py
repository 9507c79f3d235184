"""A population: N samples of noise at the parameters, asked some members at a time and summed without being kept.

Of mirrored samples both signs of a direction are asked together, and their weights are taken together,
Σ_n w_n s_n = Σ_i (w_{2i} − w_{2i+1}) z_i, so that no direction is drawn twice for one sum.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.kernels import parallel, streams
from esgrad.kernels.noise_sum import noise_sum
from esgrad.tasks.members import Directions

ROOM = 2**20  # numbers that some members may take at a time

Judge = Callable[[Directions, Tensor, slice], Tensor]
"""From n directions of some seeds, their steps ±σ [s, G, steps] and which seeds, to the fitness [s, G, n, steps]."""


@dataclass(frozen=True)
class Drawn:
    """Directions of some members of some seeds: normals, drawn where they are asked for."""

    key: Key
    members: slice
    device: torch.device

    def between(self, low: int, high: int) -> Tensor:
        """The coordinates low to high, [s, n, high − low]."""
        numbers = torch.arange(low // 4, -(-high // 4), device=self.device)
        return self._drawn(self.key.seeds, numbers)[..., low % 4 :][..., : high - low]

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        """Blocks of four coordinates of one seed, [n, 4·len(numbers)]."""
        return self._drawn([self.key.seeds[seed]], numbers)[0]

    def _drawn(self, seeds: Sequence[int], numbers: Tensor) -> Tensor:
        _, role, step, position = self.key
        place = self.members.start, self.members.stop, numbers
        return streams.blocks(seeds, role, step, *place, position=position, device=self.device)


class Population:
    """N samples around the parameters of R = S·G runs, with what was said of each: `credits.Asked` for plain noise."""

    def __init__(
        self, noise: Noise, num_samples: int, judge: Judge, size: int, point: Tensor, variance: Tensor, key: Key
    ) -> None:
        """`point` is [R, 1, d], `variance` [R]; `size`: numbers that a member of every run of a seed takes."""
        self.key, self.dimension, self.device = key, point.shape[-1], point.device
        self.sigma = variance.sqrt().view(len(key.seeds), -1)  # [S, G]
        self.signs = 2 if noise.PAIRS else 1
        self.num_directions = num_samples // self.signs
        steps = torch.stack([self.sigma, -self.sigma][: self.signs], -1)
        fitness = point.new_empty(*self.sigma.shape, self.num_directions, self.signs)

        def part(of: tuple[slice, slice]) -> None:
            seeds, members = of
            fitness[seeds, :, members] = judge(self._drawn(seeds, members), steps[seeds], seeds)

        parallel.each(part, self._parts(size))
        self.fitness = fitness.flatten(2).flatten(0, 1)[..., None]  # [R, N, 1]

    def norms(self) -> Tensor:
        """|z|² of every sample, [R, N, 1]."""
        found = self.sigma.new_empty(len(self.sigma), self.num_directions)
        for seeds, members in self._parts(self.dimension):
            found[seeds, members] = self._drawn(seeds, members).between(0, self.dimension).square().sum(-1)
        return found.repeat_interleave(self.signs, 1).repeat_interleave(self.sigma.shape[1], 0)[..., None]

    def total(self, weights: Tensor) -> Tensor:
        """(1/σ) Σ_n w_n z_n, [R, 1, d], for weights [R, N, 1]."""
        each = weights.view(*self.sigma.shape, self.num_directions, self.signs)
        of_direction = each[..., 0] - each[..., 1] if self.signs == 2 else each[..., 0]  # [S, G, directions]
        seeds, role, step, position = self.key
        summed = noise_sum(of_direction, seeds, role, step, self.dimension, position=position)
        return (summed / self.sigma[..., None]).flatten(0, 1)[:, None]

    def _drawn(self, seeds: slice, members: slice) -> Drawn:
        return Drawn(self.key._replace(seeds=self.key.seeds[seeds]), members, self.device)

    def _parts(self, size: int) -> Iterator[tuple[slice, slice]]:
        """Which seeds and which of their members are asked at a time."""
        seeds, members = len(self.sigma), min(self.num_directions, max(1, ROOM // size))
        together = max(1, ROOM // (size * members)) if members == self.num_directions else 1
        for seed in range(0, seeds, together):
            for first in range(0, self.num_directions, members):
                last = min(first + members, self.num_directions)
                yield slice(seed, min(seed + together, seeds)), slice(first, last)
