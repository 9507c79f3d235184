"""The noise: a sample is credited with its own score, s = score(z) (the lecture's; Gaussian noise: s = z = q/σ).

All that can be done where the box computes on what the noise enters. Nothing larger than a chunk of samples is ever
whole in memory; what was drawn is kept for the sum where it fits and drawn again where it does not. Chunks are
multiples of the lanes of the sum (`esgrad.kernels.weighted_sum`) and of the samples that the noise draws together, so
they never change a result.
"""

from collections.abc import Iterator
from math import lcm
from typing import Any

from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

OF_CLASSES = False
CHUNK = 2**20  # numbers of a stack's perturbed points in memory at a time
KEEP = 2**26  # numbers of noise kept between asking and summing


class _Drawn:
    """Samples of noise around the point of R = S·G runs, a chunk at a time."""

    def __init__(self, noise: Noise, fitness: Any, point: Tensor, variance: Tensor, key: Key, chunk: int) -> None:
        self.noise, self.fitness_of, self.point, self.key, self.chunk = noise, fitness, point, key, chunk
        self.sigma = variance.sqrt().reshape(len(variance), -1)  # [R, M or 1]
        self.group = len(point) // len(key.seeds)

    def chunks(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Parts of the samples start to stop."""
        from esgrad.kernels.weighted_sum import LANES

        least = lcm(LANES, self.noise.TOGETHER)
        size = max(1, self.chunk // (least * self.point.numel())) * least
        while start < stop:
            end = min(start - start % size + size, stop)
            yield start, end
            start = end

    def directions(self, start: int, stop: int) -> Tensor:
        """z [S, n, M, D] of the samples start to stop."""
        from esgrad.kernels import streams

        (_, positions, dimension), device = self.point.shape, self.point.device
        seeds, role, step, offset = self.key

        def normals(first: int, last: int) -> Tensor:
            place = first, last, positions, dimension
            return streams.normals(seeds, role, step, *place, offset=offset, device=device)

        return self.noise.directions(normals, start, stop)

    def said(self, directions: Tensor) -> Tensor:
        """The fitness [R, n, M]."""
        from esgrad.gradients.fitness import Points

        return self.fitness_of(Points(self.point, self.sigma, directions))

    def over_sigma(self, total: Tensor) -> Tensor:
        """Sums [R, M, D] over σ."""
        return total / self.sigma[..., None]


class Asked(_Drawn):
    """N samples with what was said of each."""

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

        super().__init__(noise, fitness, point, variance, key, chunk)
        self.num_samples = num_samples
        keeps = len(key.seeds) * num_samples * point.shape[1] * point.shape[2] <= keep
        self.kept: dict[int, Tensor] = {}
        said = []
        for start, stop in self.chunks(0, num_samples):
            drawn = self.directions(start, stop)
            if keeps:
                self.kept[start] = drawn
            said.append(self.said(drawn))
        self.fitness = torch.cat(said, 1)  # [R, N, M]

    def norms(self) -> Tensor:
        """|score|² of every sample, [R, N, M], in the type of the fitness."""
        import torch

        norms = [(scores * scores).sum(-1) for _, _, scores in self._scores()]
        return torch.cat(norms, 1).to(self.fitness.dtype).repeat_interleave(self.group, 0)

    def total(self, weights: Tensor) -> Tensor:
        """(1/σ) Σ w·score, [R, M, D], for weights [R, N, M]."""
        from esgrad.kernels import weighted_sum

        grouped = weights.unflatten(0, (-1, self.group))  # [S, G, N, M]
        total = None
        for start, stop, scores in self._scores():
            total = weighted_sum.lanes(grouped, scores) if total is None else total
            weighted_sum.add(total, grouped[:, :, start:stop], scores)
        assert total is not None
        return self.over_sigma(weighted_sum.fold(total).flatten(0, 1))

    def _scores(self) -> Iterator[tuple[int, int, Tensor]]:
        """The scores [S, n, M, D] of samples start to stop, a chunk at a time: kept or drawn again."""
        for start, stop in self.chunks(0, self.num_samples):
            drawn = self.kept.get(start)
            yield start, stop, self.noise.score(self.directions(start, stop) if drawn is None else drawn)


class Tally(_Drawn):
    """Hits and their scores' sum, and with `misses` that of all scores, while N grows by multiples of what the noise
    draws together."""

    def __init__(
        self,
        noise: Noise,
        fitness: Any,
        point: Tensor,
        variance: Tensor,
        key: Key,
        misses: bool,
        chunk: int = CHUNK,
    ) -> None:
        import torch

        super().__init__(noise, fitness, point, variance, key, chunk)
        self.num_samples, self.misses = 0, misses
        self.hits = torch.zeros(point.shape[:2], dtype=torch.float64, device=point.device)
        self.hit_sum: Any = None  # lanes [S, G, M, LANES, D], or one with their sum
        self.whole_sum: Tensor | None = None

    def grow(self, num_samples: int, active: Tensor | None = None, last: bool = False) -> None:
        """Ask on, up to N samples in all; at the positions active [M] alone where fitness and noise are the lecture's.
        With `last` these keep no lanes."""
        from esgrad.kernels.weighted_sum import LANES

        start, self.num_samples = self.num_samples, num_samples
        by_hits = self.noise.PLAIN and self.fitness_of.facts.is_hit
        if self.hit_sum is None:
            _, positions, dimension = self.point.shape
            size = (positions, 1 if by_hits and last else LANES, dimension)
            self.hit_sum = self.point.new_zeros((len(self.key.seeds), self.group, *size))
            self.whole_sum = self.point.new_zeros((len(self.key.seeds), 1, *size)) if self.misses else None
        if by_hits:
            self._grow_by_hits(start, active)
            return
        for first, end in self.chunks(start, num_samples):
            drawn = self.directions(first, end)
            said = self.said(drawn)
            self.hits += said.sum(1, dtype=self.hits.dtype)
            self._add(said.unflatten(0, (-1, self.group)), self.noise.score(drawn), first)

    def _grow_by_hits(self, start: int, active: Tensor | None) -> None:
        from esgrad.kernels import hits

        runs, positions, _ = self.point.shape
        each = self.point, self.fitness_of.targets.expand(runs, -1), self.sigma.expand(-1, positions), self.hits
        point, targets, sigma, counts = (tensor.unflatten(0, (-1, self.group)) for tensor in each)
        seeds, role, step, offset = self.key
        place = seeds, role, step, start, self.num_samples
        options: dict[str, Any] = {"offset": offset, "pairs": self.noise.PAIRS, "active": active}
        hits.add(self.hit_sum, counts, self.whole_sum, point, targets, sigma, *place, **options)

    def total(self, of_hit: Tensor, of_miss: Tensor) -> Tensor:
        """(1/σ) [(w₁ − w₀) Σ_hits s + w₀ Σ s], [R, M, D], for weights [R, M]."""
        from esgrad.kernels.weighted_sum import fold

        hits = fold(self.hit_sum).flatten(0, 1)  # [R, M, D]
        of_hit, of_miss = (weight.to(hits.dtype)[..., None] for weight in (of_hit, of_miss))
        if self.whole_sum is None:
            return self.over_sigma(of_hit * hits)
        whole = fold(self.whole_sum).expand(-1, self.group, -1, -1).flatten(0, 1)
        return self.over_sigma((of_hit - of_miss) * hits + of_miss * whole)

    def _add(self, said: Tensor, scores: Tensor, start: int) -> None:
        """A chunk's fitness [S, G, n, M] and scores [S, n, M, D], the first sample `start`."""
        import torch

        from esgrad.kernels import weighted_sum

        late = start % weighted_sum.LANES  # growth may stop within a round of the lanes: begin where it stopped
        if late:
            said = torch.nn.functional.pad(said, (0, 0, late, 0))
            scores = torch.nn.functional.pad(scores, (0, 0, 0, 0, late, 0))
        weighted_sum.add(self.hit_sum, said.to(scores.dtype), scores)
        if self.whole_sum is not None:
            weighted_sum.add(self.whole_sum, torch.ones_like(said[:, :1], dtype=scores.dtype), scores)


def ask(noise: Noise, num_samples: int, fitness: Any, point: Tensor, variance: Tensor, key: Key) -> "Asked":
    """Ask about N samples; where the fitness has a way of its own for plain noise and that of low rank, that way."""
    if (noise.PLAIN or noise.RANK) and hasattr(fitness, "population"):
        return fitness.population(noise, num_samples, variance, key)
    return Asked(noise, num_samples, fitness, point, variance, key)


tally = Tally


def draws(noise: Noise, num_samples: int, positions: int, dimension: int, readings: int) -> float:
    """Random numbers drawn for N samples of M positions: those of D coordinates."""
    return noise.DRAWS_PER_SAMPLE * num_samples * positions * dimension


def refuses(noise: Noise, facts: Facts) -> str | None:
    """Nothing: any fitness will do."""
    return None
