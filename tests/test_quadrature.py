"""The exact probability and gradients against closed forms, a slow reference, simulation and their laws."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import erfcx, log_ndtr
from scipy.stats import norm
from torch import Tensor

from esgrad import menu
from esgrad.gradients.quadrature import log_cdf_and_ratio, log_probability_and_gradient

Array = NDArray[np.float64]
PROMISE = 1e-6  # error of a component, in units of the example's largest; measured: below 1e-8 for K to 10,000
TWO_SIGMAS = pytest.mark.parametrize("sigma", [0.5, 2.0])
ARMS = pytest.mark.parametrize("name", menu.names("exact"))


def slow_reference(gaps: Array, step: float = 0.01) -> tuple[float, Array]:
    """log p, and −σ·∂log p/∂l_k of each competitor, at gaps a [K−1]: one dense sum in log space each."""
    distinct, inverse, counts = np.unique(gaps, return_inverse=True, return_counts=True)
    low, high = -24 - max(0.0, gaps.min()) / 2, 14 + max(30.0, -gaps.min())
    u = np.arange(low, high, step)
    exponent = -u * u / 2 + sum(count * log_ndtr(gap + u) for gap, count in zip(distinct, counts, strict=True))
    log_mass = np.logaddexp.reduce(exponent)
    log_share = [
        np.logaddexp.reduce(exponent + norm.logpdf(gap + u) - log_ndtr(gap + u)) - log_mass for gap in distinct
    ]
    return log_mass + math.log(step / math.sqrt(2 * math.pi)), np.exp(log_share)[inverse]


def assert_exact(logits: Tensor, targets: Tensor, sigma: float) -> None:
    """Hold log p and ∇log p at logits [E, K] to the reference, within PROMISE of each largest component."""
    log_p, gradient = log_probability_and_gradient(logits, targets, sigma)
    for row, target, got_log_p, got in zip(logits.double(), targets.tolist(), log_p, gradient.numpy(), strict=True):
        gaps = np.delete(((row[target] - row) / sigma).numpy(), target)
        want_log_p, share = slow_reference(gaps)
        want = np.insert(-share / sigma, target, share.sum() / sigma)
        assert got_log_p == pytest.approx(want_log_p, rel=1e-9, abs=PROMISE)
        np.testing.assert_allclose(got, want, rtol=0, atol=PROMISE * np.abs(want).max())


def random_case(num_examples: int, num_classes: int, spread: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(num_examples, num_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_classes, (num_examples,), generator=generator)


def expected_maximum(num_classes: int) -> float:
    """e_K, the mean of the largest of K standard normals."""
    value, _ = quad(lambda x: x * num_classes * norm.pdf(x) * norm.cdf(x) ** (num_classes - 1), -12, 12, limit=200)
    return value


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("sigma", [0.1, 1.0, 10.0])
def test_the_fast_integral_equals_the_slow_one_at_random_logits(num_classes: int, spread: float, sigma: float) -> None:
    assert_exact(*random_case(3, num_classes, spread), sigma)


@pytest.mark.parametrize("num_classes", [100, 1_000, 10_000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_the_fast_integral_equals_the_slow_one_among_many_classes(num_classes: int, spread: float) -> None:
    logits, targets = random_case(1, num_classes, 10.0)
    assert_exact(logits.round() * spread / 10, targets, 1.0)  # rounded: the reference does each distinct gap once


@pytest.mark.parametrize("num_classes", [2, 3, 10, 10_000])
@pytest.mark.parametrize("gap", [-30.0, -10.0, 0.0, 4.0, 7.0, 9.0, 15.0, 30.0])
def test_the_window_finds_the_peaks_when_all_competitors_are_level(num_classes: int, gap: float) -> None:
    logits = torch.zeros(1, num_classes, dtype=torch.float64)
    logits[0, -1] = gap
    assert_exact(logits, torch.tensor([num_classes - 1]), 1.0)


@pytest.mark.parametrize("seed", range(8))
def test_the_window_finds_the_peaks_when_a_crowd_stands_behind_a_few(seed: int) -> None:
    generator = np.random.default_rng(seed)
    crowd, few = generator.uniform(0, 12), generator.uniform(-30, 12)
    logits = torch.zeros(1, 10_000, dtype=torch.float64)
    logits[0, 1:] -= crowd
    logits[0, 1 : 1 + int(10 ** generator.uniform(0, 3))] = -few
    assert_exact(logits, torch.tensor([0]), 1.0)


@TWO_SIGMAS
@pytest.mark.parametrize("gap", [-400.0, -30.0, -3.0, 0.0, 3.0, 30.0])
def test_two_classes_have_the_closed_form_of_their_gap(gap: float, sigma: float) -> None:
    z = gap / (math.sqrt(2) * sigma)
    log_p, gradient = log_probability_and_gradient(torch.tensor([0.0, gap]), torch.tensor(1), sigma)
    slope = math.exp(norm.logpdf(z) - norm.logcdf(z)) / (math.sqrt(2) * sigma)
    assert log_p.item() == pytest.approx(norm.logcdf(z), rel=1e-9, abs=PROMISE)
    assert gradient.tolist() == pytest.approx([-slope, slope], rel=PROMISE, abs=1e-300)


@TWO_SIGMAS
@pytest.mark.parametrize("num_classes", [2, 3, 10, 100, 1_000])
def test_level_logits_win_once_in_k_and_pull_by_the_expected_maximum(num_classes: int, sigma: float) -> None:
    log_p, gradient = log_probability_and_gradient(torch.zeros(num_classes), torch.tensor(0), sigma)
    pull = expected_maximum(num_classes) / sigma  # E[q_y | y wins] / σ²
    assert log_p.exp().item() == pytest.approx(1 / num_classes, rel=PROMISE)
    assert gradient[0].item() == pytest.approx(pull, rel=PROMISE)
    assert gradient[1:].numpy() == pytest.approx(-pull / (num_classes - 1), rel=PROMISE)


def test_the_logarithm_of_the_normal_distribution_holds_in_both_tails() -> None:
    x = np.concatenate([np.linspace(-60, 60, 24_001), [-1e5, -1e3, 1e3]])
    log_cdf, ratio = log_cdf_and_ratio(torch.from_numpy(x))
    series = 2e-10  # its first term left out is 105/30⁸
    with np.errstate(over="ignore"):  # erfcx(−27) is past the largest float64: the ratio is 0
        want = math.sqrt(2 / math.pi) / erfcx(-x / math.sqrt(2))
    np.testing.assert_allclose(log_cdf, log_ndtr(x), rtol=series, atol=1e-15)
    np.testing.assert_allclose(ratio, want, rtol=series, atol=1e-300)


def test_a_gap_of_30_sigma_leaves_a_finite_logarithm() -> None:
    log_p, gradient = log_probability_and_gradient(torch.tensor([0.0, 30.0]), torch.tensor(0), 1.0)
    assert log_p.exp().item() == pytest.approx(norm.cdf(-30 / math.sqrt(2)), rel=PROMISE)
    assert f"{log_p.exp().item():.1e}" == "3.6e-100"
    assert gradient.isfinite().all()


def test_nobody_competes_with_a_single_class() -> None:
    log_p, gradient = log_probability_and_gradient(torch.randn(4, 1), torch.zeros(4, dtype=torch.long), 0.3)
    assert torch.equal(log_p, torch.zeros(4, dtype=torch.float64))
    assert torch.equal(gradient, torch.zeros(4, 1, dtype=torch.float64))


def test_a_class_shut_out_by_an_infinite_logit_does_not_compete() -> None:
    log_p, gradient = log_probability_and_gradient(torch.tensor([0.3, 0.0, -math.inf]), torch.tensor(0), 1.0)
    alone, gradient_alone = log_probability_and_gradient(torch.tensor([0.3, 0.0]), torch.tensor(0), 1.0)
    assert log_p.item() == pytest.approx(alone.item(), abs=1e-7)
    assert gradient.tolist() == pytest.approx([*gradient_alone.tolist(), 0.0], abs=1e-7)


@TWO_SIGMAS
def test_simulation_finds_the_probability_and_the_gradient(sigma: float) -> None:
    num_samples, (logits, targets) = 200_000, random_case(3, 5)
    log_p, gradient = log_probability_and_gradient(logits, targets, sigma)
    noise = sigma * torch.randn(
        num_samples, *logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    hits = ((logits + noise).argmax(-1) == targets).double()  # [N, E]
    terms = torch.cat([hits[..., None], hits[..., None] * noise / sigma**2], dim=-1)  # [N, E, 1 + K]
    want = torch.cat([log_p.exp()[:, None], log_p.exp()[:, None] * gradient], dim=-1)
    standard_error = terms.std(0) / math.sqrt(num_samples)
    assert ((terms.mean(0) - want).abs() < 5 * standard_error).all()


def test_a_common_shift_of_the_logits_changes_nothing() -> None:
    logits, targets = random_case(6, 10, 2.0)
    log_p, gradient = log_probability_and_gradient(logits, targets, 1.0)
    shifted_log_p, shifted = log_probability_and_gradient(logits + 100.0, targets, 1.0)
    torch.testing.assert_close(shifted_log_p, log_p, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(shifted, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [0.01, 7.0])
def test_scaling_logits_and_sigma_divides_the_gradient(factor: float) -> None:
    logits, targets = random_case(6, 10, 2.0)
    log_p, gradient = log_probability_and_gradient(logits, targets, 0.7)
    scaled_log_p, scaled = log_probability_and_gradient(factor * logits, targets, factor * 0.7)
    torch.testing.assert_close(scaled_log_p, log_p, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(scaled * factor, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("num_classes", [2, 3, 10, 257])
def test_an_example_alone_equals_itself_in_a_batch_to_the_bit(num_classes: int) -> None:
    logits, targets = random_case(301, num_classes, 4.0)  # more than one block, and no round number
    sigma = torch.linspace(0.05, 9.0, 301, dtype=torch.float64)
    log_p, gradient = log_probability_and_gradient(logits, targets, sigma)
    for chosen in [*torch.arange(0, 301, 13).split(1), torch.arange(5, 300, 7), torch.arange(300, -1, -1)]:
        some_log_p, some = log_probability_and_gradient(logits[chosen], targets[chosen], sigma[chosen])
        assert torch.equal(some_log_p, log_p[chosen])
        assert torch.equal(some, gradient[chosen])


def test_a_diverged_run_stays_alone() -> None:
    logits, targets = random_case(3, 10)
    log_p, gradient = log_probability_and_gradient(logits, targets, 1.0)
    logits[1, 4] = math.nan
    broken_log_p, broken = log_probability_and_gradient(logits, targets, 1.0)
    assert broken_log_p.isnan().tolist() == [False, True, False]
    assert torch.equal(broken[[0, 2]], gradient[[0, 2]])
    assert torch.equal(broken_log_p[[0, 2]], log_p[[0, 2]])


def test_shapes_broadcast_over_a_stack_of_runs() -> None:
    logits, targets = random_case(6, 4)
    sigma = torch.tensor([[0.5], [2.0]])
    log_p, gradient = log_probability_and_gradient(logits.view(2, 3, 4), targets.view(2, 3), sigma)
    for run in range(2):
        want_log_p, want = log_probability_and_gradient(
            logits.view(2, 3, 4)[run], targets.view(2, 3)[run], sigma[run].item()
        )
        assert torch.equal(log_p[run], want_log_p)
        assert torch.equal(gradient[run], want)


def test_an_empty_batch_gives_an_empty_answer() -> None:
    log_p, gradient = log_probability_and_gradient(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), 1.0)
    assert log_p.shape == (0,)
    assert gradient.shape == (0, 3)


@pytest.mark.parametrize(
    ("logits", "targets", "sigma", "complaint"),
    [
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), 1.0, r"targets have shape \[3\]"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), 1.0, r"targets lie in 0\.\.3: expected classes 0\.\.2"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), 0.0, r"sigma is 0\.0: expected a positive"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), math.nan, "sigma is nan: expected a positive"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(3), r"sigma has shape \[3\]"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(2, 2), r"sigma has shape \[2, 2\]"),
    ],
)
def test_bad_input_is_refused_by_name(logits: Tensor, targets: Tensor, sigma: Tensor | float, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        log_probability_and_gradient(logits, targets, sigma)


def log_likelihood(row: Array, target: int, sigma: float) -> float:
    return row[target] - np.logaddexp.reduce(row)


def log_smoothed_accuracy(row: Array, target: int, sigma: float) -> float:
    return slow_reference(np.delete((row[target] - row) / sigma, target))[0]


def smoothed_accuracy(row: Array, target: int, sigma: float) -> float:
    return math.exp(log_smoothed_accuracy(row, target, sigma))


def log_softmax_accuracy(row: Array, target: int, sigma: float) -> float:
    """Of Gumbel noise: its scale is β, its standard deviation πβ/√6."""
    return log_likelihood(row * math.pi / (math.sqrt(6) * sigma), target, sigma)


def softmax_accuracy(row: Array, target: int, sigma: float) -> float:
    return math.exp(log_softmax_accuracy(row, target, sigma))


def marginal_likelihood(row: Array, target: int, sigma: float) -> float:
    """Of a sum of digits, digit after digit summed out."""
    pairs = [[log_likelihood(digit, a, sigma) for a in range(10)] for digit in row.reshape(2, 10)]
    return np.logaddexp.reduce([pairs[0][a] + pairs[1][target - a] for a in range(10) if 0 <= target - a < 10])


OBJECTIVES: dict[str, Callable[[Array, int, float], float]] = {
    "backprop": log_likelihood,
    "log_smoothed": log_smoothed_accuracy,
    "log_softmax": log_softmax_accuracy,
    "marginal": marginal_likelihood,
    "smoothed": smoothed_accuracy,
    "softmax": softmax_accuracy,
}


def case(name: str, batch: int, num_classes: int, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits and targets that an arm is at home with: labels, or two digits and their sums."""
    if menu.load("exact", name).BLACKBOX != "digit_sum":
        return random_case(batch, num_classes, spread)
    logits, sums = random_case(batch, 20, spread)
    return logits, sums.clamp(max=18)


def test_every_exact_arm_has_an_objective_to_be_held_to() -> None:
    assert sorted(OBJECTIVES) == menu.names("exact")


@ARMS
@TWO_SIGMAS
def test_an_exact_arm_is_the_slope_of_its_objective(name: str, sigma: float) -> None:
    logits, targets = case(name, 3, 4, 2.0)
    got = menu.load("exact", name).gradient(logits[None], targets[None], torch.tensor([sigma**2]))[0]
    width = 1e-4  # the rounding of an integral, 1e-13, over the width and the width's square both stay below 1e-7
    for row, target, slopes in zip(logits.numpy(), targets.tolist(), got.numpy(), strict=True):
        for k, shift in enumerate(width * np.eye(len(row))):
            above, below = (OBJECTIVES[name](row + sign * shift, target, sigma) for sign in (1, -1))
            assert slopes[k] == pytest.approx((above - below) / (2 * width), abs=PROMISE)


@ARMS
@TWO_SIGMAS
def test_the_value_of_an_exact_arm_is_its_objective(name: str, sigma: float) -> None:
    logits, targets = case(name, 3, 4, 2.0)
    got = menu.load("exact", name).value(logits[None], targets[None], torch.tensor([sigma**2]))[0]
    expected = [
        OBJECTIVES[name](row, target, sigma) for row, target in zip(logits.numpy(), targets.tolist(), strict=True)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@ARMS
def test_each_example_may_have_a_variance_of_its_own(name: str) -> None:
    arm, (logits, targets) = menu.load("exact", name), case(name, 3, 4, 2.0)
    variance = torch.tensor([[0.04, 9.0, 1.0]])
    for function in (arm.value, arm.gradient):
        together = function(logits[None], targets[None], variance)[0]
        for b in range(3):
            alone = function(logits[None], targets[None], variance[:, b])[0]
            assert torch.equal(together[b], alone[b])


def test_at_pi_squared_over_6_gumbel_s_log_accuracy_is_the_log_likelihood() -> None:
    """Then minus the cross-entropy is what success and maxrl climb in the limit."""
    logits, targets = random_case(40, 10, 3.0)
    variance = torch.tensor([math.pi**2 / 6], dtype=torch.float64)
    gumbel, backprop = (
        menu.load("exact", name).gradient(logits[None], targets[None], variance) for name in ("log_softmax", "backprop")
    )
    torch.testing.assert_close(gumbel, backprop, rtol=0, atol=1e-14)


@ARMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exact_arm_keeps_type_shape_and_the_sum_zero(name: str, dtype: torch.dtype) -> None:
    logits, targets = case(name, 15, 10, 2.0)
    logits = logits.to(dtype).view(3, 5, -1).requires_grad_()
    got = menu.load("exact", name).gradient(logits, targets.view(3, 5), torch.tensor([0.01, 1.0, 100.0]))
    assert (got.dtype, got.shape, got.requires_grad) == (dtype, logits.shape, False)
    assert (got.sum(-1).abs() <= 10 * torch.finfo(dtype).eps * got.abs().amax(-1)).all()


@ARMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_classes", [2, 10, 37])
def test_a_run_alone_equals_itself_in_a_stack_to_the_bit(name: str, num_classes: int, dtype: torch.dtype) -> None:
    gradient = menu.load("exact", name).gradient
    logits, targets = case(name, 21, num_classes, 2.0)
    logits, targets = logits.to(dtype).view(3, 7, -1), targets.view(3, 7)
    variance = torch.tensor([0.01, 1.0, 100.0])
    stack = gradient(logits, targets, variance)
    for run in range(3):
        here = slice(run, run + 1)
        assert torch.equal(gradient(logits[here], targets[here], variance[here]), stack[here])
        for b in range(7):
            one = slice(b, b + 1)
            assert torch.equal(gradient(logits[here, one], targets[here, one], variance[here]), stack[here, one])


@ARMS
def test_an_exact_arm_says_which_black_box_it_serves_and_whether_the_variance_matters(name: str) -> None:
    arm = menu.load("exact", name)
    assert arm.BLACKBOX in menu.names("blackboxes")
    logits, targets = case(name, 4, 3)
    narrow, wide = (arm.gradient(logits[None], targets[None], torch.tensor([t])) for t in (1.0, 4.0))
    assert torch.equal(narrow, wide) is not arm.USES_VARIANCE


def test_confidently_wrong_examples_move_log_p_but_not_p() -> None:
    logits, targets, variance = torch.tensor([[[0.0, 40.0]]]), torch.tensor([[0]]), torch.tensor([1.0])
    assert menu.load("exact", "smoothed").gradient(logits, targets, variance).abs().max() == 0
    assert menu.load("exact", "log_smoothed").gradient(logits, targets, variance)[0, 0, 0] > 20
