"""The expected cosine, the samples it takes and the number of hits behind both, against estimates and exact sums."""

import math
import time
from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from esgrad import menu
from esgrad.gradients.quadrature import log_probability_and_gradient
from esgrad.laws import (
    baseline_variance,
    gradient_variance,
    level_place,
    mean_cosine,
    samples_needed,
    squared_cosine,
)
from esgrad.laws.binomial import hits
from esgrad.laws.curvature import hessian
from tests.drawing import (
    EACH_CASE,
    EACH_DIRECTION,
    LAWFUL,
    TARGET,
    TWO_SIGMAS,
    Case,
    Known,
    Words,
    ahead,
    assert_mean,
    drawn,
    known,
    lead,
    modules,
    place,
    scattered,
)

SUCCESS = menu.load("shapings", "success")
RAW, LEAVE_ONE_OUT, MAXRL = (menu.load("shapings", name) for name in ("raw", "leave_one_out", "maxrl"))


@pytest.mark.parametrize("num_logits", [2, 10, 1000])
@pytest.mark.parametrize("noise", ["gumbel", "independent"])
def test_an_estimate_that_does_not_scatter_points_exactly_where_it_is_heard(noise: str, num_logits: int) -> None:
    """Success weights credited with the class: the gradient itself with probability 1 − (1 − 1/K)^N, else 0."""
    level = level_place(menu.load("noises", noise), menu.load("credits", "class"), num_logits, 1.0)
    for num_samples in (1, 7, 700):
        heard = 1 - (1 - 1 / num_logits) ** num_samples
        assert mean_cosine(SUCCESS, level, num_samples).item() == pytest.approx(heard, rel=1e-11)
    needed = math.log(0.5) / math.log1p(-1 / num_logits)
    assert samples_needed(SUCCESS, level, 0.5, of_mean=True).item() == pytest.approx(needed, rel=1e-8)


# The hits


@pytest.mark.parametrize("num_samples", [1, 2, 7, 60, 200, 5_000, 10**6])
@pytest.mark.parametrize("p", [1e-9, 1e-3, 0.05, 0.3, 0.5, 0.8, 1 - 1e-7])
def test_means_over_the_hits_are_those_of_the_binomial(p: float, num_samples: int) -> None:
    r, s, weight = hits(
        torch.tensor(p, dtype=torch.float64).log(), torch.tensor(1 - p, dtype=torch.float64), num_samples
    )
    reach = 12 * math.sqrt(num_samples * p * (1 - p)) + 30
    counts = np.arange(max(0, int(num_samples * p - reach)), min(num_samples, int(num_samples * p + reach)) + 1)
    chance = binom.pmf(counts, num_samples, p)
    seen = counts > 0
    want = [
        (chance[seen] / counts[seen]).sum(),
        num_samples * p,
        num_samples * p * (1 - p),
        (np.sqrt(counts * (num_samples - counts)) * chance).sum(),
    ]
    got = [
        (weight * torch.where(r > 0, 1 / r, 0.0)).sum(),
        (weight * r).sum(),
        (weight * (r - num_samples * p) ** 2).sum(),
        (weight * (r * s).sqrt()).sum(),
    ]
    assert [float(value) for value in got] == pytest.approx(want, rel=1e-7)


@pytest.mark.parametrize("p", [1e-6, 0.3, 0.999])
def test_a_thousand_million_samples_are_no_harder(p: float) -> None:
    n = 1e9
    r, _, weight = hits(torch.tensor(p, dtype=torch.float64).log(), torch.tensor(1 - p, dtype=torch.float64), n)
    assert (weight * r).sum().item() == pytest.approx(n * p, rel=1e-9)
    assert (weight * (r - n * p) ** 2).sum().item() == pytest.approx(n * p * (1 - p), rel=1e-7)
    mean, variance = n * p, n * p * (1 - p)
    skew = variance * (1 - 2 * p)
    series = 1 / mean + variance / mean**3 - skew / mean**4 + 3 * variance**2 / mean**5
    assert (weight / r.clamp(min=1)).sum().item() == pytest.approx(series, rel=1e-7)


@pytest.mark.parametrize("p", [0.01, 0.4, 0.6, 0.99])
def test_the_mean_hits_go_through_whole_numbers_of_samples_without_a_jump(p: float) -> None:
    log_p, miss = torch.tensor(p, dtype=torch.float64).log(), torch.tensor(1 - p, dtype=torch.float64)

    def mean(n: float) -> float:
        r, s, weight = hits(log_p, miss, n)
        return float((weight * r / (r + 1) * (s + 1).sqrt()).sum())

    for whole in (2.0, 5.0, 100.0):
        assert [mean(whole - 1e-9), mean(whole + 1e-9)] == pytest.approx([mean(whole)] * 2, rel=1e-6)


# The cosine


FEW_CLASSES = 0.3  # the same for centred weights credited with the class
ANYWHERE = 0.12  # what `squared_cosine` promises of its relative error however few the hits


def bound(words: Words, at: Known, num_samples: int) -> float:
    """What `squared_cosine` promises of its relative error, by the hits (misses, pairs) that are expected."""
    noise, _, shaping = modules(words)
    rarest = num_samples * min(at.probability.item(), at.miss.item())
    hit = num_samples * at.probability.item()
    expected = rarest if shaping.WEIGHS_MISSES else hit
    if noise.PAIRS:
        expected = hit * at.share.item()
    return 0.015 if expected >= 32 else 0.04 if expected >= 8 else FEW_CLASSES if _few(words) else ANYWHERE


def _few(words: Words) -> bool:
    """A centre made of the credits of a few classes is far from Gaussian."""
    _, credit, shaping = modules(words)
    return credit.OF_CLASSES and shaping.WEIGHS_MISSES


@EACH_CASE
def test_estimates_point_as_well_as_the_law_says(case: Case) -> None:
    for words, estimates in drawn(case).items():
        t = torch.tensor([case.sigma**2], dtype=torch.float64)
        exact = modules(words)[0].EXACT.log_p.gradient(case.logits[None, None].double(), TARGET[None, None], t)[0, 0]
        exact = exact / exact.norm()
        square = estimates.square().sum(-1)
        cosines = torch.where(square > 0, estimates @ exact / square.sqrt(), 0.0)
        promise = bound(words, known(case.logits, TARGET, case.sigma**2, words), case.num_samples)
        for draws, law in [(cosines.square(), squared_cosine), (cosines, mean_cosine)]:
            expected = law(modules(words)[2], case.place(words), case.num_samples)
            allowed = 0.04 if law is mean_cosine and promise == ANYWHERE else promise * expected
            assert_mean(draws, expected, allowed)


def first_sample(logits: Tensor, sigma: float) -> tuple[float, float]:
    """E cos² and E cos of raw at N = 1, exactly: E[(v̂·q)²/|q|² f] = ∫ E[(v̂·q)² e^{−s|q|²} f] ds.

    e^{−s|q|²} turns noise of variance t into noise of 1/(1/t + 2s). E cos is ∫ E[v̂·q e^{−s|q|²} f] ds/√(πs).
    """
    _, slope = log_probability_and_gradient(logits, TARGET, sigma)
    direction = slope / slope.norm()
    s = torch.arange(-30.0, 18.0, 0.25, dtype=torch.float64).exp() / sigma**2
    narrow = 1 / (1 / sigma**2 + 2 * s)
    copies, targets = logits.expand(len(s), -1), TARGET.expand(len(s))
    log_p, slopes = log_probability_and_gradient(copies, targets, narrow.sqrt())
    bend = torch.einsum("j,ejk,k->e", direction, hessian(copies, targets, narrow.sqrt()), direction)
    share = 0.25 * (narrow / sigma**2) ** (len(logits) / 2) * log_p.exp()
    square = (s * share * (narrow + narrow**2 * bend)).sum()
    return float(square), float((s.sqrt() * share * narrow * (slopes @ direction)).sum() / math.sqrt(math.pi))


@TWO_SIGMAS
@pytest.mark.parametrize("num_logits", [2, 3, 10, 100])
@pytest.mark.parametrize("gap", [-1.5, 0.0, 1.0, 2.0])
def test_the_first_sample_points_as_the_law_says(num_logits: int, gap: float, sigma: float) -> None:
    logits = sigma * torch.randn(num_logits, generator=torch.Generator().manual_seed(num_logits), dtype=torch.float64)
    logits[0] = logits[1:].max() + gap * sigma
    at = place(logits, TARGET, sigma**2)
    square, mean = first_sample(logits, sigma)
    assert squared_cosine(RAW, at, 1).item() == pytest.approx(square, rel=ANYWHERE)
    assert mean_cosine(RAW, at, 1).item() == pytest.approx(mean, abs=0.04)


def variance_along(centred: bool, pairs: bool, at: Known, n: float) -> Tensor:
    """v̂ᵀ Var g v̂ of raw and, centred, leave_one_out at large N, and of mirrored raw."""
    p, square = at.probability, at.gradient_square
    if pairs:
        return (p * at.share * at.single_along - 2 * square) / n
    of_all, of_hits = at.total_along, p * at.hit_along  # E(v̂·s)²/σ², also of the hits only
    b = p if centred else 0.0
    return ((1 - 2 * b) * of_hits + b**2 * of_all - square) / n


@EACH_DIRECTION
def test_many_samples_need_no_correction(words: Words) -> None:
    noise, credit, shaping = modules(words)
    centred = shaping.WEIGHS_MISSES and not noise.PAIRS
    for num_logits, gap in product((2, 10, 1000), (-1.0, 0.0, 2.0)):
        if credit.OF_CLASSES and noise.FAMILY != "gumbel" and num_logits > 100:
            continue
        at, seen = lead(gap, num_logits, words), known(ahead(gap, num_logits), TARGET, 1.0, words)
        for n in (1e9, 1e12):
            whole = gradient_variance(LEAVE_ONE_OUT if centred else RAW, at, n)
            across = whole - variance_along(centred, noise.PAIRS, seen, n)
            angle = (across / seen.gradient_square).item()
            square = squared_cosine(shaping, at, n).item()
            assert 1 - square == pytest.approx(angle / (1 + angle), rel=1e-3)
            assert mean_cosine(shaping, at, n).item() == pytest.approx(math.sqrt(square), rel=1e-4)


@EACH_DIRECTION
@pytest.mark.parametrize("cosine", [0.2, 0.5, 0.9, 0.99])
def test_the_samples_needed_give_the_cosine_that_was_asked_for(words: Words, cosine: float) -> None:
    noise, credit, shaping = modules(words)
    fewest = 2 if noise.PAIRS else shaping.FEWEST
    for num_logits, gap in product((2, 3, 10, 1000), (-2.0, 0.0, 1.0, 3.0)):
        if credit.OF_CLASSES and noise.FAMILY != "gumbel" and num_logits > 100:
            continue
        at = lead(gap, num_logits, words)
        n = samples_needed(shaping, at, cosine)
        got = squared_cosine(shaping, at, n).item()
        assert got == pytest.approx(cosine**2, rel=1e-6) if n > fewest else got >= cosine**2 and n == fewest
        n = samples_needed(shaping, at, cosine, of_mean=True)
        got = mean_cosine(shaping, at, n).item()
        assert got == pytest.approx(cosine, rel=1e-6) if n > fewest else got >= cosine and n == fewest


@pytest.mark.parametrize("gap", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("num_samples", [2, 5, 60])
def test_centred_weights_do_not_know_the_hits_of_one_of_two_classes_from_its_misses(
    gap: float, num_samples: int
) -> None:
    leading, behind = lead(gap, 2), lead(-gap, 2)
    for law in (gradient_variance, squared_cosine, mean_cosine):
        want = law(LEAVE_ONE_OUT, behind, num_samples).item()
        assert law(LEAVE_ONE_OUT, leading, num_samples).item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("num_logits", [2, 10, 100, 10_000])
@pytest.mark.parametrize("gap", [-30.0, -8.0, 8.0, 30.0])
def test_nothing_breaks_thirty_sigma_away(num_logits: int, gap: float) -> None:
    for words in LAWFUL:
        noise, credit, shaping = modules(words)
        if credit.OF_CLASSES and noise.FAMILY != "gumbel" and num_logits > 100:
            continue
        at = lead(gap, num_logits, words)
        assert all(torch.isfinite(torch.as_tensor(field)) for field in at)
        assert gradient_variance(shaping, at, 16) >= 0
        assert 0 <= squared_cosine(shaping, at, 16) <= 1
        assert samples_needed(shaping, at, 0.9) >= 1
    at = lead(gap, num_logits)
    needed = samples_needed(LEAVE_ONE_OUT, at, 0.9)
    relative = baseline_variance(at, at.probability, 1) / at.probability  # |∇p|² may be too small for a float64
    ratio = relative / (at.probability * at.slope)
    assert 0.2 < needed.item() / (0.81 / 0.19 * ratio.item()) < 1.01  # fewer where the first hit says it all


def test_laws_broadcast_over_examples_and_numbers_of_samples() -> None:
    logits, targets = scattered(150, 4, 1.0)
    at, samples = place(logits, targets, 1.0), torch.tensor([[2.0], [30.0]])
    together = squared_cosine(MAXRL, at, samples)
    assert together.shape == gradient_variance(MAXRL, at, samples).shape == (2, 150)
    alone = at.map(lambda field: field[77])
    assert together[1, 77].item() == pytest.approx(squared_cosine(MAXRL, alone, 30).item(), rel=1e-9)
    needed = samples_needed(MAXRL, at, torch.tensor([[0.5], [0.9]]))
    assert needed[0, 77].item() == pytest.approx(samples_needed(MAXRL, alone, 0.5).item(), rel=1e-6)


def test_an_example_without_logits_stays_alone() -> None:
    logits = torch.tensor([[0.0, math.nan, 1.0], [0.0, 1.0, 2.0]])
    at = place(logits, torch.tensor([0, 1]), 1.0)
    for answer in (
        gradient_variance(MAXRL, at, 4),
        squared_cosine(MAXRL, at, 4),
        samples_needed(MAXRL, at, 0.5),
    ):
        assert answer.isnan().tolist() == [True, False]


def test_an_answer_at_ten_thousand_classes_takes_no_time() -> None:
    at = lead(1.0, 10_000)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        samples_needed(MAXRL, at, 0.5)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.05
