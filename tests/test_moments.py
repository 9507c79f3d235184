"""Moments of planted draws are those planted: U-statistics without bias, errors that are the scatter."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from esgrad.measurement.moments import joined, moments, products, squared_mean


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of(estimates: Tensor, reference: Tensor) -> dict[str, float]:
    return moments(products(estimates, reference))


def within_five_errors(values: Tensor, expected: float) -> bool:
    """Whether the mean of independent values [n] lies within 5 SE of `expected`."""
    return abs(values.mean() - expected) <= 5 * values.std() / len(values) ** 0.5


@pytest.mark.parametrize("num_draws", [2, 5, 50])
def test_the_u_statistic_of_a_squared_mean_is_unbiased_and_the_plug_in_is_not(num_draws: int) -> None:
    """4,000 experiments of draws N(m, I): |m|² = 1, the plug-in square K/n too large."""
    mean = torch.tensor([0.6, 0.0, -0.8])
    draws = mean + normals(num_draws, 4000, 3)  # [n, experiments, K]
    assert within_five_errors(squared_mean(draws), 1.0)
    plug_in = draws.mean(0).square().sum(-1)
    assert within_five_errors(plug_in, 1 + 3 / num_draws)
    assert not within_five_errors(plug_in, 1.0)


def test_the_u_statistic_is_the_mean_product_of_different_draws() -> None:
    draws = normals(7, 4, 3)
    pairs = [(draws[i] * draws[j]).sum(-1) for i, j in product(range(7), range(7)) if i != j]
    torch.testing.assert_close(squared_mean(draws), torch.stack(pairs).mean(0))


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_moments_of_planted_draws_are_those_planted(scale: float) -> None:
    """Estimates (1 + b)·∇ + s·noise on 4,000 examples: bias b, variance K·s²/|∇|², whatever the gradient's size."""
    bias, noise, reference = 0.3, 0.5, torch.tensor([3.0, -4.0, 0.0, 0.0]).double()  # |∇| = 5
    estimates = scale * ((1 + bias) * reference + noise * normals(20, 4000, 4))
    found = of(estimates, (scale * reference).expand(4000, 4))
    assert found["relative_bias"] == pytest.approx(bias, rel=0.01)
    assert found["variance"] == pytest.approx(4 * noise**2 / 25, rel=0.02)
    lengths = estimates.norm(dim=-1)
    cosine = scale * (estimates @ reference) / (5 * scale * lengths)
    assert found["cosine"] == pytest.approx(cosine.mean().item())
    assert 0.98 < found["cosine"] < 1


def test_an_unbiased_estimate_shows_no_bias_on_average() -> None:
    """The squared bias is as often below 0 as above; the plug-in would always be above."""
    reference = torch.tensor([1.0, -1.0, 0.0]).double()
    found = [
        of(reference + normals(10, 5, 3, seed=seed), reference.expand(5, 3))["relative_bias"] for seed in range(400)
    ]
    squares = torch.tensor([math.copysign(bias**2, bias) for bias in found])
    assert within_five_errors(squares, 0.0)
    assert 0.2 < (squares < 0).double().mean() < 0.8


def test_the_cosines_of_known_directions() -> None:
    """An estimate that is 0 has cosine 0; the median is over examples, of each one's mean."""
    reference = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]]).double()  # [M, D]
    estimates = torch.tensor([[[5.0, 0.0], [1.0, 1.0], [0.0, 3.0]], [[-0.1, 0.0], [0.0, 0.0], [0.0, 0.0]]]).double()
    found = of(estimates, reference)
    assert found["cosine"] == pytest.approx((1 + math.sqrt(0.5) + 1 - 1 + 0 + 0) / 6)
    assert found["median_cosine"] == pytest.approx(math.sqrt(0.5) / 2), "of 0, √½/2 and ½"


def test_a_standard_error_is_the_scatter_of_repeated_experiments() -> None:
    """200 experiments of 12 draws: the jackknife's mean error within a quarter of the scatter of each moment."""
    reference = torch.tensor([1.0, 2.0, 0.0]).double().expand(6, 3)
    found = [of(1.2 * reference + normals(12, 6, 3, seed=seed), reference) for seed in range(200)]
    for name in ("cosine", "relative_bias", "variance"):
        values = torch.tensor([one[name] for one in found])
        errors = torch.tensor([one[f"{name}_error"] for one in found])
        assert errors.mean() == pytest.approx(values.std().item(), rel=0.25), name


def test_gradients_side_by_side_are_those_of_one_set() -> None:
    estimates, reference = normals(9, 6, 4), normals(6, 4, seed=1)
    parts = [products(estimates[:, cut], reference[cut]) for cut in (slice(0, 2), slice(2, 6))]
    assert moments(joined(parts)) == pytest.approx(of(estimates, reference))


def test_two_draws_have_no_standard_error() -> None:
    found = of(normals(2, 3, 4), normals(3, 4, seed=1))
    assert math.isnan(found["variance_error"])
    assert math.isfinite(found["variance"])


def test_a_nan_estimate_is_seen_in_every_moment() -> None:
    estimates = normals(6, 3, 4)
    estimates[2, 1, 0] = math.nan
    assert all(math.isnan(value) for value in of(estimates, normals(3, 4, seed=1)).values())
