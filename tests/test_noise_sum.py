"""Weighted sums of noise that is drawn again: the bits of the oracle, and of noise that is there."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from esgrad.kernels import noise_sum as kernels
from esgrad.kernels import parallel, streams, weighted_sum
from esgrad.kernels.noise_sum import noise_sum
from esgrad.kernels.stepped import by_torch, stepped
from esgrad.kernels.streams import Role


@settings(max_examples=60, deadline=None)
@given(
    samples=some.integers(1, 70),
    dimension=some.one_of(some.integers(1, 40), some.integers(1000, 2100)),
    seeds=some.lists(some.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True),
    group=some.integers(1, 3),
    step=some.integers(0, 2**32 - 1),
    position=some.sampled_from([0, 7, 2**32 - 1]),
    zeros=some.booleans(),
)
def test_the_sum_is_the_oracle_s_to_the_bit(
    samples: int, dimension: int, seeds: list[int], group: int, step: int, position: int, zeros: bool
) -> None:
    weights = torch.randn(len(seeds), group, samples, generator=torch.Generator().manual_seed(samples))
    if zeros:
        weights[..., ::3] = 0
    asked = weights, seeds, Role.NOISE, step, dimension
    found = noise_sum(*asked, position=position, body="numba")
    assert torch.equal(found, noise_sum(*asked, position=position, body="torch"))
    drawn = streams.normals(seeds, Role.NOISE, step, 0, samples, 1, dimension, offset=position)
    total = weighted_sum.lanes(weights[..., None], drawn)
    weighted_sum.add_torch(total, weights[..., None], drawn)
    assert torch.equal(found, weighted_sum.fold(total)[:, :, 0])


def test_the_sum_is_near_that_of_doubles() -> None:
    weights = torch.randn(1, 1, 5000, generator=torch.Generator().manual_seed(0))
    drawn = streams.normals([3], Role.NOISE, 1, 0, 5000, 1, 10)[0, :, 0]
    expected = weights[0].double() @ drawn.double()
    torch.testing.assert_close(noise_sum(weights, [3], Role.NOISE, 1, 10)[0].double(), expected, rtol=0, atol=2e-4)


def test_threads_and_chunks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.randn(2, 2, 37, generator=torch.Generator().manual_seed(0))
    asked = weights, [1, 2], Role.NOISE, 5, 50_000
    whole = noise_sum(*asked)
    monkeypatch.setattr(kernels, "CHUNK", 1)
    assert torch.equal(noise_sum(*asked, body="torch"), whole)
    parallel.use(2)
    try:
        assert torch.equal(noise_sum(*asked), whole)
    finally:
        parallel.use(1)


def test_other_types_are_summed_as_they_are() -> None:
    weights = torch.ones(1, 1, 4, dtype=torch.float64)
    assert noise_sum(weights, [0], Role.NOISE, 0, 6).dtype == torch.float64
    with pytest.raises(ValueError, match=r"takes float32, not torch\.float64"):
        noise_sum(weights, [0], Role.NOISE, 0, 6, body="numba")


@pytest.mark.parametrize("body", ["numba", "torch"])
def test_blocks_are_pieces_of_the_normals(body: str) -> None:
    whole = streams.normals([4, 9], Role.NOISE, 7, 3, 40, 12, 4000, offset=2)
    numbers = torch.cat([torch.arange(300), torch.tensor([999, 5, 5])])
    expected = whole[:, :, 6].unflatten(-1, (-1, 4))[:, :, numbers].flatten(2)
    assert torch.equal(streams.blocks([4, 9], Role.NOISE, 7, 3, 40, numbers, position=8, body=body), expected)
    nothing = torch.empty(0, dtype=torch.int64)
    assert streams.blocks([4], Role.NOISE, 7, 3, 40, nothing, body=body).shape == (1, 37, 0)


@settings(max_examples=30, deadline=None)
@given(some.integers(1, 3), some.integers(1, 3), some.integers(1, 4), some.integers(1, 2), some.integers(1, 50))
def test_steps_are_the_oracle_s_to_the_bit(seeds: int, group: int, count: int, signs: int, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    centre = torch.randn(seeds, group, size, 2, generator=generator)
    steps, directions = torch.randn(seeds, group, signs, generator=generator), torch.randn(seeds, count, size, 2)
    found = stepped(centre, steps, directions)
    assert torch.equal(found, by_torch(centre, steps, directions))
    for k in range(signs):
        expected = centre[:, :, None] + steps[..., k, None, None, None] * directions[:, None]
        assert torch.equal(found[:, :, :, k], expected)
    assert torch.equal(stepped(centre, steps, directions.transpose(2, 3).contiguous().transpose(2, 3)), found)
