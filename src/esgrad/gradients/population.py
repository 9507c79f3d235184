"""A population: N samples of noise at the parameters, asked some members at a time and summed without being kept.

Of mirrored samples both signs of a direction are asked together, and their weights are taken together,
Σ_n w_n s_n = Σ_i (w_{2i} − w_{2i+1}) z_i, so that no direction is drawn twice for one sum. Where several processes work
on a run, each asks some of the members; what they tell each other is fitness alone, as each knows the others' noise.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from esgrad.gradients.directions import Source, coordinates
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.kernels import parallel, processes
from esgrad.tasks.members import Directions

ROOM = 2**21  # numbers that some members may take at a time

Judge = Callable[[Directions, Tensor, slice, slice], Tensor]
"""From directions of some seeds, their steps ±σ [s, G, steps], which seeds and which members, to the fitness
[s, G, n, steps]."""


class Scaled:
    """Directions with a factor for each coordinate, of runs that share no σ: [R, n, d] of as many seeds."""

    def __init__(self, directions: Directions, sigma: Tensor) -> None:
        """`sigma` is [s, G, d]."""
        self.directions, self.sigma, self.group = directions, sigma.flatten(0, 1), sigma.shape[1]

    def between(self, low: int, high: int) -> Tensor:
        each = self.directions.between(low, high).repeat_interleave(self.group, 0)
        return each * self.sigma[:, None, low:high]

    def blocks(self, seed: int, numbers: Tensor) -> Tensor:
        sigma = self.sigma[seed, coordinates(numbers, self.sigma.shape[-1])]
        return self.directions.blocks(seed // self.group, numbers) * sigma


class Population:
    """N samples around the parameters of R = S·G runs, with what was said of each (`credits.Asked`)."""

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
        self.step, self.dimension = source.at(key, point.device), point.shape[-1]
        self.sigma = variance.sqrt().view(len(key.seeds), -1, *variance.shape[2:])  # [S, G] or [S, G, d]
        self.signs = 2 if noise.PAIRS else 1
        self.num_directions = num_samples // self.signs
        fitness = point.new_zeros(*self.sigma.shape[:2], self.num_directions, self.signs)

        def part(of: tuple[slice, slice]) -> None:
            seeds, members = of
            fitness[seeds, :, members] = self._asked(judge, seeds, members)

        parallel.each(part, self._parts(size, processes.share(self.num_directions)))
        self.fitness = processes.shared(fitness).flatten(2).flatten(0, 1)[..., None]  # [R, N, 1]

    def norms(self) -> Tensor:
        """|z|² of every sample, [R, N, 1]."""
        found = self.sigma.new_empty(len(self.sigma), self.num_directions)
        for seeds, members in self._parts(self.dimension, slice(0, self.num_directions)):
            found[seeds, members] = self.step.drawn(seeds, members).between(0, self.dimension).square().sum(-1)
        return found.repeat_interleave(self.signs, 1).repeat_interleave(self.sigma.shape[1], 0)[..., None]

    def total(self, weights: Tensor) -> Tensor:
        """(1/σ) Σ_n w_n z_n, [R, 1, d], for weights [R, N, 1]."""
        each = self._of_directions(weights)
        summed = self.step.sum(each[..., 0] - each[..., 1] if self.signs == 2 else each[..., 0], square=False)
        sigma = self.sigma if self.sigma.dim() == 3 else self.sigma[..., None]
        return (summed / sigma).flatten(0, 1)[:, None]

    def log_sigma(self, weights: Tensor) -> Tensor:
        """Σ_n w_n (z_n² − 1), [R, 1, d], for weights [R, N, 1]: what is estimated for ln σ."""
        summed = self.step.sum(self._of_directions(weights).sum(-1), square=True)
        return summed.flatten(0, 1)[:, None]

    def _of_directions(self, weights: Tensor) -> Tensor:
        """[S, G, directions, signs]."""
        return weights.view(*self.sigma.shape[:2], self.num_directions, self.signs)

    def _asked(self, judge: Judge, seeds: slice, members: slice) -> Tensor:
        """The fitness of some members of some seeds, [s, G, n, signs]."""
        drawn, sigma = self.step.drawn(seeds, members), self.sigma[seeds]
        if sigma.dim() == 2:
            return judge(drawn, torch.stack([sigma, -sigma][: self.signs], -1), seeds, members)
        group = sigma.shape[1]  # no σ is shared: each run is a seed of its own
        steps = sigma.new_tensor([1.0, -1.0][: self.signs]).expand(len(sigma) * group, 1, -1)
        runs = slice(seeds.start * group, seeds.stop * group)
        return judge(Scaled(drawn, sigma), steps, runs, members).view(len(sigma), group, -1, self.signs)

    def _parts(self, size: int, of: slice) -> Iterator[tuple[slice, slice]]:
        """Which seeds and which of some members are asked at a time."""
        count, seeds = of.stop - of.start, len(self.sigma)
        members = max(1, min(count, ROOM // size))
        together = max(1, ROOM // (size * members)) if members == count else 1
        for seed in range(0, seeds, together):
            for first in range(of.start, of.stop, members):
                yield slice(seed, min(seed + together, seeds)), slice(first, min(first + members, of.stop))
