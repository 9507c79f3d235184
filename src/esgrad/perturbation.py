"""The noise of one step: drawn once for each distinct seed, shared by the runs that differ in t or learning rate only.

    gradient = (1/t) Σ_n w_n q_n        around() gives the points x + q_n to judge, weighted_sum() the gradient

Nothing larger than a chunk of samples is ever whole in memory; what was drawn is kept for the sum where it fits and
drawn again where it does not. Chunks end where the sum's fixed order does not notice (kernels/weighted_sum.py).
"""

from collections.abc import Iterator, Sequence
from types import ModuleType

import torch
from torch import Tensor

from esgrad import streams
from esgrad.kernels import weighted_sum

CHUNK = 2**20  # numbers of a stack's perturbed points in memory at a time
KEEP = 2**26  # numbers of noise kept between around() and weighted_sum()


class Perturbation:
    """N directions around a point, for R = S·G runs: S distinct seeds, G runs of each, seed by seed."""

    def __init__(
        self,
        noise: ModuleType,
        seeds: Sequence[int],
        role: streams.Role,
        step: int,
        num_samples: int,
        variance: Tensor,  # [R]
        chunk: int = CHUNK,
        keep: int = KEEP,
    ) -> None:
        self.noise, self.seeds, self.role, self.step = noise, list(seeds), role, step
        self.num_samples, self.chunk, self.keep = num_samples, chunk, keep
        self.sigma = variance.sqrt().view(len(self.seeds), -1, 1, 1, 1)  # [S, G, 1, 1, 1]
        self.kept: dict[int, Tensor] = {}

    def around(self, point: Tensor) -> Iterator[Tensor]:
        """The perturbed points x + q, [R, n, M, D] a chunk, in the order of the samples; `point` [R, M, D]."""
        seeds, group = self.sigma.shape[:2]
        runs, positions, dimension = point.shape
        keep = seeds * self.num_samples * positions * dimension <= self.keep
        centre = point.view(seeds, group, 1, positions, dimension)
        for start, stop in self._chunks(runs * positions * dimension):
            drawn = self._draw(start, stop, positions, dimension, point.device)
            if keep:
                self.kept[start] = drawn
            yield torch.addcmul(centre, self.sigma, drawn[:, None]).flatten(0, 1)

    def weighted_sum(self, weights: Tensor, dimension: int) -> Tensor:
        """(1/t) Σ w·q, [R, M, D], for weights [R, N, M]."""
        runs, _, positions = weights.shape
        seeds, group = self.sigma.shape[:2]
        grouped = weights.view(seeds, group, -1, positions)
        total = weights.new_zeros(seeds, group, positions, dimension)
        for start, stop in self._chunks(runs * positions * dimension):
            drawn = self.kept.get(start)
            if drawn is None:
                drawn = self._draw(start, stop, positions, dimension, weights.device)
            weighted_sum.add(total, grouped[:, :, start:stop], drawn)
        return (total / self.sigma[:, :, 0]).flatten(0, 1)

    def _chunks(self, numbers_per_sample: int) -> Iterator[tuple[int, int]]:
        size = max(1, self.chunk // (weighted_sum.BLOCK * numbers_per_sample)) * weighted_sum.BLOCK
        for start in range(0, self.num_samples, size):
            yield start, min(start + size, self.num_samples)

    def _draw(self, start: int, stop: int, positions: int, dimension: int, device: torch.device) -> Tensor:
        def normals(first: int, last: int) -> Tensor:
            return streams.normals(self.seeds, self.role, self.step, first, last, positions, dimension, device=device)

        return self.noise.directions(normals, start, stop)  # [S, n, M, D]
