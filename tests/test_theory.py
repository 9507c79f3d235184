"""The laws of variance, mini-batches and parameters against estimates, written-out formulas and each other."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.gradients.quadrature import log_probability_and_gradient
from esgrad.kernels.streams import Role
from esgrad.laws import (
    RANK_FACTOR,
    baseline_variance,
    batch_variance,
    best_baseline,
    best_num_samples,
    covariance,
    gradient_variance,
    mean_and_covariance,
    parameter_directions_needed,
    parameter_squared_cosine,
    pushed_variance,
    samples_needed,
    squared_cosine,
    tied_ratio,
)
from esgrad.laws.binomial import hits
from tests.drawing import (
    CASES,
    COUNTED,
    EACH_CASE,
    EACH_LAW,
    LAWFUL,
    LECTURE,
    TARGET,
    TWO_SIGMAS,
    ZERO_ONE,
    Case,
    Known,
    Words,
    assert_mean,
    drawn,
    known,
    level_place,
    modules,
    place,
    scattered,
)
from tests.estimating import Of

RAW, LEAVE_ONE_OUT, MAXRL = (menu.load("shapings", name) for name in ("raw", "leave_one_out", "maxrl"))
SINGLE = [words for words in LAWFUL if modules(words)[0].INDEPENDENT]
EACH_SINGLE = pytest.mark.parametrize("words", SINGLE, ids="-".join)


def moments(words: Words, logits: Tensor, targets: Tensor, variance: float) -> theory.Moments:
    noise, credit, _ = modules(words)
    return theory.moments(noise, credit, logits, targets, variance, whole=True)


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


QUADRATURE_TWICE = ("independent", "class")  # of every class, to the 1e-6 that esgrad.gradients.quadrature promises


def rarely(words: Words, case: Case, law: torch.Tensor) -> torch.Tensor:
    """What draws that miss a rare event may lack of a variance: credited with the class an estimate is the gradient
    unless no sample hits, so that a few thousand draws may all be alike. Five standard errors of such a mixture."""
    if not modules(words)[1].OF_CLASSES:
        return torch.zeros(())
    longest = drawn(case)[words].square().sum(-1).max().clamp(min=law / case.copies)
    return 5 * (law * longest / case.copies).sqrt()


@EACH_CASE
def test_estimates_have_the_variance_of_their_law(case: Case) -> None:
    for words, estimates in drawn(case).items():
        if words in LAWFUL:
            squares = (estimates - estimates.mean(0)).square().sum(-1) * len(estimates) / (len(estimates) - 1)
            law = gradient_variance(modules(words)[2], case.place(words), case.num_samples)
            assert_mean(squares, law, rarely(words, case, law))


@pytest.mark.parametrize("case", [case for case in CASES if case.num_logits <= 10], ids=str)
def test_estimates_have_the_mean_and_the_covariance_of_their_law(case: Case) -> None:
    for words, estimates in drawn(case).items():
        if words in SINGLE:
            away = estimates - estimates.mean(0)
            at = moments(words, case.logits, TARGET, case.sigma**2)
            mean, law = mean_and_covariance(modules(words)[2], at, case.num_samples)
            allowed = rarely(words, case, law.diagonal().sum())
            assert_mean(estimates, mean, allowed.sqrt())
            assert_mean(away[:, :, None] * away[:, None], law, allowed)


@pytest.mark.parametrize("shaping", COUNTED)
def test_every_shaping_weighs_counts_as_it_weighs_fitness(shaping: str) -> None:
    """Of r hits in N: the law's two weights against the shaping's own, which do not ask for norms."""
    module, heard = menu.load("shapings", shaping), False
    for n, r in ((size, some) for size in (2, 3, 7) for some in range(size + 1)):
        fitness = (torch.arange(n, dtype=torch.float64) < r).double()[None, :, None]
        of_hit, of_miss = module.of_counts(torch.tensor(float(r)), torch.tensor(float(n - r)))
        got = module.weights(fitness, lambda: pytest.fail("weights of counts know no norms"))[0, :, 0]
        torch.testing.assert_close(got[:r], of_hit.double().expand(r), rtol=0, atol=1e-6)
        torch.testing.assert_close(got[r:], of_miss.double().expand(n - r), rtol=0, atol=1e-6)
        heard = heard or bool(of_miss != 0)
    assert heard is module.WEIGHS_MISSES


def written_out(words: Words, at: Known, n: int) -> float:
    """tr Var g of each as a formula of its own, in p, ∇ and second moments; E[1/r; r > 0] a plain sum.

    Credited with Gaussian noise, `whole` is K/t and `bend` is Δp.
    """
    noise, _, shaping = words
    p, square, whole = float(at.probability), float(at.gradient_square), float(at.total)
    bend = p * (float(at.hit) - whole)
    pair = p * (float(at.hit) - float(at.share * at.single))  # E[f₊f₋|q|²]/t² of a mirrored pair
    centred = p * (1 - p) * whole + (1 - 2 * p) * bend - square
    r = np.arange(1, n + 1)
    inverse = (binom.pmf(r, n, p) / r).sum()
    alpha, beta, log_square = 1 - (1 - p) ** n, 1 - (1 - p) ** (n - 1), square / p**2
    of_hit, of_miss = whole + bend / p - log_square, whole - bend / (1 - p) - square / (1 - p) ** 2
    leave_one_out = (centred + (p * (1 - p) * whole + square) / (n - 1)) / n
    mirrored = (p * whole + bend - pair - 2 * square) / n
    roots = (np.sqrt(r * (n - r)) / n * binom.pmf(r, n, p)).sum()  # E of the z_score's √(f̄(1−f̄))
    single = {
        "raw": (p * whole + bend - square) / n,
        "leave_one_out": leave_one_out,
        "centered_ranks": leave_one_out / 4,
        "success": of_hit * inverse + log_square * alpha * (1 - alpha),
        "maxrl": of_hit * (inverse - (2 * alpha - p) / n)
        + of_miss * (alpha - p) / n
        + log_square * ((1 - beta) * (beta - p / (1 - p)) + p / (n * (1 - p))),
        "z_score": of_hit * (1 - p - binom.pmf(0, n, p)) / n
        + of_miss * (p - binom.pmf(n, n, p)) / n
        + log_square / (1 - p) ** 2 * (p * (1 - p) * (1 - 1 / n) - roots**2),
    }
    of_pairs = {"raw": mirrored, "centered_ranks": mirrored * (n / (2 * (n - 1))) ** 2}
    formulas = of_pairs if menu.load("noises", noise).PAIRS else single
    if shaping not in formulas:
        pytest.skip(f"'{shaping}' has no formula in this file: write its variance out")
    return formulas[shaping]


@TWO_SIGMAS
@EACH_LAW
def test_the_laws_are_what_the_formulas_say(words: Words, sigma: float) -> None:
    for num_logits, spread, n in product((2, 3, 50), (0.1, 2.0), (2, 4, 64)):
        logits, targets = scattered(4, num_logits, spread * sigma)
        got = gradient_variance(modules(words)[2], place(logits, targets, sigma**2, words), n)
        at = known(logits, targets, sigma**2, words)
        one = [written_out(words, at.map(lambda field, e=e: field[e]), n) for e in range(4)]
        assert got.tolist() == pytest.approx(one, rel=1e-5 if words[:2] == QUADRATURE_TWICE else 1e-8)


@TWO_SIGMAS
@EACH_SINGLE
def test_the_trace_of_the_covariance_is_the_variance(words: Words, sigma: float) -> None:
    """Which is positive in all directions that the credit goes: of classes, in all but one."""
    logits, targets = scattered(5, 7, 2 * sigma)
    _, credit, shaping = modules(words)
    matrix = covariance(shaping, moments(words, logits, targets, sigma**2), 5)
    want = gradient_variance(shaping, place(logits, targets, sigma**2, words), 5)
    torch.testing.assert_close(matrix.diagonal(dim1=-2, dim2=-1).sum(-1), want, rtol=1e-9, atol=0)
    least = torch.linalg.eigvalsh(matrix)
    assert (least > -1e-12 * want[:, None]).all() if credit.OF_CLASSES else (least > 0).all()


@TWO_SIGMAS
def test_a_fixed_baseline_has_the_variance_of_its_law_and_the_best_one_the_least(sigma: float) -> None:
    case = Case(5, 1, sigma, 0.5)
    at, generator = case.place(), torch.Generator().manual_seed(0)
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
    raw = gradient_variance(RAW, at, 3)
    assert baseline_variance(at, 0.0, 3).item() == pytest.approx(raw.item(), rel=1e-9)


@EACH_LAW
def test_scaling_the_logits_and_sigma_divides_the_variance_by_the_square(words: Words) -> None:
    logits, targets = scattered(5, 4, 1.0)
    one, scaled = place(logits, targets, 0.49, words), place(7 * logits, targets, 49 * 0.49, words)
    shaping = modules(words)[2]
    want = gradient_variance(shaping, one, 6)
    torch.testing.assert_close(49 * gradient_variance(shaping, scaled, 6), want, rtol=1e-9, atol=0)
    cosine = squared_cosine(shaping, one, 6)
    torch.testing.assert_close(squared_cosine(shaping, scaled, 6), cosine, rtol=1e-9, atol=0)


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
    estimator, fitness = (
        Estimator.of("independent", "noise", shaping, num_samples),
        PerExample(ZERO_ONE, targets[chosen][None]),
    )
    key = Key([3], Role.NOISE, 1)
    estimate = estimator.gradient(fitness, logits[chosen][None], torch.tensor([sigma**2]), key).gradient[0].double()
    pushed = torch.einsum("edk,ek->ed", jacobian[chosen], estimate).view(copies, batch_size, -1).mean(1)
    log_p, slope = log_probability_and_gradient(logits, targets, sigma)
    exact = torch.einsum("edk,ek->ed", jacobian, log_p.exp()[:, None] * slope)
    of_data = (exact - exact.mean(0)).square().sum(-1).mean()
    matrix = covariance(estimator.shaping, moments(LECTURE, logits, targets, sigma**2), num_samples)
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
    estimator, fitness = Estimator.of("mirrored", "noise", "raw", num_samples), Of(lambda points: points @ slope + 5)
    place, key = torch.zeros(1, copies, num_parameters), Key([2], Role.NOISE, 1)
    estimate = estimator.gradient(fitness, place, torch.tensor([sigma**2]), key).gradient[0].double()
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


def of_pairs(at: theory.Place) -> theory.Place:
    return level_place(3, 1.0, ("mirrored", "noise", "raw"))


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (
            lambda at: gradient_variance(MAXRL, of_pairs(at), 4),
            "the variance of maxrl with mirrored pairs has no law here",
        ),
        (
            lambda at: squared_cosine(menu.load("shapings", "best_baseline"), at, 4),
            "the cosine of best_baseline has no law here",
        ),
        (
            lambda at: gradient_variance(menu.load("shapings", "best_baseline"), at, 4),
            "the variance of best_baseline with independent samples has no law here",
        ),
        (lambda at: gradient_variance(LEAVE_ONE_OUT, at, 1), "num_samples is 1: expected 2 or more"),
        (lambda at: samples_needed(RAW, at, 1.0), "cosine is 1.0: expected a number between 0 and 1"),
        (
            lambda at: covariance(
                menu.load("shapings", "best_baseline"), moments(LECTURE, torch.zeros(3), TARGET, 1.0), 4
            ),
            "the variance of best_baseline with independent samples has no law here",
        ),
        (
            lambda at: place(torch.zeros(3), TARGET, 1.0, ("orthogonal", "noise", "raw")),
            "no law is known for noise orthogonal credited with the noise",
        ),
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


def test_mirrored_pairs_have_a_law_for_every_multiple_of_raw() -> None:
    """Of what is not refused with Σq = 0: raw and what is linear in the fitness on 0/1."""
    assert {shaping for noise, _, shaping in LAWFUL if noise == "mirrored"} == {"raw", "centered_ranks"}
