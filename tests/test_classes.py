"""Whole-number weights of classes and draws from them: the compiled bodies have the oracle's bits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from esgrad.kernels import classes


def log_probabilities(count: int, scale: float, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(*shape, count, generator=generator, dtype=torch.float64) * scale


@settings(max_examples=60, deadline=None)
@given(count=some.integers(1, 5000), scale=some.sampled_from([0.0, 1e-12, 0.3, 5.0, 40.0, 1e4, 1e300]))
def test_weights_are_the_oracle_s_to_the_bit(count: int, scale: float) -> None:
    found = log_probabilities(count, scale, 2, 3)
    found[0, 0] = found[0, 0, 0]  # all alike
    bits = classes.BITS - (count - 1).bit_length()
    assert torch.equal(classes.weights(found), classes.weights_torch(found, bits))


@settings(max_examples=60, deadline=None)
@given(
    count=some.integers(1, 3000),
    samples=some.sampled_from([1, 2, 199, 200, 257, 1001]),
    scale=some.sampled_from([0.0, 1.0, 30.0, 500.0]),
    start=some.sampled_from([0, 2, 1000]),
)
def test_draws_are_the_oracle_s_by_halves_and_by_a_guide(count: int, samples: int, scale: float, start: int) -> None:
    cumulative = classes.weights(log_probabilities(count, scale, 4, 2)).cumsum(-1)
    place = cumulative, [7, 2**32 - 1], 18, 5, start, start + samples, 3
    assert torch.equal(classes.draw(*place), classes.draw_torch(*place))


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_a_class_of_all_the_weight_is_always_drawn(count: int) -> None:
    sure = torch.full((1, 1, count), -1e9, dtype=torch.float64)
    sure[..., count // 2] = 0
    cumulative = classes.weights(sure).cumsum(-1)
    assert set(classes.draw(cumulative, [1], 18, 0, 0, 500).flatten().tolist()) == {count // 2}
