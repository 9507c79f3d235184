"""What the laws know of an example against second implementations, and the closed forms of special logits."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from esgrad import menu
from esgrad.gradients.quadrature import log_probability_and_gradient
from esgrad.laws import (
    Place,
    baseline_variance,
    expected_maximum,
    gradient_variance,
    level_ratio,
    tied_ratio,
    two_class_ratio,
)
from esgrad.laws.curvature import curvature, hessian, laplacian, single_hit
from tests.drawing import (
    DIRECTED,
    QUADRATURE,
    TARGET,
    TWO_SIGMAS,
    Words,
    ahead,
    known,
    lead,
    level_place,
    modules,
    place,
    scattered,
)

EACH_PAIR = pytest.mark.parametrize("words", [words for words in DIRECTED if words[2] == "raw"], ids="-".join)
"""Each noise and credit of which an example's moments are known."""


def gradient_square(at: Place) -> Tensor:
    """|∇p|²"""
    return at.slope * at.probability**2


@TWO_SIGMAS
@pytest.mark.parametrize("num_logits", [2, 3, 6])
def test_the_hessian_is_the_slope_of_the_gradient(num_logits: int, sigma: float) -> None:
    logits, targets = scattered(4, num_logits, 2 * sigma)
    width = 1e-4 * sigma
    log_p, slope = log_probability_and_gradient(logits, targets, sigma)
    columns = [
        (
            log_probability_and_gradient(logits + shift, targets, sigma)[1]
            - log_probability_and_gradient(logits - shift, targets, sigma)[1]
        )
        / (2 * width)
        for shift in width * torch.eye(num_logits, dtype=torch.float64)
    ]
    want = torch.stack(columns, -1) + slope[:, :, None] * slope[:, None]  # ∇²p/p = ∇² log p + ∇log p ∇log pᵀ
    got, known = hessian(logits, targets, sigma), curvature(logits, targets, sigma)
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5 * float(want.abs().max()))
    torch.testing.assert_close(got, got.mT, rtol=0, atol=1e-12 * float(want.abs().max()))
    direction = slope / slope.norm(dim=-1, keepdim=True)
    along = torch.einsum("ej,ejk,ek->e", direction, got, direction)
    torch.testing.assert_close(known.log_probability, log_p, rtol=0, atol=QUADRATURE)
    torch.testing.assert_close(known.gradient, slope, rtol=0, atol=QUADRATURE * float(slope.abs().max()))
    torch.testing.assert_close(laplacian(logits, targets, sigma), got.diagonal(dim1=-2, dim2=-1).sum(-1))
    torch.testing.assert_close(known.along, along)


def test_the_miss_of_a_leader_keeps_its_digits() -> None:
    for gap in (0.0, 0.5, 3.0, 10.0, 30.0):
        z = gap / math.sqrt(2)
        at = curvature(ahead(gap, 2), TARGET, 1.0)
        assert lead(gap, 2).miss.item() == at.miss.item() == pytest.approx(norm.cdf(-z), rel=QUADRATURE)
        assert at.laplacian.item() == pytest.approx(-z * norm.pdf(z) / norm.cdf(z), rel=QUADRATURE, abs=1e-7)
        single = single_hit(ahead(gap, 2), TARGET, 1.0, at)
        assert single.share.item() == pytest.approx(norm.cdf(-z) / norm.cdf(z), rel=QUADRATURE)
        square = 2 + z * norm.pdf(z) / norm.cdf(-z)  # across the gap 1, along it a normal's beyond z
        assert single.square.item() == pytest.approx(square, rel=QUADRATURE)
        assert single.along.item() == pytest.approx(square - 1, rel=QUADRATURE)
        for num_logits in (3, 1000):
            missed, _ = quad(
                lambda u, k=num_logits, a=gap: -norm.pdf(u) * math.expm1((k - 1) * norm.logcdf(a + u)),
                *(-gap / 2 - 8, 8),
                epsabs=0,
                limit=500,
                points=[-gap / 2],
            )
            assert lead(gap, num_logits).miss.item() == pytest.approx(missed, rel=1e-5)


@TWO_SIGMAS
def test_both_of_a_pair_hit_as_often_as_an_interval_says(sigma: float) -> None:
    logits = sigma * torch.tensor([1.1, 0.3, -0.4, 0.9], dtype=torch.float64)
    gaps = [0.8, 1.5, 0.2]

    def both(u: float) -> tuple[float, float]:
        chances = [norm.cdf(u + a) - norm.cdf(u - a) for a in gaps]
        squares = [
            quad(lambda z: z * z * norm.pdf(z), u - a, u + a)[0] / chance
            for a, chance in zip(gaps, chances, strict=True)
        ]
        density = norm.pdf(u) * math.prod(chances)
        return density, density * (u * u + sum(squares))

    grid = np.arange(-8, 8, 0.1)
    want = 0.1 * np.array([both(u) for u in grid]).sum(0)
    at, pair = known(logits, TARGET, sigma**2), place(logits, TARGET, sigma**2, ("mirrored", "noise", "raw"))
    assert pair.probability.item() == pytest.approx(2 * (at.probability.item() - want[0]), rel=QUADRATURE)
    square = (pair.hit_variance + pair.slope) * pair.probability / 2  # E|q|²/t² of those that hit alone
    assert (at.probability * at.hit - square).item() == pytest.approx(want[1] / sigma**2, rel=QUADRATURE)


def test_unless_the_target_leads_never_do_both_of_a_pair_hit() -> None:
    logits = torch.tensor([[0.0, 0.0, -1.0], [1.0, 2.0, -5.0]], dtype=torch.float64)
    targets = torch.tensor([0, 0])
    assert single_hit(logits, targets, 1.0, curvature(logits, targets, 1.0)).share.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("num_logits", [3, 10, 1000])
@pytest.mark.parametrize("gap", [0.0, 1e-8, 1e-6, 1e-3])
def test_a_pair_notices_no_seam_where_the_target_takes_the_lead(num_logits: int, gap: float) -> None:
    mirrored = ("mirrored", "noise", "raw")
    at, level = lead(gap, num_logits, mirrored), level_place(num_logits, 1.0, mirrored)
    squares = [(each.probability, each.hit_variance + each.slope, each.hit_along + each.slope) for each in (at, level)]
    for got, want in zip(*squares, strict=True):
        assert got.item() == pytest.approx(want.item(), rel=QUADRATURE + 20 * gap)


@TWO_SIGMAS
@pytest.mark.parametrize("num_logits", [2, 3, 10, 100, 1_000, 10_000])
@EACH_PAIR
def test_the_closed_form_of_level_logits_is_what_quadrature_finds(words: Words, num_logits: int, sigma: float) -> None:
    noise, credit, _ = modules(words)
    if credit.OF_CLASSES and noise.FAMILY != "gumbel" and num_logits > 100:
        pytest.skip("Gaussian noise credited with the class has laws up to K = 100")
    closed = level_place(num_logits, sigma**2, words)
    found = place(torch.zeros(num_logits), TARGET, sigma**2, words)
    for name, got, want in zip(Place._fields, found, closed, strict=True):
        assert float(got) == pytest.approx(float(want), rel=QUADRATURE, abs=QUADRATURE), name


@TWO_SIGMAS
@pytest.mark.parametrize("num_logits", [2, 3, 10, 100, 1_000, 10_000])
def test_the_ratio_of_level_logits_is_what_quadrature_finds(num_logits: int, sigma: float) -> None:
    found = place(torch.zeros(num_logits), TARGET, sigma**2)
    ratio = gradient_variance(menu.load("shapings", "raw"), found, 1) / gradient_square(found)
    assert level_ratio(num_logits) == pytest.approx(ratio.item(), rel=QUADRATURE)


@TWO_SIGMAS
@pytest.mark.parametrize(("num_tied", "num_logits"), [(2, 2), (2, 10), (3, 10), (10, 10), (20, 300)])
def test_tied_classes_have_the_closed_form_of_their_number(num_tied: int, num_logits: int, sigma: float) -> None:
    logits = torch.zeros(num_logits, dtype=torch.float64)
    logits[num_tied:] = -50 * sigma
    at = place(logits, TARGET, sigma**2)
    for centred in (False, True):
        variance = baseline_variance(at, at.probability if centred else 0.0, 1)
        ratio = (variance / gradient_square(at)).item()
        assert tied_ratio(num_tied, num_logits, centred) == pytest.approx(ratio, rel=QUADRATURE)


@TWO_SIGMAS
@pytest.mark.parametrize("gap", [-30.0, -2.0, 0.0, 1.5, 30.0])
def test_two_classes_left_have_the_closed_form_of_their_gap(gap: float, sigma: float) -> None:
    num_logits = 6
    logits = torch.full((num_logits,), -1000 * sigma, dtype=torch.float64)
    logits[:2] = sigma * torch.tensor([gap, 0.0])
    at = place(logits, TARGET, sigma**2)
    for centred in (False, True):
        variance = baseline_variance(at, at.probability if centred else 0.0, 1)
        want = two_class_ratio(gap * sigma, sigma, num_logits, centred).item()
        assert (variance / gradient_square(at)).item() == pytest.approx(want, rel=2 * QUADRATURE)


def test_closed_forms_at_the_start_are_the_published_numbers() -> None:
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), rel=1e-12)
    assert expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), rel=1e-12)
    printed = [f"{level_ratio(k):.3g}" for k in (2, 10, 100, 1000)]
    assert printed == ["5.28", "37", "1.57e+03", "9.51e+04"]
    assert tied_ratio(2, 10, centred=False) == pytest.approx(10 * math.pi - 1, rel=1e-12)
