"""Gradient quality has known answers: planted draws, the variance laws of theory.md, exact references."""

import math
from itertools import product
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from esgrad import menu, quality, streams
from esgrad.quadrature import log_probability_and_gradient
from esgrad.records import QUALITY_COLUMNS


def normals(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def within_five_errors(values: Tensor, expected: float) -> bool:
    """Whether the mean of independent values [n] lies within 5 SE of `expected`."""
    return abs(values.mean() - expected) <= 5 * values.std() / len(values) ** 0.5


def expected_maximum(logit_dim: int) -> float:
    """e_K, the mean of the largest of K standard normals."""
    return quad(lambda x: x * logit_dim * norm.pdf(x) * norm.cdf(x) ** (logit_dim - 1), -12, 12)[0]


# Planted draws


@pytest.mark.parametrize("num_draws", [2, 5, 50])
def test_the_u_statistic_of_a_squared_mean_is_unbiased_and_the_plug_in_is_not(num_draws: int) -> None:
    """4,000 experiments of draws N(m, I): |m|² = 1, the plug-in square K/n too large."""
    mean = torch.tensor([0.6, 0.0, -0.8])
    draws = mean + normals(num_draws, 4000, 3)  # [n, experiments, K]
    assert within_five_errors(quality.squared_mean(draws), 1.0)
    plug_in = draws.mean(0).square().sum(-1)
    assert within_five_errors(plug_in, 1 + 3 / num_draws)
    assert not within_five_errors(plug_in, 1.0)


def test_the_u_statistic_is_the_mean_product_of_different_draws() -> None:
    draws = normals(7, 4, 3)
    pairs = [(draws[i] * draws[j]).sum(-1) for i, j in product(range(7), range(7)) if i != j]
    torch.testing.assert_close(quality.squared_mean(draws), torch.stack(pairs).mean(0))


@pytest.mark.parametrize("scale", [0.1, 7.0])
def test_moments_of_planted_draws_are_those_planted(scale: float) -> None:
    """Estimates (1 + b)·∇ + s·noise on 4,000 examples: bias b, variance K·s²/|∇|², whatever the gradient's size."""
    bias, noise, reference = 0.3, 0.5, torch.tensor([3.0, -4.0, 0.0, 0.0]).double()  # |∇| = 5
    estimates = scale * ((1 + bias) * reference + noise * normals(20, 4000, 4))
    found = quality.moments(estimates, (scale * reference).expand(4000, 4))
    assert found["relative_bias"] == pytest.approx(bias, rel=0.01)
    assert found["variance"] == pytest.approx(4 * noise**2 / 25, rel=0.02)
    lengths = estimates.norm(dim=-1)
    cosine = ((estimates @ reference) / (5 * lengths)).mean().item()
    assert found["cosine"] == pytest.approx(cosine)
    assert 0.98 < cosine < 1


def test_an_unbiased_estimate_shows_no_bias_on_average() -> None:
    """The squared bias is as often below 0 as above; the plug-in would always be above."""
    reference = torch.tensor([1.0, -1.0, 0.0]).double()
    found = [
        quality.moments(reference + normals(10, 5, 3, seed=seed), reference.expand(5, 3))["relative_bias"]
        for seed in range(400)
    ]
    squares = torch.tensor([math.copysign(bias**2, bias) for bias in found])
    assert within_five_errors(squares, 0.0)
    assert 0.2 < (squares < 0).double().mean() < 0.8


def test_the_cosine_of_known_directions() -> None:
    reference = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double()  # [B, K]
    estimates = torch.tensor([[[5.0, 0.0], [1.0, 1.0]], [[-0.1, 0.0], [0.0, 0.0]]]).double()  # [n, B, K]
    assert quality.moments(estimates, reference)["cosine"] == pytest.approx((1 + math.sqrt(0.5) - 1 + 0) / 4)


def test_a_nan_estimate_is_seen_in_every_moment() -> None:
    estimates = normals(6, 3, 4)
    estimates[2, 1, 0] = math.nan
    assert all(math.isnan(value) for value in quality.moments(estimates, normals(3, 4, seed=1)).values())


# Laws


@pytest.mark.parametrize("variance", [0.04, 9.0])
@pytest.mark.parametrize("num_samples", [1, 10])
@pytest.mark.parametrize("logit_dim", [2, 3, 10])
def test_raw_s_variance_at_level_logits_is_the_law_s(logit_dim: int, num_samples: int, variance: float) -> None:
    """N·tr Var g/|∇p|² = K(K−1)/e_K² − 1 at any t (theory.md, section 5)."""
    num_examples, num_draws = 400, 40
    law = logit_dim * (logit_dim - 1) / expected_maximum(logit_dim) ** 2 - 1
    logits = torch.zeros(num_examples, logit_dim)
    targets = torch.arange(num_examples) % logit_dim
    noise, shaping = menu.load("noises", "independent"), {"raw": menu.load("shapings", "raw")}
    estimates = quality._estimates(noise, shaping, logits, targets, num_samples, variance, num_draws)["raw"].double()
    log_p, log_gradient = log_probability_and_gradient(logits, targets, math.sqrt(variance))
    gradient = log_p.exp()[:, None] * log_gradient
    relative = (estimates.square().sum(-1).mean(0) - quality.squared_mean(estimates)) / gradient.square().sum(-1)
    assert within_five_errors(num_samples * relative, law)
    assert quality.moments(estimates, gradient)["variance"] == pytest.approx(relative.mean())


def frame(**changes) -> pd.DataFrame:
    words = {
        "pairs": {"independent": ["raw", "leave_one_out", "maxrl"], "mirrored": ["raw"]},
        "logit_dims": [3],
        "samples": [4],
        "variances": [1.0],
        "spread": 1.0,
        "num_examples": 60,
        "num_draws": 30,
    }
    return quality.measure(**(words | changes))


def test_more_samples_point_more_the_right_way() -> None:
    measured = frame(samples=[2, 8, 32])
    for _, rows in measured.groupby(["noise", "shaping"]):
        assert rows["cosine"].is_monotonic_increasing
        assert rows["variance"].is_monotonic_decreasing


def test_every_supported_cell_is_measured_and_no_other() -> None:
    everything = {noise: menu.names("shapings") for noise in menu.names("noises")}
    measured = frame(pairs=everything, samples=[1, 2, 3], variances=[0.25, 4.0], num_draws=3, num_examples=4)
    got = set(zip(measured["noise"], measured["shaping"], measured["num_samples"], strict=True))
    assert list(measured.columns) == QUALITY_COLUMNS
    assert got == {
        (noise, shaping, n)
        for noise, shapings in everything.items()
        for shaping, n in product(shapings, [1, 2, 3])
        if not menu.load("noises", noise).refuses(n) and not menu.load("shapings", shaping).refuses(noise, n)
    }
    assert len(measured) == 2 * len(got)


@pytest.mark.parametrize("noise", menu.names("noises"))
def test_each_shaping_is_measured_against_the_arm_it_estimates(noise: str) -> None:
    """An estimate with a known mean shows a bias far below its own size, and all of them look the right way."""
    measured = frame(pairs={noise: menu.names("shapings")}, num_draws=400).set_index("shaping")
    for shaping, row in measured.iterrows():
        promised = menu.load("shapings", shaping).expects(noise, 0.3, 4)
        assert row["reference"] == (promised[0] if promised else "smoothed")
        if promised:
            assert row["relative_bias"] < 0.1
            assert row["variance"] > 0
        assert 0.2 < row["cosine"] < 1, f"{noise} × {shaping}"


def test_measuring_twice_gives_the_same_numbers_and_draws_shared_noise() -> None:
    torch.manual_seed(1)
    first = frame()
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(first, frame())
    alone = frame(pairs={"independent": ["maxrl"]})
    pd.testing.assert_frame_equal(first[first["shaping"] == "maxrl"].reset_index(drop=True), alone)


def test_no_draw_of_the_noise_repeats_the_frozen_logits_or_their_targets_draws() -> None:
    """N = 1 with weight 1 at t = 1: an estimate is the noise itself. All of it is uncorrelated, draw by draw."""
    num_examples, logit_dim, num_draws = 300, 10, 4
    logits, targets = quality.frozen(logit_dim, num_examples, 1.0)
    every = {"one": SimpleNamespace(weights=torch.ones_like)}
    noise = menu.load("noises", "independent")
    drawn = quality._estimates(noise, every, logits, targets, 1, 1.0, num_draws)["one"]
    uniform = streams.normals([0], streams.Role.QUALITY, 1, 0, 1, num_examples, logit_dim)[0]
    together = torch.cat([logits[None], uniform, drawn]).flatten(1)  # [2 + draws, B·K]
    correlations = torch.corrcoef(together) - torch.eye(2 + num_draws)
    assert correlations.abs().max() < 5 / math.sqrt(num_examples * logit_dim)


@pytest.mark.parametrize("spread", [0.5, 3.0])
def test_frozen_targets_are_drawn_from_the_logits_own_softmax(spread: float) -> None:
    logits, targets = quality.frozen(4, 20_000, spread)
    assert within_five_errors(logits.flatten().double(), 0.0)
    assert within_five_errors(logits.flatten().double().square(), spread**2)
    hits = torch.nn.functional.one_hot(targets, 4) - logits.softmax(-1)
    for k in range(4):
        assert within_five_errors(hits[:, k].double(), 0.0)
        assert within_five_errors((hits[:, k] * logits[:, k]).double(), 0.0)
