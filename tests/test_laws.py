"""The laws every estimator obeys, held for each file on the menus of noises and shapings, at two σ.

A test of a mean draws COPIES independent estimates at once, each a position with its own noise, and asks for the
expected value within 5 standard errors of theirs.
"""

import random
from collections.abc import Callable
from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata
from torch import Tensor

from esgrad import es_gradient, menu, streams
from esgrad.blackboxes.zero_one import fitness as zero_one
from esgrad.perturbation import Perturbation
from esgrad.quadrature import log_probability_and_gradient
from esgrad.streams import Role

COPIES = 20_000
N = 6  # samples: even, for mirrored noise
NOISES, SHAPINGS = menu.names("noises"), menu.names("shapings")
TWO_VARIANCES = pytest.mark.parametrize("variance", [0.04, 9.0])
EACH_NOISE, EACH_SHAPING = pytest.mark.parametrize("noise", NOISES), pytest.mark.parametrize("shaping", SHAPINGS)
SLOPE = torch.tensor([0.7, -1.1, 0.2, 1.6])
CURVATURE = torch.tensor([[1.0, 0.4, 0.0, -0.3], [0.4, -0.6, 0.2, 0.0], [0.0, 0.2, 0.8, 0.5], [-0.3, 0.0, 0.5, 0.3]])
PLACE = torch.tensor([[0.5, -1.0, 0.3, 0.8]])
LOGITS = torch.tensor([[0.3, 0.1, -0.2, 0.35], [0.0, 0.0, 0.0, 0.0], [0.2, -0.1, 0.4, 0.1], [-0.1, 0.2, 0.3, 0.1]])
TARGETS = torch.tensor([3, 1, 0, 0])  # ahead, level, behind, last

Fitness = Callable[[Tensor], Tensor]


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def weights(shaping: str, fitness: Tensor) -> Tensor:
    return menu.load("shapings", shaping).weights(fitness)


def refusal(noise: str, shaping: str, num_samples: int) -> str | None:
    drawn, shaped = menu.load("noises", noise), menu.load("shapings", shaping)
    return drawn.refuses(num_samples) or shaped.refuses(noise, num_samples)


def expectation(noise: str, shaping: str, num_samples: int) -> tuple[str, float] | None:
    return menu.load("shapings", shaping).expects(noise, 0.3, num_samples)


COMBINATIONS = [pair for pair in product(NOISES, SHAPINGS) if refusal(*pair, N) is None]
UNBIASED = [pair for pair in COMBINATIONS if expectation(*pair, N) == ("smoothed", 1.0)]
SHAPED = [pair for pair in product(NOISES, SHAPINGS) if expectation(*pair, N) is None]


def estimates(
    noise: str,
    shaping: str,
    fitness: Fitness,
    point: Tensor,
    variance: float,
    num_samples: int = N,
    copies: int = COPIES,
    seed: int = 0,
) -> Tensor:
    """Independent estimates [copies, E, K] at the points [E, K] for a fitness of points [..., M, K], M = copies · E."""
    spread = point.repeat(copies, 1)[None]  # [1, M, K]
    t = torch.tensor([variance])
    q = Perturbation(menu.load("noises", noise), [seed], Role.NOISE, 1, num_samples, t)
    judged = torch.cat([fitness(points) for points in q.around(spread)], 1)  # [1, N, M]
    return q.weighted_sum(weights(shaping, judged), point.shape[1])[0].unflatten(0, (copies, -1)).double()


def hits(copies: int = COPIES, logits: Tensor = LOGITS, targets: Tensor = TARGETS) -> Fitness:
    return lambda points: zero_one(points, targets.repeat(points.shape[-2] // len(logits)))


def assert_mean(draws: Tensor, expected: Tensor) -> None:
    """Hold the mean of draws [n, ...] to `expected`, component by component, within 5 SE and float32's rounding."""
    mean, error = draws.mean(0), draws.std(0) / sqrt(len(draws))
    excess = (mean - expected).abs() - 5 * error - 1e-6 * draws.abs().max()
    assert (excess <= 0).all(), f"mean {mean.tolist()}, expected {expected.tolist()}, standard error {error.tolist()}"


def differs(draws: Tensor, other: Tensor) -> bool:
    """Whether a component of the mean of draws [n, ...] lies more than 5 SE from `other`."""
    return bool(((draws.mean(0) - other).abs() > 5 * draws.std(0) / sqrt(len(draws))).any())


# Constant, linear, quadratic (theory.md, section 12)


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), COMBINATIONS)
def test_constant_fitness_moves_nothing(noise: str, shaping: str, variance: float) -> None:
    """In every draw if the weights or the directions sum to 0, else in expectation."""
    constant = 0.7
    draws = estimates(noise, shaping, lambda points: torch.full(points.shape[:-1], constant), PLACE, variance)
    centred = weights(shaping, uniform(3, N, 5)).sum(1).abs().max() < 1e-6
    assert centred or shaping not in ("leave_one_out", "maxrl", "centered_ranks")
    if centred or noise == "mirrored":
        assert draws.abs().max() < 1e-5 / sqrt(variance)
    else:
        assert draws.std() > 0.1 / sqrt(variance)
        assert_mean(draws, torch.zeros(1, 4))


@pytest.mark.parametrize("constant", [1.0, 0.7, -3.3, 1e6])
@pytest.mark.parametrize("num_samples", [2, 3, 10, 1000])
def test_equal_fitness_has_no_ranks_at_all(constant: float, num_samples: int) -> None:
    """As equal ranks would move the weights in the paper's code, here they must not, to the bit."""
    assert not weights("centered_ranks", torch.full((2, num_samples, 3), constant)).any()


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), UNBIASED)
def test_a_linear_fitness_gives_its_slope(noise: str, shaping: str, variance: float) -> None:
    draws = estimates(noise, shaping, lambda points: points @ SLOPE, PLACE, variance)
    assert_mean(draws, SLOPE[None])


@TWO_VARIANCES
@EACH_NOISE
@pytest.mark.parametrize("intercept", [0.0, 2.0])
def test_the_square_of_a_linear_raw_estimate(noise: str, variance: float, intercept: float) -> None:
    """E|g|² = |∇|²(1 + (K+1)/N) and c²K/(tN) more with an intercept c; mirrored, N/2 samples and no intercept count."""
    draws = estimates(noise, "raw", lambda points: points @ SLOPE + intercept, torch.zeros(1, 4), variance)
    square, independent = SLOPE.double().square().sum(), N * menu.load("noises", noise).DRAWS_PER_SAMPLE
    if noise not in ("independent", "mirrored"):
        pytest.skip(f"the law for {noise} noise is not known here")
    expected = square * (1 + 5 / independent) + (noise == "independent") * intercept**2 * 4 / (variance * N)
    assert_mean(draws.square().sum(-1), expected)


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), UNBIASED)
def test_a_quadratic_fitness_gives_twice_its_matrix_times_the_place(noise: str, shaping: str, variance: float) -> None:
    draws = estimates(noise, shaping, lambda points: ((points @ CURVATURE) * points).sum(-1), PLACE, variance)
    assert_mean(draws, 2 * PLACE @ CURVATURE)


# 0/1 fitness: the estimates against quadrature (theory.md, section 1)


def exact(variance: float, logits: Tensor = LOGITS, targets: Tensor = TARGETS) -> tuple[Tensor, dict[str, Tensor]]:
    """p [E] and the gradients [E, K] that the exact arms stand for."""
    log_p, log_gradient = log_probability_and_gradient(logits, targets, sqrt(variance))
    return log_p.exp(), {"smoothed": log_p.exp()[:, None] * log_gradient, "log_smoothed": log_gradient}


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
    probability, arms = exact(variance)
    promised = [menu.load("shapings", shaping).expects(noise, p, num_samples) for p in probability.tolist()]
    expected = torch.stack([factor * arms[arm][example] for example, (arm, factor) in enumerate(promised)])
    assert_mean(estimates(noise, shaping, hits(), LOGITS, variance, num_samples), expected)


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), SHAPED)
def test_a_shaped_objective_is_refused_or_equals_no_exact_arm(noise: str, shaping: str, variance: float) -> None:
    if refusal(noise, shaping, N):
        return
    probability, arms = exact(variance)
    draws = estimates(noise, shaping, hits(), LOGITS, variance)
    factors = [torch.tensor(1.0), torch.tensor(0.5), *(1 - (1 - probability) ** power for power in (N, N - 1))]
    for gradient, factor in product(arms.values(), factors):
        assert differs(draws, factor.reshape(-1, 1) * gradient)


@TWO_VARIANCES
def test_a_mirrored_centre_inflates_the_gradient_by_n_over_n_minus_1(variance: float) -> None:
    """Leaving the sample, but not its pair, out; centered_ranks are half of it on 0/1 fitness."""
    _, arms = exact(variance)
    for shaping, factor in [("leave_one_out", 1.0), ("centered_ranks", 0.5)]:
        draws = estimates("mirrored", shaping, hits(), LOGITS, variance)
        assert_mean(draws, factor * N / (N - 1) * arms["smoothed"])
        assert differs(draws, factor * arms["smoothed"])


@TWO_VARIANCES
@pytest.mark.parametrize("gap", [-0.3, 0.2])
def test_mirrored_success_estimates_the_gradient_of_p_times_a_factor(variance: float, gap: float) -> None:
    """∇p/(p − c) · E[m/(m + 2c₂)], for two classes, where c = P(both of a pair hit) = max(0, 2p − 1)."""
    logits, targets = torch.tensor([[gap, 0.0]]), torch.tensor([0])
    probability, arms = exact(variance, logits, targets)
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
    assert_mean(draws, mean / (p - both) * arms["smoothed"])


@TWO_VARIANCES
def test_mirrored_maxrl_equals_mirrored_success(variance: float) -> None:
    """Why the first is refused: Σq = 0 cancels the centre."""
    maxrl, success = (
        estimates("mirrored", shaping, hits(), LOGITS, variance, copies=500) for shaping in ("maxrl", "success")
    )
    torch.testing.assert_close(maxrl, success, rtol=0, atol=1e-5 / sqrt(variance))


# Shapings


def all_outcomes(num_samples: int) -> Tensor:
    """Every 0/1 fitness there is of N samples, [2^N, N, 1]."""
    return torch.tensor(list(product([0.0, 1.0], repeat=num_samples)), dtype=torch.float64)[..., None]


@pytest.mark.parametrize("num_samples", [2, 3, 6])
def test_centered_ranks_of_accuracy_are_half_of_leave_one_out(num_samples: int) -> None:
    fitness = all_outcomes(num_samples)
    expected = weights("leave_one_out", fitness) / 2
    torch.testing.assert_close(weights("centered_ranks", fitness), expected, rtol=0, atol=1e-7)


def test_maxrl_of_two_samples_is_leave_one_out() -> None:
    fitness = all_outcomes(2)
    assert torch.equal(weights("maxrl", fitness), weights("leave_one_out", fitness))


def test_maxrl_of_one_sample_is_0() -> None:
    assert not weights("maxrl", torch.tensor([[[0.0, 1.0, 0.3]]])).any()


@pytest.mark.parametrize("levels", [2, 3, 1000])
@pytest.mark.parametrize("num_samples", [2, 3, 10, 101])
def test_tied_fitness_shares_its_mean_rank(levels: int, num_samples: int) -> None:
    fitness = np.random.default_rng(num_samples).integers(-levels, levels, (3, num_samples, 4)) / levels
    ranks = rankdata(fitness, "average", axis=1) - 1
    expected = (ranks / (num_samples - 1) - 0.5) / num_samples
    got = weights("centered_ranks", torch.tensor(fitness, dtype=torch.float32))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 / num_samples)


def naive_raw(f: list[float]) -> list[float]:
    return [each / len(f) for each in f]


def naive_leave_one_out(f: list[float]) -> list[float]:
    others = [[other for m, other in enumerate(f) if m != n] for n in range(len(f))]
    return [(each - sum(rest) / len(rest)) / len(f) for each, rest in zip(f, others, strict=True)]


def naive_success(f: list[float]) -> list[float]:
    return [each / sum(f) if sum(f) else 0.0 for each in f]


def naive_maxrl(f: list[float]) -> list[float]:
    return [each / sum(f) - 1 / len(f) if sum(f) else 0.0 for each in f]


def naive_centered_ranks(f: list[float]) -> list[float]:
    ranks = [sum(other < each for other in f) + (sum(other == each for other in f) - 1) / 2 for each in f]
    return [(rank / (len(f) - 1) - 0.5) / len(f) for rank in ranks]


NAIVE = {name.removeprefix("naive_"): function for name, function in list(globals().items()) if "naive_" in name}
"""Section 1's table of theory.md, one sample after the other."""


def naive_weights(shaping: str, fitness: np.ndarray) -> np.ndarray:
    """The twin's weights for fitness [N, M]."""
    if shaping not in NAIVE:
        pytest.skip(f"'{shaping}' has no naive twin in this file: write one from its equation")
    return np.array([NAIVE[shaping](column) for column in fitness.T.tolist()]).T


@EACH_SHAPING
@pytest.mark.parametrize("kind", ["accuracy", "mean accuracy", "continuous"])
@pytest.mark.parametrize("num_samples", [2, 3, 10])
def test_a_shaping_equals_its_naive_twin(shaping: str, kind: str, num_samples: int) -> None:
    uniform = np.random.default_rng(num_samples).random((3, num_samples, 40))
    fitness = {"accuracy": uniform < 0.3, "mean accuracy": np.round(4 * uniform) / 4, "continuous": uniform}[kind]
    fitness = fitness.astype(np.float32)
    got = weights(shaping, torch.from_numpy(fitness))
    assert got.shape == fitness.shape
    for run in range(3):
        np.testing.assert_allclose(got[run], naive_weights(shaping, fitness[run]), rtol=0, atol=1e-6)


@EACH_SHAPING
def test_a_shaping_does_not_care_for_the_order_of_samples(shaping: str) -> None:
    fitness, order = uniform(2, 9, 5).round(decimals=1), [4, 0, 8, 2, 6, 1, 3, 7, 5]
    torch.testing.assert_close(weights(shaping, fitness[:, order]), weights(shaping, fitness)[:, order])


@EACH_SHAPING
@pytest.mark.parametrize(("runs", "num_samples", "positions"), [(3, 7, 4), (10, 100, 1), (50, 33, 1), (10, 1000, 32)])
def test_a_shaping_knows_no_other_run_to_the_bit(shaping: str, runs: int, num_samples: int, positions: int) -> None:
    fitness = uniform(runs, num_samples, positions)
    whole = weights(shaping, fitness)
    for run in range(runs):
        assert torch.equal(weights(shaping, fitness[[run]])[0], whole[run])


@EACH_SHAPING
def test_a_shaping_knows_no_other_position(shaping: str) -> None:
    fitness = uniform(2, 7, 5)
    whole = weights(shaping, fitness)
    for position in range(5):
        torch.testing.assert_close(weights(shaping, fitness[..., [position]]), whole[..., [position]])


@EACH_SHAPING
def test_a_shaping_leaves_the_fitness_as_it_was(shaping: str) -> None:
    fitness = uniform(2, 6, 3)
    weights(shaping, fitness)
    assert torch.equal(fitness, uniform(2, 6, 3))


@EACH_SHAPING
@pytest.mark.parametrize("others", [0.0, 0.5])
def test_nan_fitness_is_not_repaired(shaping: str, others: float) -> None:
    """Whoever judges NaN must see it: a weight of 0 in its place would hide that anything went wrong."""
    fitness = torch.full((2, N, 3), others)
    fitness[0, 2, 1] = torch.nan
    got = weights(shaping, fitness)
    assert got[0, 2, 1].isnan()
    assert not got[1].isnan().any()
    assert not got[0, :, [0, 2]].isnan().any()


@EACH_SHAPING
@pytest.mark.parametrize("noise", [*NOISES, "a noise to come"])
def test_a_shaping_promises_a_known_arm_or_a_shaped_objective(shaping: str, noise: str) -> None:
    promised = menu.load("shapings", shaping).expects(noise, 0.3, N)
    assert promised is None or (promised[0] in menu.names("exact") and 0 < promised[1] <= 1)


# Noises


@EACH_NOISE
def test_directions_have_mean_0_variance_1_and_no_covariance(noise: str) -> None:
    draw = menu.load("noises", noise).directions(
        lambda start, stop: streams.normals([3, 8], Role.NOISE, 0, start, stop, COPIES, 5), 0, 4
    )
    assert draw.shape == (2, 4, COPIES, 5)
    for sample in draw.flatten(0, 1).double():  # [M, D]
        assert_mean(sample, torch.zeros(5))
        assert_mean(sample[:, :, None] * sample[:, None], torch.eye(5))


@EACH_NOISE
def test_samples_beyond_a_pair_are_uncorrelated(noise: str) -> None:
    draw = (
        menu.load("noises", noise)
        .directions(lambda start, stop: streams.normals([3], Role.NOISE, 0, start, stop, COPIES, 3), 0, 8)[0]
        .double()
    )  # [n, M, D]
    for earlier, later in product((0, 1), (2, 5)):
        assert_mean(draw[earlier] * draw[later], torch.zeros(3))


def test_mirrored_directions_sum_to_0() -> None:
    normals = lambda start, stop: streams.normals([1, 2], Role.NOISE, 3, start, stop, 5, 7)  # noqa: E731
    draw = menu.load("noises", "mirrored").directions(normals, 0, 10)
    assert torch.equal(draw[:, 0::2], -draw[:, 1::2])
    assert not draw[:, 0::2].eq(draw[:, 1::2]).any()


@EACH_NOISE
def test_a_noise_says_how_much_it_draws(noise: str) -> None:
    drawn = []

    def normals(start: int, stop: int) -> Tensor:
        drawn.append(stop - start)
        return streams.normals([0], Role.NOISE, 0, start, stop, 2, 3)

    menu.load("noises", noise).directions(normals, 8, 24)
    assert sum(drawn) == 16 * menu.load("noises", noise).DRAWS_PER_SAMPLE


# Bits: chunks, stacks, seeds

SIZES = [(1, 1), (3, 5), (32, 10), (1, 1003), (7, 4)]  # positions, dimension


def perturbation(
    noise: str, seeds: list[int], step: int, num_samples: int, variance: list[float], dtype=torch.float32, **words: int
) -> Perturbation:
    t = torch.tensor(variance * len(seeds), dtype=dtype)
    return Perturbation(menu.load("noises", noise), seeds, Role.NOISE, step, num_samples, t, **words)


def points_and_sum(q: Perturbation, point: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat(list(q.around(point)), 1), q.weighted_sum(weight, point.shape[-1])


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
    whole = points_and_sum(perturbation(noise, [5, 9], 3, num_samples, [0.04, 9.0], dtype), point, weight)
    assert whole[0].shape == (4, num_samples, positions, dimension)
    for chunk, keep in product([1, 4 * positions * dimension * 17, 2**30], [0, 2**30]):
        q = perturbation(noise, [5, 9], 3, num_samples, [0.04, 9.0], dtype, chunk=chunk, keep=keep)
        for got, expected in zip(points_and_sum(q, point, weight), whole, strict=True):
            assert torch.equal(got, expected)


def test_nothing_larger_than_a_chunk_is_in_memory() -> None:
    q = perturbation("independent", [5], 3, 100, [1.0], chunk=3000, keep=0)
    sizes = [points.numel() for points in q.around(torch.zeros(1, 10, 10))]
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
    stack = points_and_sum(perturbation(noise, seeds, 3, num_samples, variances), point, weight)
    for run, (seed, variance) in enumerate(product(seeds, variances)):
        q = perturbation(noise, [seed], 3, num_samples, [variance])
        for got, expected in zip(points_and_sum(q, point[[run]], weight[[run]]), stack, strict=True):
            assert torch.equal(got[0], expected[run])


@EACH_NOISE
def test_runs_of_a_seed_share_their_noise_whatever_their_variance(noise: str) -> None:
    variances = [0.0625, 1.0, 4.0]  # σ = ¼, 1, 2 scale without rounding
    points = torch.cat(list(perturbation(noise, [5, 9], 3, 10, variances).around(torch.zeros(6, 3, 5))), 1)
    normals = (points / torch.tensor(variances * 2).sqrt().view(6, 1, 1, 1)).unflatten(0, (2, 3))
    assert torch.equal(normals[:, 0], normals[:, 1])
    assert torch.equal(normals[:, 0], normals[:, 2])
    assert not torch.equal(normals[0], normals[1])


@EACH_NOISE
def test_a_position_s_noise_does_not_depend_on_the_batch(noise: str) -> None:
    whole = torch.cat(list(perturbation(noise, [5], 3, 10, [1.0]).around(torch.zeros(1, 7, 5))), 1)
    part = torch.cat(list(perturbation(noise, [5], 3, 10, [1.0]).around(torch.zeros(1, 4, 5))), 1)
    assert torch.equal(part, whole[:, :, :4])


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


# The lecture's loop, written once more


def lecture(
    logits: np.ndarray, targets: np.ndarray, normals: np.ndarray, variance: float, noise: str, shaping: str
) -> np.ndarray:
    """g = (1/t) Σ w_n q_n, f_n = isequal(argmax(l + q_n), y), for one example and one sample after the other."""
    result = np.zeros(logits.shape)
    num_samples = len(normals) * (2 if noise == "mirrored" else 1)
    for b, (logit, target) in enumerate(zip(logits, targets, strict=True)):
        q, f = [], []
        for n in range(num_samples):
            normal = (-1) ** n * normals[n // 2, b] if noise == "mirrored" else normals[n, b]
            q.append(np.float32(sqrt(variance)) * normal)
            f.append(float(np.argmax(logit + q[-1]) == target))
        for w, each in zip(naive_weights(shaping, np.array(f)[:, None])[:, 0], q, strict=True):
            result[b] += w * each.astype(np.float64) / variance
    return result


@TWO_VARIANCES
@pytest.mark.parametrize(("noise", "shaping"), COMBINATIONS)
def test_the_lecture_s_loop_gives_the_same_gradient(noise: str, shaping: str, variance: float) -> None:
    if noise not in ("independent", "mirrored"):
        pytest.skip(f"{noise} noise is not written out here")
    logits, targets = torch.cat([LOGITS, LOGITS.flip(1)]), torch.cat([TARGETS, TARGETS])
    num_samples, seed, step = 30, 11, 5
    drawn = int(num_samples * menu.load("noises", noise).DRAWS_PER_SAMPLE)
    normals = streams.normals([seed], Role.NOISE, step, 0, drawn, *logits.shape)[0].numpy()
    expected = lecture(logits.numpy(), targets.numpy(), normals, variance, noise, shaping)
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
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * (1 + 1 / sqrt(variance)))
