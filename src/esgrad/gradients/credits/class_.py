"""The class: a sample is credited with the mean of its noise's score given the class that the noise led to.

    s_n  =  E[score(z) | a_n]  =  σ ∇log π_a(l)  at a = a_n        Rao & Blackwell: never more variance, the same mean

With Gumbel noise this is REINFORCE on a softmax (Williams 1992). What the fitness does not see of the noise tells
nothing about it. The class is drawn from its probabilities by inversion (`esgrad.kernels.classes`), O(log K) a sample,
without K numbers of noise. These are other random numbers than the noise's, so arms credited with the noise and arms
credited with the class share no luck. Of several readings at a position each is drawn and credited by itself.
"""

from collections.abc import Iterator
from typing import Any

from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.types import ClassFitness, Tensor

OF_CLASSES = True
CHUNK = 2**22  # classes in memory at a time


class _Drawn:
    """Classes of the readings at the points of R runs, Q = M·k of K logits each, a chunk of samples at a time."""

    def __init__(self, noise: Noise, fitness: Any, point: Tensor, variance: Tensor, key: Key) -> None:
        from esgrad.kernels import classes
        from esgrad.kernels.streams import Role

        assert noise.CLASSES is not None
        self.fitness_of: ClassFitness = fitness
        self.point = point
        self.key = key._replace(role=key.role | Role.CLASSES)
        self.readings, logits = fitness.reading_shape(point.shape[-1])
        runs, positions, _ = point.shape
        sigma = variance.sqrt().reshape(runs, -1).expand(runs, positions)
        each = point.reshape(runs, positions * self.readings, logits)
        self.law = noise.CLASSES.of(each, sigma.repeat_interleave(self.readings, 1))
        self.cumulative = classes.weights(self.law.log_probability).cumsum(-1)  # [R, Q, K], exact
        self.probability = self.cumulative.diff(dim=-1, prepend=self.cumulative[..., :1] * 0)
        self.probability = self.probability / self.cumulative[..., -1:]

    def chunks(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The classes [R, n, Q] of the samples start to stop, and their fitness [R, n, M]."""
        import torch

        from esgrad.kernels import classes

        size = max(1, CHUNK // (2 * self.cumulative[..., 0].numel())) * 2
        seeds, role, step, offset = self.key
        while start < stop:
            first = start - start % 2  # two samples share a block of random numbers
            end = min(first + size, stop)
            numbers = seeds, role, step, first, end, offset * self.readings
            drawn = classes.draw(self.cumulative, *numbers)[:, start - first :]
            said = self.fitness_of.judge(drawn.unflatten(2, (-1, self.readings)))
            exact = said.is_floating_point() and torch.finfo(said.dtype).eps < torch.finfo(self.point.dtype).eps
            yield drawn, said if exact else said.to(self.point.dtype)
            start = end

    def sums(self) -> Tensor:
        """Empty sums over the classes, float64 [R, Q, K]."""
        import torch

        return torch.zeros_like(self.cumulative)

    def credited(self, sums: Tensor) -> Tensor:
        """Σ_a c_a v_a, [R, M, D] in the type of the point, for c [R, Q, K]."""
        return self.law.total(sums, self.probability).reshape(self.point.shape).to(self.point.dtype)


class Asked(_Drawn):
    """N samples with what was said of each."""

    def __init__(self, noise: Noise, num_samples: int, fitness: Any, point: Tensor, variance: Tensor, key: Key) -> None:
        import torch

        super().__init__(noise, fitness, point, variance, key)
        drawn, said = zip(*self.chunks(0, num_samples), strict=True)
        self.classes, self.fitness = torch.cat(drawn, 1), torch.cat(said, 1)

    def norms(self) -> Tensor:
        """|v|² of every sample, over its readings, [R, N, M]."""
        each = self.law.norms(self.probability)[:, None].expand(-1, self.classes.shape[1], -1, -1)
        found = each.gather(-1, self.classes[..., None])[..., 0].unflatten(2, (-1, self.readings))
        return found.sum(-1).to(self.fitness.dtype)

    def total(self, weights: Tensor) -> Tensor:
        """Σ_n w_n v_{a_n}, [R, M, D], for weights [R, N, M]."""
        from esgrad.kernels import classes

        sums = self.sums()
        classes.tally(sums, weights, self.classes)
        return self.credited(sums)


class Tally(_Drawn):
    """How often each class hit, and with `misses` how often it came, while N grows."""

    def __init__(self, noise: Noise, fitness: Any, point: Tensor, variance: Tensor, key: Key, misses: bool) -> None:
        import torch

        super().__init__(noise, fitness, point, variance, key)
        self.num_samples = 0
        self.hits = torch.zeros(point.shape[:2], dtype=torch.float64, device=point.device)
        self.hit_sum, self.whole_sum = self.sums(), self.sums() if misses else None

    def grow(self, num_samples: int, active: Tensor | None = None, last: bool = False) -> None:
        """Ask on, up to N samples in all."""
        import torch

        from esgrad.kernels import classes

        for drawn, said in self.chunks(self.num_samples, num_samples):
            self.hits += said.sum(1, dtype=self.hits.dtype)
            classes.tally(self.hit_sum, said, drawn)
            if self.whole_sum is not None:
                classes.tally(self.whole_sum, torch.ones_like(said), drawn)
        self.num_samples = num_samples

    def total(self, of_hit: Tensor, of_miss: Tensor) -> Tensor:
        """Σ_a [(w₁ − w₀) hits of a + w₀ samples of a] v_a, [R, M, D], for weights [R, M]."""
        hit, miss = (weight.double().repeat_interleave(self.readings, 1)[..., None] for weight in (of_hit, of_miss))
        sums = (hit - miss) * self.hit_sum
        return self.credited(sums if self.whole_sum is None else sums + miss * self.whole_sum)


ask, tally = Asked, Tally


def draws(noise: Noise, num_samples: int, positions: int, dimension: int, readings: int) -> float:
    """Random numbers drawn for N samples of M positions: one for each reading."""
    return float(num_samples * positions * readings)


def refuses(noise: Noise, facts: Facts) -> str | None:
    """Why samples of this noise cannot be credited so for a fitness of these facts, or None."""
    from esgrad import menu

    if not facts.sees_classes:
        return f"{facts.name} sees more of the noise here than a class, so credit class would lose it: noise would do"
    if noise.CLASSES is None:
        return f"{menu.name(noise)} samples know of each other, so no class stands for one: credit noise would do"
    return None
