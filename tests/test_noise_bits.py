"""No bit of a noise, nor of what is estimated with it, depends on a chunk, a stack or a batch."""

import random
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from esgrad import es_gradient, menu
from esgrad.gradients.credits.noise import Asked
from esgrad.gradients.facts import Facts
from esgrad.gradients.fitness import Points
from esgrad.gradients.key import Key
from esgrad.kernels.streams import Role
from tests.estimating import (
    COMBINATIONS,
    EACH_NOISE,
    LOGITS,
    TARGETS,
    uniform,
)

SIZES = [(1, 1), (3, 5), (32, 10), (1, 1003), (7, 4)]  # positions, dimension


class Seen:
    """A fitness that keeps the points it is shown, chunk by chunk."""

    facts, examples = Facts("seen", binary=False, nonnegative=True, sees_classes=False), 1

    def __init__(self, said: Tensor | None = None) -> None:
        self.said, self.chunks = said, []

    def __call__(self, points: Points) -> Tensor:
        start = sum(chunk.shape[1] for chunk in self.chunks)
        self.chunks.append(points.tensor())
        runs, n, positions, _ = self.chunks[-1].shape
        return torch.zeros(runs, n, positions) if self.said is None else self.said[:, start : start + n]

    @property
    def points(self) -> Tensor:
        return torch.cat(self.chunks, 1)


def asked(
    noise: str,
    seeds: list[int],
    step: int,
    num_samples: int,
    variance: list[float] | Tensor,
    point: Tensor,
    said: Tensor | None = None,
    **words: int,
) -> tuple[Asked, Seen]:
    t = variance if isinstance(variance, Tensor) else torch.tensor(variance * len(seeds), dtype=point.dtype)
    seen, key = Seen(said), Key(seeds, Role.NOISE, step)
    return Asked(menu.load("noises", noise), num_samples, seen, point, t, key, **words), seen


def points_and_sum(of: tuple[Asked, Seen], weight: Tensor) -> tuple[Tensor, Tensor]:
    return of[1].points, of[0].total(weight)


@EACH_NOISE
@pytest.mark.parametrize("num_samples", [2, 8, 30, 100])
@pytest.mark.parametrize(("positions", "dimension"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # the compiled body and the plain torch one
def test_no_bit_depends_on_chunks_nor_on_what_is_kept(
    noise: str, num_samples: int, positions: int, dimension: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    point = torch.randn(4, positions, dimension, generator=generator, dtype=dtype)
    weight = torch.randn(4, num_samples, positions, generator=generator, dtype=dtype)
    whole = points_and_sum(asked(noise, [5, 9], 3, num_samples, [0.04, 9.0], point), weight)
    assert whole[0].shape == (4, num_samples, positions, dimension)
    for chunk, keep in product([1, 4 * positions * dimension * 17, 2**30], [0, 2**30]):
        q = asked(noise, [5, 9], 3, num_samples, [0.04, 9.0], point, chunk=chunk, keep=keep)
        for got, expected in zip(points_and_sum(q, weight), whole, strict=True):
            assert torch.equal(got, expected)


def test_nothing_larger_than_a_chunk_is_in_memory() -> None:
    q, seen = asked("independent", [5], 3, 100, [1.0], torch.zeros(1, 10, 10), chunk=3000, keep=0)
    sizes = [points.numel() for points in seen.chunks]
    assert max(sizes) <= 3000
    assert sum(sizes) == 100 * 100
    assert not q.kept


@EACH_NOISE
@pytest.mark.parametrize(("positions", "dimension"), SIZES)
def test_a_run_alone_equals_the_same_run_in_a_stack_to_the_bit(noise: str, positions: int, dimension: int) -> None:
    seeds, variances, num_samples = [5, 9, 2, 77], [0.04, 9.0, 1.0], 20
    generator = torch.Generator().manual_seed(0)
    point = torch.randn(12, positions, dimension, generator=generator)
    weight = torch.randn(12, num_samples, positions, generator=generator)
    stack = points_and_sum(asked(noise, seeds, 3, num_samples, variances, point), weight)
    for run, (seed, variance) in enumerate(product(seeds, variances)):
        q = asked(noise, [seed], 3, num_samples, [variance], point[[run]])
        for got, expected in zip(points_and_sum(q, weight[[run]]), stack, strict=True):
            assert torch.equal(got[0], expected[run])


@EACH_NOISE
def test_runs_of_a_seed_share_their_noise_whatever_their_variance(noise: str) -> None:
    variances = [0.0625, 1.0, 4.0]  # σ = ¼, 1, 2 scale without rounding
    points = asked(noise, [5, 9], 3, 10, variances, torch.zeros(6, 3, 5))[1].points
    normals = (points / torch.tensor(variances * 2).sqrt().view(6, 1, 1, 1)).unflatten(0, (2, 3))
    assert torch.equal(normals[:, 0], normals[:, 1])
    assert torch.equal(normals[:, 0], normals[:, 2])
    assert not torch.equal(normals[0], normals[1])


@EACH_NOISE
def test_a_position_s_noise_does_not_depend_on_the_batch(noise: str) -> None:
    whole = asked(noise, [5], 3, 10, [1.0], torch.zeros(1, 7, 5))[1].points
    part = asked(noise, [5], 3, 10, [1.0], torch.zeros(1, 4, 5))[1].points
    assert torch.equal(part, whole[:, :, :4])


@EACH_NOISE
@pytest.mark.parametrize(("positions", "dimension"), SIZES)
def test_no_bit_of_a_shaped_gradient_depends_on_chunks_stacks_or_what_is_kept(
    noise: str, positions: int, dimension: int
) -> None:
    """Of the shaping that sees the samples' norms: alone, redrawn in the smallest chunks, against a stack in one."""
    seeds, variances, num_samples, best = [5, 9], [0.04, 9.0], 40, menu.load("shapings", "best_baseline")
    generator = torch.Generator().manual_seed(0)
    point, fitness = torch.randn(4, positions, dimension, generator=generator), uniform(4, num_samples, positions)
    q, seen = asked(noise, seeds, 3, num_samples, variances, point, fitness)
    assert len(seen.chunks) == 1
    stack = q.total(best.weights(q.fitness, q.norms))
    for run, (seed, variance) in enumerate(product(seeds, variances)):
        alone, _ = asked(noise, [seed], 3, num_samples, [variance], point[[run]], fitness[[run]], chunk=1, keep=0)
        assert torch.equal(alone.total(best.weights(alone.fitness, alone.norms))[0], stack[run])


@EACH_NOISE
def test_each_position_may_have_a_variance_of_its_own(noise: str) -> None:
    variances, point, weight = [0.04, 9.0, 1.0], torch.zeros(1, 3, 5), uniform(1, 10, 3)
    points, gradient = points_and_sum(asked(noise, [5], 3, 10, torch.tensor([variances]), point), weight)
    for position, variance in enumerate(variances):
        one, alone = points_and_sum(asked(noise, [5], 3, 10, [variance], point), weight)
        assert torch.equal(points[:, :, position], one[:, :, position])
        assert torch.equal(gradient[:, position], alone[:, position])


def estimate(**changes) -> Tensor:
    words = {"num_samples": 8, "noise_variance": 1.0, "seed": 4, "step": 6}
    return es_gradient(LOGITS, TARGETS, **(words | changes))


@EACH_NOISE
def test_seed_and_step_are_obeyed(noise: str) -> None:
    assert torch.equal(estimate(noise=noise), estimate(noise=noise))
    for change in ({"seed": 5}, {"step": 7}, {"seed": 6, "step": 4}):
        assert not torch.equal(estimate(noise=noise), estimate(noise=noise, **change))


@pytest.mark.parametrize(("noise", "shaping"), COMBINATIONS)
def test_no_global_random_state_is_touched(noise: str, shaping: str) -> None:
    def state() -> tuple:
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()

    before, first = state(), estimate(noise=noise, shaping=shaping)
    assert state() == before
    torch.manual_seed(123)
    assert torch.equal(estimate(noise=noise, shaping=shaping), first)
