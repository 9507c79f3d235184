"""The noise: a sample is credited with its own score, s = score(z) (the lecture's; Gaussian noise: s = z = q/σ).

All that can be done where the box computes on what the noise enters. Nothing larger than a chunk of samples is ever
whole in memory; what was drawn is kept for the sum where it fits and drawn again where it does not. Chunks are
multiples of the block that the sum adds up together and of the samples that the noise draws together, so they never
change a result.
"""

from collections.abc import Iterator
from math import lcm
from typing import Any

from esgrad.facts import Facts
from esgrad.key import Key
from esgrad.noises import Noise
from esgrad.types import Tensor

OF_CLASSES = False
CHUNK = 2**20  # numbers of a stack's perturbed points in memory at a time
KEEP = 2**26  # numbers of noise kept between asking and summing


class Asked:
    """N samples of noise around the point of R = S·G runs, and what was said of them."""

    def __init__(
        self,
        noise: Noise,
        num_samples: int,
        fitness: Any,
        point: Tensor,
        variance: Tensor,
        key: Key,
        chunk: int = CHUNK,
        keep: int = KEEP,
    ) -> None:
        import torch

        self.noise, self.num_samples, self.key, self.chunk = noise, num_samples, key, chunk
        self.shape, self.device = point.shape, point.device
        self.sigma = variance.sqrt().reshape(len(variance), -1)  # [R, M or 1]
        self.group = len(point) // len(key.seeds)
        self.keeps = len(key.seeds) * num_samples * point.shape[1] * point.shape[2] <= keep
        self.kept: dict[int, Tensor] = {}
        self.fitness: Tensor = torch.cat(list(self._said(fitness, point)), 1)  # [R, N, M]

    def norms(self) -> Tensor:
        """|score|² of every sample, [R, N, M], in the type of the fitness."""
        import torch

        norms = [(scores * scores).sum(-1) for _, _, scores in self._scores()]
        return torch.cat(norms, 1).to(self.fitness.dtype).repeat_interleave(self.group, 0)

    def total(self, weights: Tensor) -> Tensor:
        """(1/σ) Σ w·score, [R, M, D], for weights [R, N, M]."""
        from esgrad.kernels import weighted_sum

        grouped = weights.unflatten(0, (-1, self.group))  # [S, G, N, M]
        total = weights.new_zeros(*grouped.shape[:2], *self.shape[1:])
        for start, stop, scores in self._scores():
            weighted_sum.add(total, grouped[:, :, start:stop], scores)
        return total.flatten(0, 1) / self.sigma[..., None]

    def _said(self, fitness: Any, point: Tensor) -> Iterator[Tensor]:
        from esgrad.fitness import Points

        for start, stop in self._chunks():
            drawn = self._draw(start, stop)
            if self.keeps:
                self.kept[start] = drawn
            yield fitness(Points(point, self.sigma, drawn))

    def _scores(self) -> Iterator[tuple[int, int, Tensor]]:
        """The scores [S, n, M, D] of samples start to stop, a chunk at a time: kept or drawn again."""
        for start, stop in self._chunks():
            drawn = self.kept.get(start)
            yield start, stop, self.noise.score(self._draw(start, stop) if drawn is None else drawn)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        from esgrad.kernels import weighted_sum

        least, numbers = lcm(weighted_sum.BLOCK, self.noise.TOGETHER), self.shape.numel()
        size = max(1, self.chunk // (least * numbers)) * least
        for start in range(0, self.num_samples, size):
            yield start, min(start + size, self.num_samples)

    def _draw(self, start: int, stop: int) -> Tensor:
        from esgrad import streams

        _, positions, dimension = self.shape

        def normals(first: int, last: int) -> Tensor:
            return streams.normals(*self.key, first, last, positions, dimension, device=self.device)

        return self.noise.directions(normals, start, stop)  # [S, n, M, D]


ask = Asked


def draws(noise: Noise, num_samples: int, positions: int, dimension: int) -> float:
    """Random numbers drawn for N samples of M positions with D coordinates."""
    return noise.DRAWS_PER_SAMPLE * num_samples * positions * dimension


def refuses(noise: Noise, facts: Facts) -> str | None:
    """Nothing: any fitness will do."""
    return None
