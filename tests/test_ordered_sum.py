"""The compiled ordered sum has the bits of the plain one, and those of a row do not depend on the others."""

import hypothesis
import pytest
import torch
from hypothesis import strategies as some

from esgrad.kernels import compiled
from esgrad.kernels.ordered_sum import by_torch, ordered_sum

pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")


@hypothesis.given(
    shape=some.lists(some.integers(1, 9), min_size=1, max_size=4),
    length=some.integers(1, 70),
    place=some.integers(0, 3),
    dtype=some.sampled_from([torch.float32, torch.float64]),
    turned=some.booleans(),
    seed=some.integers(0, 99),
)
@hypothesis.settings(deadline=None, max_examples=200)
def test_it_has_the_bits_of_the_oracle(shape, length, place, dtype, turned, seed) -> None:
    dim = place % len(shape)
    shape[dim] = length
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=dtype) * 10.0 ** torch.randint(-9, 9, shape, dtype=dtype)
    values.view(-1)[::7] = torch.tensor([torch.inf, -torch.inf, torch.nan, -0.0, 0.0], dtype=dtype)[seed % 5]
    if turned:
        values = values.movedim(0, -1).contiguous().movedim(-1, 0)
    for at in (dim, dim - len(shape)):
        found, expected = ordered_sum(values, at), by_torch(values, at)
        assert found.shape == expected.shape
        assert torch.equal(found.nan_to_num(nan=5.0), expected.nan_to_num(nan=5.0))
        assert torch.equal(found.signbit(), expected.signbit()) or found.isnan().any()


def test_a_row_alone_has_the_same_bits() -> None:
    values = torch.randn(40, 1000, 3, generator=torch.Generator().manual_seed(0))
    whole = ordered_sum(values, 1)
    assert all(torch.equal(ordered_sum(values[[row]], 1)[0], whole[row]) for row in range(40))


def test_what_wants_a_gradient_gets_one() -> None:
    values = torch.randn(4, 5, requires_grad=True)
    ordered_sum(values, 1).sum().backward()
    assert torch.equal(values.grad, torch.ones(4, 5))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0, 3), (3, 1)])
def test_nothing_and_one_are_as_the_oracle_has_them(shape) -> None:
    values = torch.ones(shape)
    dim = 1 if shape[1] else 0
    assert torch.equal(ordered_sum(values, dim), by_torch(values, dim))
