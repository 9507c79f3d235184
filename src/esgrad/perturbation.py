"""The noise of one step: drawn once for each distinct seed, shared by the runs that differ in t or learning rate only.

    gradient = (1/σ) Σ_n w_n s(z_n)        around() gives the points x + σz_n to judge, weighted_sum() the gradient

with s the noise's score; s(z) = z where it is Gaussian, and then (1/t) Σ w_n q_n, as q = σz and t = σ².

Nothing larger than a chunk of samples is ever whole in memory; what was drawn is kept for the sum where it fits and
drawn again where it does not. Chunks end where neither the sum's fixed order (kernels/weighted_sum.py) nor what the
noise draws together notices.
"""

from collections.abc import Iterator, Sequence
from math import lcm
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
        variance: Tensor,  # [R] or, a position's own, [R, M]
        chunk: int = CHUNK,
        keep: int = KEEP,
    ) -> None:
        self.noise, self.seeds, self.role, self.step = noise, list(seeds), role, step
        self.num_samples, self.chunk, self.keep = num_samples, chunk, keep
        sigma = variance.sqrt().reshape(len(variance), -1)  # [R, M or 1]
        self.sigma = sigma.view(len(self.seeds), -1, 1, sigma.shape[1], 1)  # [S, G, 1, M or 1, 1]
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

    def gradient(self, shaping: ModuleType, fitness: Tensor, dimension: int) -> Tensor:
        """The estimate [R, M, D] that a shaping makes of the fitness [R, N, M] of the points of `around`."""
        norms = (self._square_norms(fitness, dimension),) if shaping.NEEDS_NORMS else ()
        return self.weighted_sum(shaping.weights(fitness, *norms), dimension)

    def weighted_sum(self, weights: Tensor, dimension: int) -> Tensor:
        """(1/σ) Σ w·score, [R, M, D], for weights [R, N, M]."""
        runs, _, positions = weights.shape
        seeds, group = self.sigma.shape[:2]
        grouped = weights.view(seeds, group, -1, positions)
        total = weights.new_zeros(seeds, group, positions, dimension)
        for start, stop, scores in self._scores(runs, positions, dimension, weights.device):
            weighted_sum.add(total, grouped[:, :, start:stop], scores)
        return (total / self.sigma[:, :, 0]).flatten(0, 1)

    def _square_norms(self, fitness: Tensor, dimension: int) -> Tensor:
        """|score|² of every sample, [R, N, M], in the type of the fitness [R, N, M]."""
        runs, _, positions = fitness.shape
        norms = [(scores * scores).sum(-1) for _, _, scores in self._scores(runs, positions, dimension, fitness.device)]
        return torch.cat(norms, 1).to(fitness.dtype).repeat_interleave(self.sigma.shape[1], 0)

    def _scores(
        self, runs: int, positions: int, dimension: int, device: torch.device
    ) -> Iterator[tuple[int, int, Tensor]]:
        """The scores [S, n, M, D] of samples start to stop, a chunk at a time: kept or drawn again."""
        for start, stop in self._chunks(runs * positions * dimension):
            drawn = self.kept.get(start)
            if drawn is None:
                drawn = self._draw(start, stop, positions, dimension, device)
            yield start, stop, self.noise.score(drawn)

    def _chunks(self, numbers_per_sample: int) -> Iterator[tuple[int, int]]:
        least = lcm(weighted_sum.BLOCK, self.noise.TOGETHER)
        size = max(1, self.chunk // (least * numbers_per_sample)) * least
        for start in range(0, self.num_samples, size):
            yield start, min(start + size, self.num_samples)

    def _draw(self, start: int, stop: int, positions: int, dimension: int, device: torch.device) -> Tensor:
        def normals(first: int, last: int) -> Tensor:
            return streams.normals(self.seeds, self.role, self.step, first, last, positions, dimension, device=device)

        return self.noise.directions(normals, start, stop)  # [S, n, M, D]
