"""Noise at the parameters: laws of a population, at constant, linear and quadratic objectives."""

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.key import Key
from tests.objectives import (
    CENTRE,
    EACH_NOISE,
    EACH_SIGMA,
    GROUP,
    SLOPE,
    D,
    Objective,
    R,
    agrees,
    estimates,
)


@EACH_SIGMA
@EACH_NOISE
@pytest.mark.parametrize("shaping", ["centered_ranks", "z_score", "nes_utilities"])
def test_a_constant_objective_moves_nothing(noise: str, shaping: str, sigma: float) -> None:
    found, learnt = estimates(
        lambda x: 0 * x[..., 0] + 3, CENTRE, sigma, noise=noise, shaping=shaping, copies=3, learns=True
    )
    assert not found.any()
    assert not learnt.any()


@EACH_SIGMA
@EACH_NOISE
def test_a_linear_objective_gives_its_slope_and_leaves_sigma(noise: str, sigma: float) -> None:
    found, learnt = estimates(
        lambda x: x @ SLOPE,
        CENTRE,
        sigma,
        noise=noise,
        shaping="leave_one_out" if noise == "independent" else "raw",
        learns=True,
    )
    agrees(found, SLOPE)
    agrees(learnt, torch.zeros(D))


@EACH_SIGMA
@EACH_NOISE
def test_a_quadratic_objective_gives_its_gradient_and_that_of_ln_sigma(noise: str, sigma: float) -> None:
    """f = −Σ a x²: ∇_μ E f = −2 a μ, ∂E f/∂ln σ_i = −2 a_i σ²."""
    found, learnt = estimates(lambda x: -(SLOPE * x * x).sum(-1), CENTRE, sigma, noise=noise, copies=1500, learns=True)
    agrees(found, -2 * SLOPE * CENTRE)
    agrees(learnt, -2 * SLOPE * sigma**2)


@EACH_SIGMA
def test_a_sigma_of_each_coordinate_equals_the_one_of_all(sigma: float) -> None:
    def bowl(x: Tensor) -> Tensor:
        return -(x * x).sum(-1)

    shared = estimates(bowl, CENTRE, sigma, shaping="centered_ranks", copies=3)[0]
    own = estimates(bowl, CENTRE, sigma, shaping="centered_ranks", copies=3, learns=True)[0]
    torch.testing.assert_close(own, shared)


def test_sigmas_that_differ_reach_as_far_as_they_say() -> None:
    """The slope is found whatever each coordinate's σ, and the natural gradient is σ² times that."""
    point, sigma = CENTRE.expand(R, 1, D).contiguous(), torch.linspace(0.1, 3, D).expand(R, 1, D)
    key, at = Key([1, 2, 3, 4], 2, 1), Objective(lambda x: x @ SLOPE, point)
    parts = menu.load("noises", "independent"), menu.load("credits", "noise"), menu.load("shapings", "leave_one_out")
    found = {
        power: Estimator(*parts, 20_000, sigma_power=power).gradient(at, point, sigma.square(), key).gradient[:, 0]
        for power in (-1, 0, 1)
    }
    error = found[-1][::GROUP].std(0)
    assert ((found[-1].mean(0) - SLOPE).abs() < 5 * error).all()
    torch.testing.assert_close(found[0], found[-1] * sigma[:, 0])
    torch.testing.assert_close(found[1], found[-1] * sigma[:, 0].square())


@EACH_SIGMA
def test_the_power_of_sigma_scales_the_estimate(sigma: float) -> None:
    found = [estimates(lambda x: x @ SLOPE, CENTRE, sigma, copies=2, sigma_power=power)[0] for power in (-1, 0, 1)]
    torch.testing.assert_close(found[1], sigma * found[0])
    torch.testing.assert_close(found[2], sigma**2 * found[0])
