"""The laws of variance, mini-batches and parameters against estimates, written-out formulas and each other."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm

from esgrad import menu
from esgrad.blackboxes.zero_one import fitness as zero_one
from esgrad.perturbation import Perturbation
from esgrad.quadrature import log_probability_and_gradient
from esgrad.streams import Role
from esgrad.theory import (
    RANK_FACTOR,
    Place,
    baseline_variance,
    batch_variance,
    best_baseline,
    best_num_samples,
    covariance,
    gradient_variance,
    level_place,
    mean_and_covariance,
    parameter_directions_needed,
    parameter_squared_cosine,
    place,
    pushed_variance,
    samples_needed,
    squared_cosine,
    tied_ratio,
)
from esgrad.theory.binomial import hits
from esgrad.theory.variance import MIRRORED, WEIGHTS
from tests.drawing import CASES, EACH_CASE, PAIRS, TARGET, TWO_SIGMAS, Case, assert_mean, drawn, scattered

# The number of hits


@pytest.mark.parametrize("mean", [0.001, 0.03, 0.3, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("num_samples", [100, 10_000, 10**9])
def test_where_hits_are_rare_their_means_have_ten_digits(mean: float, num_samples: int) -> None:
    """Factorial moments, N(N−1)(N−2) p³ the third, weigh the tail; E 1/(r+1) is known too, E 1/r a sum."""
    n, p = num_samples, mean / num_samples
    counts = np.arange(1, min(n, 150) + 1)
    want = [
        *(math.prod(n - i for i in range(power)) * p**power for power in (1, 2, 3)),
        -math.expm1((n + 1) * math.log1p(-p)) / ((n + 1) * p),
        (binom.pmf(counts, n, p) / counts).sum(),
    ]
    r, _, weight = hits(torch.tensor(math.log(p), dtype=torch.float64), torch.tensor(1 - p, dtype=torch.float64), n)
    means = [r, r * (r - 1), r * (r - 1) * (r - 2), 1 / (r + 1), torch.where(r > 0, 1 / r, 0.0)]
    assert [float((weight * of_hits).sum()) for of_hits in means] == pytest.approx(want, rel=1e-10)


# The variance laws


@EACH_CASE
def test_estimates_have_the_variance_of_their_law(case: Case) -> None:
    for pair, estimates in drawn(case).items():
        if pair in PAIRS:
            squares = (estimates - estimates.mean(0)).square().sum(-1) * len(estimates) / (len(estimates) - 1)
            assert_mean(squares, gradient_variance(*pair, case.place, case.num_samples))


@pytest.mark.parametrize("case", [case for case in CASES if case.num_logits <= 10], ids=str)
def test_estimates_have_the_mean_and_the_covariance_of_their_law(case: Case) -> None:
    for (noise, shaping), estimates in drawn(case).items():
        if noise == "independent":
            away = estimates - estimates.mean(0)
            mean, law = mean_and_covariance(shaping, case.logits, TARGET, case.sigma**2, case.num_samples)
            assert_mean(estimates, mean)
            assert_mean(away[:, :, None] * away[:, None], law)


def test_every_shaping_whose_weights_are_written_here_is_on_the_menu_and_weighs_so() -> None:
    """Of r hits in N: the law's two weights against the shaping's own."""
    assert set(WEIGHTS) <= set(menu.names("shapings"))
    for shaping, of_counts in WEIGHTS.items():
        for n, r in ((size, some) for size in (2, 3, 7) for some in range(size + 1)):
            fitness = (torch.arange(n, dtype=torch.float64) < r).double()[None, :, None]
            of_hit, of_miss = of_counts(torch.tensor(float(r)), torch.tensor(float(n - r)))
            got = menu.load("shapings", shaping).weights(fitness)[0, :, 0]
            torch.testing.assert_close(got[:r], of_hit.double().expand(r), rtol=0, atol=1e-6)
            torch.testing.assert_close(got[r:], of_miss.double().expand(n - r), rtol=0, atol=1e-6)


def written_out(noise: str, shaping: str, at: Place, n: int) -> float:
    """tr Var g of each pair as a formula of its own, in p, ∇ and Δ; E[1/r; r > 0] a plain sum."""
    k, t, p = at.num_logits, float(at.variance), float(at.probability)
    square, bend, pair = float(at.gradient_square), float(at.laplacian), float(at.pair_square)
    centred = p * (1 - p) * k / t + (1 - 2 * p) * bend - square
    r = np.arange(1, n + 1)
    inverse = (binom.pmf(r, n, p) / r).sum()
    alpha, beta, log_square = 1 - (1 - p) ** n, 1 - (1 - p) ** (n - 1), square / p**2
    of_hit, of_miss = k / t + bend / p - log_square, k / t - bend / (1 - p) - square / (1 - p) ** 2
    leave_one_out = (centred + (p * (1 - p) * k / t + square) / (n - 1)) / n
    mirrored = (p * k / t + bend - pair / t**2 - 2 * square) / n
    roots = (np.sqrt(r * (n - r)) / n * binom.pmf(r, n, p)).sum()  # E of the z_score's √(f̄(1−f̄))
    mixed = binom.pmf(0, n, p) + binom.pmf(n, n, p)
    return {
        ("independent", "raw"): (p * k / t + bend - square) / n,
        ("independent", "leave_one_out"): leave_one_out,
        ("independent", "centered_ranks"): leave_one_out / 4,
        ("independent", "success"): of_hit * inverse + log_square * alpha * (1 - alpha),
        ("independent", "maxrl"): of_hit * (inverse - (2 * alpha - p) / n)
        + of_miss * (alpha - p) / n
        + log_square * ((1 - beta) * (beta - p / (1 - p)) + p / (n * (1 - p))),
        ("independent", "z_score"): (
            of_hit * (1 - p - binom.pmf(0, n, p)) / n
            + of_miss * (p - binom.pmf(n, n, p)) / n
            + log_square / (1 - p) ** 2 * (p * (1 - p) * (1 - 1 / n) - roots**2)
        )
        + 0 * mixed,
        ("mirrored", "raw"): mirrored,
        ("mirrored", "centered_ranks"): mirrored * (n / (2 * (n - 1))) ** 2,
    }[noise, shaping]


@TWO_SIGMAS
@pytest.mark.parametrize(("noise", "shaping"), PAIRS)
def test_the_laws_are_what_the_formulas_say(noise: str, shaping: str, sigma: float) -> None:
    for num_logits, spread, n in product((2, 3, 50), (0.1, 2.0), (2, 4, 64)):
        logits, targets = scattered(4, num_logits, spread * sigma)
        at = place(logits, targets, sigma**2)
        got = gradient_variance(noise, shaping, at, n)
        one = [written_out(noise, shaping, at.map(lambda field, e=e: field[e]), n) for e in range(4)]
        assert got.tolist() == pytest.approx(one, rel=1e-8)


@TWO_SIGMAS
@pytest.mark.parametrize("shaping", WEIGHTS)
def test_the_trace_of_the_covariance_is_the_variance(shaping: str, sigma: float) -> None:
    logits, targets = scattered(5, 7, 2 * sigma)
    matrix = covariance(shaping, logits, targets, sigma**2, 5)
    want = gradient_variance("independent", shaping, place(logits, targets, sigma**2), 5)
    torch.testing.assert_close(matrix.diagonal(dim1=-2, dim2=-1).sum(-1), want, rtol=1e-9, atol=0)
    assert (torch.linalg.eigvalsh(matrix) > 0).all()


@TWO_SIGMAS
def test_a_fixed_baseline_has_the_variance_of_its_law_and_the_best_one_the_least(sigma: float) -> None:
    case = Case(5, 1, sigma, 0.5)
    at, generator = case.place, torch.Generator().manual_seed(0)
    q = sigma * torch.randn(200_000, 5, generator=generator)
    hit = ((case.logits + q).argmax(-1) == 0).double()
    best = best_baseline(at)
    for baseline in (0.0, 0.3, float(best)):
        terms = (hit - baseline)[:, None] * q / sigma**2
        assert_mean((terms - terms.mean(0)).square().sum(-1), baseline_variance(at, baseline, 1))
        assert baseline_variance(at, best, 1) <= baseline_variance(at, baseline, 1)
    assert best.item() == pytest.approx(
        ((hit * q.square().sum(-1)).mean() / q.square().sum(-1).mean()).item(), rel=0.02
    )
    raw = gradient_variance("independent", "raw", at, 3)
    assert baseline_variance(at, 0.0, 3).item() == pytest.approx(raw.item(), rel=1e-9)


@pytest.mark.parametrize(("noise", "shaping"), PAIRS)
def test_scaling_the_logits_and_sigma_divides_the_variance_by_the_square(noise: str, shaping: str) -> None:
    logits, targets = scattered(5, 4, 1.0)
    one, scaled = place(logits, targets, 0.49), place(7 * logits, targets, 49 * 0.49)
    want = gradient_variance(noise, shaping, one, 6)
    torch.testing.assert_close(49 * gradient_variance(noise, shaping, scaled, 6), want, rtol=1e-9, atol=0)
    cosine = squared_cosine(noise, shaping, one, 6)
    torch.testing.assert_close(squared_cosine(noise, shaping, scaled, 6), cosine, rtol=1e-9, atol=0)


# Mini-batches and parameters


@TWO_SIGMAS
@pytest.mark.parametrize("shaping", ["raw", "leave_one_out"])
def test_a_mini_batch_has_the_variance_of_its_examples_and_of_its_noise(shaping: str, sigma: float) -> None:
    """Examples drawn with replacement from twenty, pushed on by a Jacobian of their own."""
    num_samples, batch_size, copies, num_logits = 4, 3, 6_000, 3
    logits, targets = scattered(20, num_logits, sigma)
    logits = logits.float()
    generator = torch.Generator().manual_seed(5)
    jacobian = torch.randn(20, 4, num_logits, generator=generator, dtype=torch.float64)
    chosen = torch.randint(20, (copies * batch_size,), generator=generator)
    q = Perturbation(menu.load("noises", "independent"), [3], Role.NOISE, 1, num_samples, torch.tensor([sigma**2]))
    fitness = torch.cat([zero_one(points, targets[chosen]) for points in q.around(logits[chosen][None])], 1)
    estimate = q.weighted_sum(menu.load("shapings", shaping).weights(fitness), num_logits)[0].double()
    pushed = torch.einsum("edk,ek->ed", jacobian[chosen], estimate).view(copies, batch_size, -1).mean(1)
    log_p, slope = log_probability_and_gradient(logits, targets, sigma)
    exact = torch.einsum("edk,ek->ed", jacobian, log_p.exp()[:, None] * slope)
    of_data = (exact - exact.mean(0)).square().sum(-1).mean()
    matrix = covariance(shaping, logits, targets, sigma**2, num_samples)
    of_noise = pushed_variance(matrix, jacobian.mT @ jacobian).mean()
    assert of_noise > 0.1 * of_data
    assert of_data > 0.001 * of_noise
    squares = (pushed - exact.mean(0)).square().sum(-1)
    assert_mean(squares, batch_variance(of_data, of_noise, batch_size))


@pytest.mark.parametrize("query", [0.2, 1.0, 7.0])
@pytest.mark.parametrize("forward", [3.0, 50.0])
def test_the_best_number_of_samples_is_the_cheapest(query: float, forward: float) -> None:
    """Of all N there are, by search: a minimum is found to the root of the digits that its price has."""
    variance, of_data = 800.0, 2.0

    def price(log_n: float) -> float:
        return (of_data + variance / math.exp(log_n)) * (forward + math.exp(log_n) * query)

    cheapest = math.exp(minimize_scalar(price, bounds=(0, 10), method="bounded", options={"xatol": 1e-9}).x)
    assert best_num_samples(of_data, variance, forward, query).item() == pytest.approx(cheapest, rel=1e-6)
    assert best_num_samples(of_data, variance, 0.0, query) == 1  # where only queries cost, one is best


@TWO_SIGMAS
@pytest.mark.parametrize(("num_parameters", "num_samples"), [(3, 6), (50, 20)])
def test_mirrored_directions_at_parameters_point_as_their_number_says(
    num_parameters: int, num_samples: int, sigma: float
) -> None:
    copies = 4_000
    slope = torch.randn(num_parameters, generator=torch.Generator().manual_seed(0))
    q = Perturbation(menu.load("noises", "mirrored"), [2], Role.NOISE, 1, num_samples, torch.tensor([sigma**2]))
    fitness = torch.cat([points @ slope + 5 for points in q.around(torch.zeros(1, copies, num_parameters))], 1)
    estimate = q.weighted_sum(menu.load("shapings", "raw").weights(fitness), num_parameters)[0].double()
    squares = (estimate @ slope.double()) ** 2 / estimate.square().sum(-1) / slope.double().square().sum()
    assert_mean(squares, torch.tensor(parameter_squared_cosine(num_samples // 2, num_parameters)), 1e-5)


def test_the_parameter_law_retrodicts_zhang_clune_and_stanley() -> None:
    """arXiv 1712.06564: 3,274,634 parameters, 3.9 % at 10,000 offspring, about 274,000 for 20 %."""
    d = 3_274_634
    assert f"{100 * math.sqrt(parameter_squared_cosine(10_000 / 2, d)):.3f}" == "3.905"
    assert 2 * math.ceil(parameter_directions_needed(0.2, d)) == 272_888
    assert f"{100 * math.sqrt(parameter_squared_cosine(RANK_FACTOR * 5_000, d)):.3f}" == "3.816"
    assert 2 * math.ceil(parameter_directions_needed(0.2, d) / RANK_FACTOR) == 285_766


@pytest.mark.parametrize(("d", "cosine"), [(3, 0.5), (3, 0.9), (2, 0.8), (28_938, 0.2)])
def test_the_directions_needed_give_the_cosine_they_are_needed_for(d: int, cosine: float) -> None:
    directions = float(parameter_directions_needed(cosine, d))
    assert parameter_squared_cosine(directions, d) == pytest.approx(cosine**2, rel=1e-12)


def test_the_rank_factor_is_the_squared_correlation_of_a_normal_and_its_rank() -> None:
    covariance_with_rank, _ = quad(lambda x: x * norm.cdf(x) * norm.pdf(x), -10, 10)
    assert covariance_with_rank**2 * 12 == pytest.approx(RANK_FACTOR, rel=1e-9)  # a rank has variance 1/12


# Refusals


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (
            lambda at: gradient_variance("mirrored", "maxrl", at, 4),
            "mirrored × maxrl has no law here. Known: independent",
        ),
        (lambda at: squared_cosine("mirrored", "maxrl", at, 4), "mirrored × maxrl has no law here. Known: independent"),
        (lambda at: gradient_variance("independent", "leave_one_out", at, 1), "num_samples is 1: expected 2 or more"),
        (lambda at: samples_needed("independent", "raw", at, 1.0), "cosine is 1.0: expected a number between 0 and 1"),
        (lambda at: covariance("wild", torch.zeros(3), TARGET, 1.0, 4), "independent × wild has no law here"),
        (lambda at: place(torch.zeros(1), TARGET, 1.0), r"logits have shape \[1\]: expected two classes or more"),
        (lambda at: place(torch.zeros(3), TARGET, -1.0), "sigma is nan: expected a positive"),
        (lambda at: level_place(1, 1.0), "num_logits is 1: expected two classes or more"),
        (lambda at: level_place(3, 0.0), "variance t is 0.0: expected a positive number"),
        (lambda at: tied_ratio(5, 4, True), "num_tied is 5: expected 2 to num_logits = 4"),
    ],
)
def test_what_has_no_law_is_refused_by_name(ask, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ask(level_place(3, 1.0))


def test_every_multiple_of_mirrored_raw_is_on_the_menu() -> None:
    assert {shaping for _, shaping in MIRRORED} <= set(menu.names("shapings"))
