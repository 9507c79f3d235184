"""The laws every estimator obeys, held for each file on the menus of noises and shapings, at two σ.

A test of a mean draws COPIES independent estimates at once, each a position with its own noise, and asks for the
expected value within 5 standard errors of theirs.
"""

from collections.abc import Callable
from itertools import product
from math import comb, pi, sqrt

import numpy as np
import pytest
import torch
from scipy.stats import gumbel_r, norm
from torch import Tensor

from esgrad import es_gradient, menu
from esgrad.gradients.exact import smoothed
from esgrad.gradients.shapings import has_counts_law
from esgrad.kernels import streams
from esgrad.kernels.streams import Role
from tests.estimating import (
    COMBINATIONS,
    LOGITS,
    NOISES,
    SHAPED,
    SHAPINGS,
    TARGETS,
    TWO_VARIANCES,
    UNBIASED,
    N,
    assert_mean,
    differs,
    directions,
    estimates,
    exact,
    expectation,
    hits,
    refusal,
    weights,
)
from tests.test_shapings import naive_weights

SLOPE = torch.tensor([0.7, -1.1, 0.2, 1.6])
CURVATURE = torch.tensor([[1.0, 0.4, 0.0, -0.3], [0.4, -0.6, 0.2, 0.0], [0.0, 0.2, 0.8, 0.5], [-0.3, 0.0, 0.5, 0.3]])
PLACE = torch.tensor([[0.5, -1.0, 0.3, 0.8]])


# Constant, linear, quadratic


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), COMBINATIONS)
def test_constant_fitness_moves_nothing(noise: str, shaping: str, variance: float) -> None:
    """In every draw if the weights or the scores sum to 0, else in expectation."""
    constant = 0.7
    draws = estimates(noise, shaping, lambda points: torch.full(points.shape[:-1], constant), PLACE, variance)
    centred = weights(shaping, torch.full((3, N, 5), constant)).abs().max() < 1e-6
    module = menu.load("shapings", shaping)
    assert not has_counts_law(module) or bool(centred) is module.WEIGHS_MISSES
    if centred or menu.load("noises", noise).SUMS_TO_ZERO:
        assert draws.abs().max() < 1e-5 / sqrt(variance)
    else:
        assert draws.std() > 0.01 / sqrt(variance)
        assert_mean(draws, torch.zeros(1, 4))


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), UNBIASED)
def test_a_linear_fitness_gives_its_slope(noise: str, shaping: str, variance: float) -> None:
    draws = estimates(noise, shaping, lambda points: points @ SLOPE, PLACE, variance)
    assert_mean(draws, SLOPE[None])


def pairs_at_right_angles(noise: str) -> float:
    """The share of the N² pairs of samples that are orthogonal: within blocks of 4 at D = 4, hence 4 and 2 of 6."""
    return (4 * 3 + 2 * 1) / N**2 if noise == "orthogonal" else 0.0


@TWO_VARIANCES
@pytest.mark.parametrize("noise", ["independent", "mirrored", "orthogonal"])
@pytest.mark.parametrize("intercept", [0.0, 2.0])
def test_the_square_of_a_linear_raw_estimate(noise: str, variance: float, intercept: float) -> None:
    """E|g|² = |∇|²(1 + (K+1)/N) and c²K/(tN) more with an intercept c; mirrored, N/2 samples and no intercept count;
    orthogonal, |∇|² less for each pair at right angles, as (∇·q)(∇·q′)q·q′ is 0."""
    draws = estimates(noise, "raw", lambda points: points @ SLOPE + intercept, torch.zeros(1, 4), variance)
    square, independent = SLOPE.double().square().sum(), N * menu.load("noises", noise).DRAWS_PER_SAMPLE
    expected = square * (1 + 5 / independent - pairs_at_right_angles(noise))
    expected = expected + (noise != "mirrored") * intercept**2 * 4 / (variance * N)
    assert_mean(draws.square().sum(-1), expected)


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), UNBIASED)
def test_a_quadratic_fitness_gives_twice_its_matrix_times_the_place(noise: str, shaping: str, variance: float) -> None:
    draws = estimates(noise, shaping, lambda points: ((points @ CURVATURE) * points).sum(-1), PLACE, variance)
    assert_mean(draws, 2 * PLACE @ CURVATURE)


# 0/1 fitness: the estimates against the exact arms


PROMISED = [
    (*pair, num_samples)
    for *pair, num_samples in product(NOISES, SHAPINGS, [1, 2, 3, 6])
    if refusal(*pair, num_samples) is None and expectation(*pair, num_samples) is not None
]


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping", "num_samples"), PROMISED)
def test_an_estimate_of_accuracy_has_the_mean_it_promises(
    noise: str, shaping: str, num_samples: int, variance: float
) -> None:
    probability, arms = exact(noise, variance)
    promised = [expectation(noise, shaping, num_samples, p) for p in probability.tolist()]
    expected = torch.stack([factor * arms[arm][example] for example, (arm, factor) in enumerate(promised)])
    assert_mean(estimates(noise, shaping, hits(), LOGITS, variance, num_samples), expected)


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), SHAPED)
def test_a_shaped_objective_equals_no_exact_arm(noise: str, shaping: str, variance: float) -> None:
    probability, arms = exact(noise, variance)
    draws = estimates(noise, shaping, hits(), LOGITS, variance)
    factors = [torch.tensor(1.0), torch.tensor(0.5), *(1 - (1 - probability) ** power for power in (N, N - 1))]
    for gradient, factor in product(arms.values(), factors):
        assert differs(draws, factor.reshape(-1, 1) * gradient)


@TWO_VARIANCES
def test_maxrl_with_gumbel_noise_at_pi_squared_over_6_estimates_backprop_s_gradient(variance: float) -> None:
    """(1 − (1−p)^(N−1)) times onehot − softmax at t = π²/6; at another t, at the logits scaled by 1/β, over β."""
    num_samples, scale = 40, sqrt(6 * variance) / pi
    probability = (LOGITS / scale).softmax(-1).gather(1, TARGETS[:, None])
    logits = (LOGITS / scale).requires_grad_()
    torch.nn.functional.cross_entropy(logits, TARGETS, reduction="sum").backward()
    factor = 1 - (1 - probability) ** (num_samples - 1)
    for t, place, expected in [
        (variance, LOGITS, -logits.grad / scale),
        (pi**2 / 6, LOGITS / scale, -logits.grad),
    ]:
        draws = estimates("gumbel", "maxrl", hits(5000), place, t, num_samples, copies=5000)
        assert_mean(draws, factor * expected)


@TWO_VARIANCES
def test_a_mirrored_centre_inflates_the_gradient_by_n_over_n_minus_1(variance: float) -> None:
    """Leaving the sample, but not its pair, out; centered_ranks are half of it on 0/1 fitness."""
    _, arms = exact("mirrored", variance)
    for shaping, factor in [("leave_one_out", 1.0), ("centered_ranks", 0.5)]:
        draws = estimates("mirrored", shaping, hits(), LOGITS, variance)
        assert_mean(draws, factor * N / (N - 1) * arms[smoothed])
        assert differs(draws, factor * arms[smoothed])


@TWO_VARIANCES
@pytest.mark.parametrize("gap", [-0.3, 0.2])
def test_mirrored_success_estimates_the_gradient_of_p_times_a_factor(variance: float, gap: float) -> None:
    """∇p/(p − c) · E[m/(m + 2c₂)], for two classes, where c = P(both of a pair hit) = max(0, 2p − 1)."""
    logits, targets = torch.tensor([[gap, 0.0]]), torch.tensor([0])
    probability, arms = exact("mirrored", variance, logits, targets)
    p = probability.item()
    both = max(0.0, 2 * p - 1)
    one, none, pairs = 2 * (p - both), 1 - 2 * p + both, N // 2
    assert p == pytest.approx(norm.cdf(gap / sqrt(2 * variance)))
    mean = sum(
        comb(pairs, m) * comb(pairs - m, c) * one**m * both**c * none ** (pairs - m - c) * m / (m + 2 * c)
        for m in range(1, pairs + 1)
        for c in range(pairs - m + 1)
    )
    draws = estimates("mirrored", "success", hits(logits=logits, targets=targets), logits, variance)
    assert_mean(draws, mean / (p - both) * arms[smoothed])


@TWO_VARIANCES
def test_mirrored_maxrl_equals_mirrored_success(variance: float) -> None:
    """Why the first is refused: Σq = 0 cancels the centre."""
    maxrl, success = (
        estimates("mirrored", shaping, hits(), LOGITS, variance, copies=500) for shaping in ("maxrl", "success")
    )
    torch.testing.assert_close(maxrl, success, rtol=0, atol=1e-5 / sqrt(variance))


# Variance: why one would take a shaping or a noise


def total_variance(*arguments: object, **words: object) -> tuple[float, float]:
    """tr Var of an estimate and its standard error."""
    draws = estimates(*arguments, **words)
    squares = (draws - draws.mean(0)).square().sum((1, 2))
    return squares.mean().item(), (squares.std() / sqrt(len(squares))).item()


@TWO_VARIANCES
@pytest.mark.parametrize("noise", ["independent", "orthogonal"])
def test_the_best_baseline_has_less_variance_than_leave_one_out(noise: str, variance: float) -> None:
    """On a steep quadratic the fitness goes with |q|², so that E[f|q|²]/E[|q|²] is far from E f."""

    def quadratic(points: Tensor) -> Tensor:
        return points.square().sum(-1) / variance

    (best, error), (other, more) = (
        total_variance(noise, shaping, quadratic, torch.zeros(1, 4), variance, 40, copies=5000)
        for shaping in ("best_baseline", "leave_one_out")
    )
    assert best < other - 5 * sqrt(error**2 + more**2)


@TWO_VARIANCES
@pytest.mark.parametrize("noise", ["independent", "gumbel"])
def test_the_best_baseline_reaches_the_variance_of_the_best_constant(noise: str, variance: float) -> None:
    """b* = E[f|s|²]/E[|s|²]; estimating it costs a variance that falls like 1/N² (N = 60: under a tenth)."""
    num_samples, copies = 60, 4000
    words = {"num_samples": num_samples, "copies": copies}
    reached, error = total_variance(noise, "best_baseline", hits(copies), LOGITS, variance, **words)
    z = directions(noise, 1, 200_000, 4).movedim(0, 1)  # [n, 1, K]
    f = hits()((LOGITS + sqrt(variance) * z).float())[..., None].double()  # [n, E, 1]
    scores = menu.load("noises", noise).score(z)
    squares = scores.square().sum(-1, keepdim=True)
    best = (f * squares).mean(0) / squares.mean(0)  # [E, 1]
    law = ((f - best) * scores).var(0).sum().item() / variance / num_samples
    assert law - 5 * error < reached < 1.1 * law + 5 * error


@TWO_VARIANCES
@pytest.mark.parametrize(("num_samples", "share"), [(16, 0.5), (64, 0.15)])
def test_quasi_noise_has_less_variance_on_a_smooth_fitness(variance: float, num_samples: int, share: float) -> None:
    """A wave as wide as σ, N a power of two: half of independent noise's variance, and ever less for larger N."""
    wave = lambda points: (points @ SLOPE / (2 * sqrt(variance)) + 0.5).sin()  # noqa: E731
    (quasi, error), (independent, more) = (
        total_variance(noise, "raw", wave, torch.zeros(1, 4), variance, num_samples, copies=4000)
        for noise in ("quasi", "independent")
    )
    assert quasi + 5 * error < share * (independent - 5 * more)


@TWO_VARIANCES
def test_orthogonal_noise_has_less_variance_on_a_linear_fitness(variance: float) -> None:
    (orthogonal, error), (independent, more) = (
        total_variance(noise, "raw", lambda points: points @ SLOPE, torch.zeros(1, 4), variance, 4, copies=4000)
        for noise in ("orthogonal", "independent")
    )
    assert orthogonal + 5 * error < 0.6 * (independent - 5 * more)  # the law at K = N = 4: ½ for 5/4


# The lecture's loop, written once more


def gaussian(normals: np.ndarray) -> np.ndarray:
    return normals


def both_signs(normals: np.ndarray) -> np.ndarray:
    return np.stack([normals, -normals], 1).reshape(-1, *normals.shape[1:])


def of_gumbel(normals: np.ndarray) -> np.ndarray:
    standard = gumbel_r.ppf(norm.cdf(normals.astype(np.float64)))
    return ((standard - gumbel_r.mean()) / gumbel_r.std()).astype(np.float32)


def at_right_angles(normals: np.ndarray) -> np.ndarray:
    """Householder's decomposition, its signs turned to those of Gram and Schmidt: blocks of D from each 32nd on."""
    turned = normals.copy()
    dimension = normals.shape[2]
    starts = [group + first for group in range(0, len(normals), 32) for first in range(0, 32, dimension)]
    for start in starts:
        stop = min(start + dimension, start - start % 32 + 32, len(normals))
        for b in range(normals.shape[1]):
            block = normals[start:stop, b].astype(np.float64)
            q, r = np.linalg.qr(block.T)
            turned[start:stop, b] = (q * np.sign(np.diag(r))).T * np.linalg.norm(block, axis=1, keepdims=True)
    return turned


DRAWN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "independent": gaussian,
    "mirrored": both_signs,
    "gumbel": of_gumbel,
    "orthogonal": at_right_angles,
}
"""Noises written out once more; quasi noise is held to its sequence in test_noises."""


def lecture(
    logits: np.ndarray, targets: np.ndarray, directions: np.ndarray, variance: float, noise: str, shaping: str
) -> np.ndarray:
    """g = (1/σ) Σ w_n s(z_n), f_n = isequal(argmax(l + σz_n), y), one example and one sample after the other."""
    result = np.zeros(logits.shape)
    for b, (logit, target) in enumerate(zip(logits, targets, strict=True)):
        scores, f = [], []
        for z in directions[:, b]:
            f.append(float(np.argmax(logit + np.float32(sqrt(variance)) * z) == target))
            scores.append(slope(noise, z.astype(np.float64)))
        norms = [float(np.sum(score**2)) for score in scores]
        for w, score in zip(naive_weights(shaping, np.array(f)[:, None], norms)[:, 0], scores, strict=True):
            result[b] += w * score / sqrt(variance)
    return result


def slope(noise: str, z: np.ndarray) -> np.ndarray:
    """−∇ log density, of scipy's densities by differences."""
    if noise != "gumbel":
        return z
    log_density = gumbel_r(-gumbel_r.mean() / gumbel_r.std(), 1 / gumbel_r.std()).logpdf
    return -(log_density(z + 1e-5) - log_density(z - 1e-5)) / 2e-5


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), [pair for pair in COMBINATIONS if pair[0] in DRAWN])
def test_the_lecture_s_loop_gives_the_same_gradient(noise: str, shaping: str, variance: float) -> None:
    logits, targets = torch.cat([LOGITS, LOGITS.flip(1)]), torch.cat([TARGETS, TARGETS])
    num_samples, seed, step = 46, 11, 5
    drawn = int(num_samples * menu.load("noises", noise).DRAWS_PER_SAMPLE)
    normals = streams.normals([seed], Role.NOISE, step, 0, drawn, *logits.shape)[0].numpy()
    expected = lecture(logits.numpy(), targets.numpy(), DRAWN[noise](normals), variance, noise, shaping)
    got = es_gradient(
        logits,
        targets,
        num_samples=num_samples,
        noise_variance=variance,
        seed=seed,
        step=step,
        noise=noise,
        shaping=shaping,
    )
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * (1 + 1 / sqrt(variance)))
