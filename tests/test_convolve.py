"""Convolutions and pools of many networks: torch's own, member by member."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn

from esgrad.kernels import compiled
from esgrad.kernels.convolve import by_columns, by_torch, convolve, largest


def by_members(numbers: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """One network after the other, images first as torch has them."""
    made = []
    for m in range(len(weight)):
        images = numbers[min(m, len(numbers) - 1)].movedim(-1, 0)
        made.append(nn.functional.conv2d(images, weight[m], None if bias is None else bias[m]).movedim(0, -1))
    return torch.stack(made)


@settings(max_examples=40, deadline=None)
@given(
    members=some.integers(1, 3),
    outputs=some.integers(1, 4),
    channels=some.integers(1, 3),
    window=some.tuples(some.integers(1, 6), some.integers(1, 11)),
    more=some.tuples(some.integers(0, 4), some.integers(0, 4)),
    batch=some.integers(1, 20),
    shared=some.booleans(),
    with_bias=some.booleans(),
)
def test_a_convolution_is_torch_s(
    members: int,
    outputs: int,
    channels: int,
    window: tuple[int, int],
    more: tuple[int, int],
    batch: int,
    shared: bool,
    with_bias: bool,
) -> None:
    generator = torch.Generator().manual_seed(batch)
    sides = window[0] + more[0], window[1] + more[1]
    numbers = torch.randn(1 if shared else members, channels, *sides, batch, generator=generator)
    weight = torch.randn(members, outputs, channels, *window, generator=generator)
    bias = torch.randn(members, outputs, generator=generator) if with_bias else None
    expected = by_members(numbers, weight, bias)
    for body in (convolve, by_torch, by_columns):
        torch.testing.assert_close(body(numbers, weight, bias), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(convolve(numbers, weight, bias), by_torch(numbers, weight, bias))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8, 5), (1, 9, 7, 3), (4, 6, 1)])
@pytest.mark.parametrize("size", [2, 3])
def test_the_largest_of_windows_is_torch_s_to_the_bit(
    size: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    images = numbers.flatten(0, -4).movedim(-1, 1).flatten(0, 1)[:, None] if numbers.dim() > 3 else None
    found = largest(numbers, size)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    assert torch.equal(largest(numbers, size), found)
    if images is not None and min(shape[-3:-1]) >= size:
        expected = nn.functional.max_pool2d(images, size)[:, 0].unflatten(0, (-1, shape[-1])).movedim(1, -1)
        assert torch.equal(found.flatten(0, -4), expected)


@pytest.mark.parametrize("place", range(4))
def test_a_nan_is_the_largest_of_its_window(place: int) -> None:
    numbers = torch.arange(16.0).view(1, 4, 4, 1).clone()
    numbers[0, place // 2, place % 2] = torch.nan
    found = largest(numbers, 2)
    assert found[0, 0, 0].isnan()
    assert found.isnan().sum() == 1


def test_other_types_and_strided_numbers_are_convolved_as_well() -> None:
    numbers, weight = torch.randn(2, 3, 6, 6, 4), torch.randn(2, 2, 3, 3, 3)
    double = convolve(numbers.double(), weight.double(), None)
    assert double.dtype == torch.float64
    torch.testing.assert_close(convolve(numbers, weight, None).double(), double, rtol=1e-4, atol=1e-4)
    turned = numbers.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(convolve(turned, weight, None), convolve(numbers, weight, None))
