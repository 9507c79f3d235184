"""Credit to the class: the same mean as credit to the noise, never more variance, and what it comes to honestly."""

import re
from itertools import product
from math import sqrt

import pytest
import torch
from torch import Tensor

from esgrad import es_gradient, menu
from esgrad import laws as theory
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.gradients.fitness import PerBatch, PerExample
from esgrad.gradients.key import Key
from esgrad.kernels.streams import Role
from esgrad.laws import readings
from esgrad.laws.example import seen
from esgrad.tasks.blackboxes import cross_entropy, digit_sum, zero_one

N = 6
TWO_VARIANCES = pytest.mark.parametrize("variance", [0.04, 9.0])
LOGITS = torch.tensor([[0.3, 0.1, -0.2, 0.35], [0.0, 0.0, 0.0, 0.0], [0.2, -0.1, 0.4, 0.1], [-0.1, 0.2, 0.3, 0.1]])
TARGETS = torch.tensor([3, 1, 0, 0])  # ahead, level, behind, last
CLASS, NOISE = menu.load("credits", "class"), menu.load("credits", "noise")
NOISES = [name for name in menu.names("noises") if menu.load("noises", name).CLASSES is not None]
SHAPINGS = menu.names("shapings")
PAIRS = [
    (noise, shaping)
    for noise, shaping in product(NOISES, SHAPINGS)
    if Estimator.of(noise, "class", shaping, N).refuses(Facts.of(zero_one), 4) is None
]
LAWS = [pair for pair in PAIRS if theory.has_law(menu.load("noises", pair[0]), CLASS, menu.load("shapings", pair[1]))]
EACH_PAIR = pytest.mark.parametrize(("noise", "shaping"), PAIRS)
EACH_LAW = pytest.mark.parametrize(("noise", "shaping"), LAWS)


def estimates(
    noise: str, credit: str, shaping: str, variance: float, num_samples: int = N, copies: int = 20_000
) -> Tensor:
    """Independent estimates [copies, E, K] at LOGITS."""
    point, targets = LOGITS.repeat(copies, 1)[None], TARGETS.repeat(copies)[None]
    of = Estimator.of(noise, credit, shaping, num_samples)
    found = of.gradient(PerExample(zero_one, targets), point, torch.tensor([variance]), Key([2], Role.NOISE, 5))
    return found.gradient[0].unflatten(0, (copies, -1)).double()


def assert_mean(draws: Tensor, expected: Tensor) -> None:
    """Within 5 standard errors and float32's rounding."""
    excess = (draws.mean(0) - expected).abs() - 5 * draws.std(0) / sqrt(len(draws)) - 1e-6 * draws.abs().max()
    assert (excess <= 0).all()


def law_of(noise: str, credit: str, variance: float) -> theory.Moments:
    module = menu.load("noises", noise), menu.load("credits", credit)
    return theory.moments(*module, LOGITS, TARGETS, variance, whole=True)


# The mean and the variance


@TWO_VARIANCES
@EACH_PAIR
def test_the_mean_is_what_the_shaping_promises_of_the_noise(noise: str, shaping: str, variance: float) -> None:
    of = Estimator.of(noise, "class", shaping, N)
    expected = of.expects(LOGITS[None].double(), TARGETS[None], torch.tensor([variance], dtype=torch.float64))
    if of.shaping.ASCENDS is None:
        pytest.skip(f"{shaping} promises no exact gradient")
    assert expected is not None
    assert_mean(estimates(noise, "class", shaping, variance), expected[0])


@TWO_VARIANCES
@EACH_LAW
def test_mean_and_covariance_are_those_of_the_law(noise: str, shaping: str, variance: float) -> None:
    mean, covariance = theory.mean_and_covariance(menu.load("shapings", shaping), law_of(noise, "class", variance), N)
    draws = estimates(noise, "class", shaping, variance)
    assert_mean(draws, mean)
    away = draws - draws.mean(0)
    assert_mean(away[..., :, None] * away[..., None, :], covariance)


@TWO_VARIANCES
@EACH_LAW
def test_crediting_the_class_never_adds_variance_in_any_direction(noise: str, shaping: str, variance: float) -> None:
    """Rao–Blackwell, for all eigenvalues of the difference of the covariances, at several N."""
    of = menu.load("shapings", shaping)
    for num_samples in (2, 6, 100):
        noisy, credited = (
            theory.covariance(of, law_of(noise, credit, variance), num_samples) for credit in ("noise", "class")
        )
        smallest = torch.linalg.eigvalsh(noisy - credited).amin(-1)
        scale = noisy.diagonal(dim1=-2, dim2=-1).sum(-1)
        assert (smallest > -1e-6 * scale).all()
        assert (credited.diagonal(dim1=-2, dim2=-1).sum(-1) < 0.99 * scale).all()


@TWO_VARIANCES
@pytest.mark.parametrize("noise", NOISES)
def test_credit_is_the_mean_of_the_noise_given_the_class_it_led_to(noise: str, variance: float) -> None:
    """Averaged over many samples of the noise itself, which knows nothing of any formula."""
    module, logits = menu.load("noises", noise), LOGITS[0]
    from esgrad.kernels import streams

    def normals(start: int, stop: int) -> Tensor:
        return streams.normals([4], Role.NOISE, 0, start, stop, 1, 4)

    z = module.directions(normals, 0, 400_000)[0, :, 0]
    score = module.score(z).double() / sqrt(variance)
    led_to = (logits + sqrt(variance) * z).argmax(-1)
    law = module.CLASSES.of(logits[None, None], torch.full((1, 1), sqrt(variance)))
    probability = law.log_probability.softmax(-1)
    for label in range(4):
        alone = torch.nn.functional.one_hot(torch.tensor([[label]]), 4).double()
        chosen = score[led_to == label]
        if len(chosen) > 1000:
            assert_mean(chosen, law.total(alone, probability)[0, 0])
        assert law.norms(probability)[0, 0, label] == pytest.approx(
            law.total(alone, probability).square().sum().item(), rel=1e-9
        )
        share = (led_to == label).double()
        assert abs(share.mean() - probability[0, 0, label]) < 5 * share.std() / sqrt(len(share))


@pytest.mark.parametrize("num_logits", [2, 10, 100, 1000])
def test_gaussian_probabilities_and_credits_are_those_of_the_quadrature(num_logits: int) -> None:
    """Against the exact gradient of each class's own probability, one class after the other."""
    from esgrad.gradients.categorical import gaussian
    from esgrad.gradients.quadrature import log_probability_and_gradient

    generator = torch.Generator().manual_seed(num_logits)
    logits = 2 * torch.randn(num_logits, generator=generator, dtype=torch.float64)
    law = gaussian.of(logits[None, None], torch.full((1, 1), 0.8, dtype=torch.float64))
    probability = law.log_probability.softmax(-1)
    classes = torch.arange(num_logits)
    log_p, gradients = log_probability_and_gradient(logits.expand(num_logits, -1), classes, 0.8)
    torch.testing.assert_close(probability[0, 0], log_p.exp(), rtol=1e-6, atol=1e-12)
    coefficients = torch.rand(num_logits, generator=generator, dtype=torch.float64) * (log_p > -20)
    found = law.total(coefficients[None, None], probability)[0, 0]
    expected = coefficients @ gradients
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()


# What the box sees together


@TWO_VARIANCES
@pytest.mark.parametrize("credit", ["noise", "class"])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("shaping", ["raw", "success", "maxrl", "leave_one_out"])
def test_a_sum_of_digits_has_mean_and_variance_of_its_law(
    noise: str, credit: str, shaping: str, variance: float
) -> None:
    copies, num_samples, target = 10_000, 8, torch.tensor(7)
    logits = sqrt(variance) * torch.randn(20, generator=torch.Generator().manual_seed(1))
    of = Estimator.of(noise, credit, shaping, num_samples)
    fitness = PerExample(digit_sum, target.expand(1, copies))
    point, t = logits.expand(1, copies, 20).contiguous(), torch.tensor([variance])
    draws = of.gradient(fitness, point, t, Key([3], Role.NOISE, 1)).gradient[0].double()
    moments = readings.moments(of.noise, of.credit, digit_sum, logits.view(2, 10), target, variance)
    place = seen(moments)
    assert_mean(draws, theory.mean_share(of.shaping, place, num_samples) * moments.gradient)
    squares = (draws - draws.mean(0)).square().sum(-1)
    assert_mean(squares[:, None], theory.gradient_variance(of.shaping, place, num_samples))


@pytest.mark.parametrize(("k", "target", "ratio"), [(2, 7, 449.0), (4, 10, 640.3), (15, 60, 10314.4)])
def test_the_price_of_a_sum_of_level_digits(k: int, target: int, ratio: float) -> None:
    """V/|∇p|² of raw weights credited with the class."""
    gumbel = menu.load("noises", "gumbel")
    place = seen(readings.moments(gumbel, CLASS, digit_sum, torch.zeros(k, 10), torch.tensor(target), 1.0))
    variance = theory.gradient_variance(menu.load("shapings", "raw"), place, 1)
    assert (variance / (place.probability**2 * place.slope)).item() == pytest.approx(ratio, rel=1e-4)


def test_a_batch_credits_its_examples_by_what_its_mean_says() -> None:
    """Leave-one-out weights of a batch's accuracy: each example's classes, credited with what all of them earned."""
    logits, targets = LOGITS.flatten()[None, None], TARGETS[None]
    of = Estimator.of("gumbel", "class", "leave_one_out", 400)
    fitness = PerBatch(zero_one, targets)
    draws = torch.stack(
        [
            of.gradient(fitness, logits, torch.tensor([1.0]), Key([0], Role.NOISE, step)).gradient[0, 0].view(4, 4)
            for step in range(400)
        ]
    ).double()
    exact = of.noise.EXACT.p.gradient(LOGITS[None].double(), TARGETS[None], torch.tensor([1.0], dtype=torch.float64))
    assert_mean(draws, exact[0] / 4)


@pytest.mark.parametrize("noise", NOISES)
def test_norms_are_those_of_each_sample_s_own_credit_over_all_its_readings(noise: str) -> None:
    logits, t = torch.randn(3, 20, generator=torch.Generator().manual_seed(5)), torch.tensor([[0.25, 1.0, 9.0]])
    fitness = PerExample(digit_sum, torch.tensor([[7, 3, 11]]))
    asked = CLASS.ask(menu.load("noises", noise), 6, fitness, logits[None], t, Key([1], Role.NOISE, 0))
    for sample in range(6):
        alone = torch.zeros(1, 6, 3)
        alone[0, sample] = 1.0
        expected = asked.total(alone).square().sum(-1)  # |s/σ|², norms are so up to a factor of each position
        ratio = asked.norms()[0, sample] / expected[0]
        torch.testing.assert_close(ratio, torch.ones(3), rtol=1e-4, atol=0)
    assert asked.norms()[0].std(0).min() > 0, "or all samples would be alike"


def test_each_position_has_its_own_t_in_all_its_readings() -> None:
    logits, t = torch.randn(2, 20, generator=torch.Generator().manual_seed(6)), torch.tensor([[0.25, 9.0]])
    fitness = PerExample(digit_sum, torch.tensor([[7, 3]]))
    asked = CLASS.ask(menu.load("noises", "gumbel"), 2, fitness, logits[None], t, Key([1], Role.NOISE, 0))
    beta = (6 * t[0].double()).sqrt() / torch.pi
    expected = (logits.double().view(2, 2, 10) / beta[:, None, None]).softmax(-1)
    torch.testing.assert_close(asked.probability[0].view(2, 2, 10), expected, rtol=1e-6, atol=1e-12)


def test_what_a_miss_of_several_readings_is_credited_with_is_what_an_enumeration_says() -> None:
    """All hundred pairs of digits, one by one."""
    logits, t, target = torch.randn(2, 10, generator=torch.Generator().manual_seed(7)).double(), 2.0, torch.tensor(7)
    gumbel = menu.load("noises", "gumbel")
    found = readings.moments(gumbel, CLASS, digit_sum, logits, target, t)
    beta = sqrt(6 * t) / torch.pi
    share = (logits / beta).softmax(-1)
    each = (torch.eye(10, dtype=torch.float64) - share[:, None]) / beta  # [2, 10, 10]
    pairs = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    credit = torch.cat([each[0, pairs[:, 0]], each[1, pairs[:, 1]]], 1)  # [100, 20]
    weight = share[0, pairs[:, 0]] * share[1, pairs[:, 1]]
    hit = digit_sum.judge(pairs, target)
    u = torch.randn(20, generator=torch.Generator().manual_seed(8)).double()
    onto = (u * found.gradient).sum().square()
    for form, of in ((found.hit, hit), (found.missed, ~hit)):
        mean = weight[of] / weight[of].sum()
        assert form.trace.item() == pytest.approx((mean * credit[of].square().sum(1)).sum().item(), rel=1e-9)
        assert form.along(u, onto).item() == pytest.approx((mean * (credit[of] @ u).square()).sum().item(), rel=1e-9)
    assert found.dimension == 18, "the credit of each reading sums to 0"


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("gap", [20.0, 60.0, 1000.0])
@pytest.mark.parametrize("shaping", SHAPINGS)
def test_the_most_confident_logits_have_a_finite_estimate(noise: str, shaping: str, gap: float) -> None:
    """Credits are then too small to be squared in single precision."""
    logits = torch.zeros(3, 10)
    logits[:, 2] = gap
    words = {"num_samples": 10, "noise_variance": 0.5, "seed": 0, "step": 1, "noise": noise, "credit": "class"}
    found = es_gradient(logits, torch.tensor([2, 0, 5]), shaping=shaping, **words)
    assert found.isfinite().all()


# The same bits, and refusals


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("shaping", SHAPINGS)
def test_a_run_alone_equals_the_same_run_in_a_stack_to_the_bit(noise: str, shaping: str) -> None:
    of = Estimator.of(noise, "class", shaping, 9)
    points, t = torch.stack([LOGITS, LOGITS, 2 * LOGITS, LOGITS]), torch.tensor([1.0, 4.0, 1.0, 4.0])
    fitness = PerExample(zero_one, TARGETS.expand(4, -1))
    stack = of.gradient(fitness, points, t, Key([5, 8], Role.NOISE, 3))
    for run in range(4):
        alone = of.gradient(
            PerExample(zero_one, TARGETS[None]), points[run, None], t[run, None], Key([(5, 8)[run // 2]], Role.NOISE, 3)
        )
        assert torch.equal(alone.gradient[0], stack.gradient[run])
        assert alone.mean_fitness[0] == stack.mean_fitness[run]
        assert alone.queries == stack.queries == 9 * 4


@pytest.mark.parametrize("credit", menu.names("credits"))
@pytest.mark.parametrize("stops", [[1, 5, 6, 23], [2, 16, 40]])
def test_a_tally_that_grows_is_one_that_was_asked_at_once(credit: str, stops: list[int]) -> None:
    module, noise = menu.load("credits", credit), menu.load("noises", "gumbel")
    fitness, t, key = PerExample(zero_one, TARGETS[None]), torch.tensor([1.0]), Key([1], Role.QUALITY, 7)
    grown = module.tally(noise, fitness, LOGITS[None], t, key, True)
    weights = torch.tensor([[0.3, 0.2, 0.5, 0.1]]), torch.tensor([[-0.1, 0.4, -0.2, 0.3]])
    for stop in stops:
        grown.grow(stop)
        whole = module.tally(noise, fitness, LOGITS[None], t, key, True)
        whole.grow(stop)
        assert torch.equal(grown.hits, whole.hits)
        assert torch.equal(grown.total(*weights), whole.total(*weights))


@pytest.mark.parametrize("num_samples", [7, 30])
def test_no_bit_of_class_credit_depends_on_chunks(num_samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[Tensor]:
        fitness, t, key = PerExample(zero_one, TARGETS[None]), torch.tensor([1.0]), Key([1], Role.NOISE, 7)
        of = [Estimator.of("gumbel", "class", shaping, num_samples) for shaping in ("maxrl", "best_baseline")]
        return [each.gradient(fitness, LOGITS[None], t, key).gradient for each in of]

    whole = found()
    for chunk in (1, 4 * len(LOGITS), 12 * len(LOGITS)):
        monkeypatch.setattr(CLASS, "CHUNK", chunk)
        for one, other in zip(found(), whole, strict=True):
            assert torch.equal(one, other), chunk


def test_weights_of_counts_are_the_weights_of_the_samples() -> None:
    """(w₁ − w₀) Σ_hits s + w₀ Σ s against Σ w_n s_n, each by its own path."""
    for credit, shaping in product((NOISE, CLASS), SHAPINGS):
        law = menu.load("shapings", shaping)
        if not hasattr(law, "of_counts"):
            continue
        of = Estimator(menu.load("noises", "gumbel"), credit, law, 30)
        arguments = (PerExample(zero_one, TARGETS[None]), LOGITS[None], torch.tensor([1.0]), Key([1], Role.NOISE, 2))
        asked = credit.ask(of.noise, 30, *arguments)
        expected = asked.total(law.weights(asked.fitness, asked.norms))
        torch.testing.assert_close(of.gradient(*arguments).gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("noise", "shaping", "blackbox", "said"),
    [
        (
            "gumbel",
            "leave_one_out",
            cross_entropy,
            "cross_entropy sees more of the noise.*credit class.*noise would do",
        ),
        ("mirrored", "raw", zero_one, "mirrored samples know of each other.*credit noise would do"),
        ("orthogonal", "leave_one_out", zero_one, "orthogonal samples know of each other"),
        ("quasi", "raw", zero_one, "quasi samples know of each other"),
    ],
)
def test_what_cannot_be_credited_with_a_class_is_refused_in_words(noise, shaping, blackbox, said) -> None:
    reason = Estimator.of(noise, "class", shaping, N).refuses(Facts.of(blackbox), 4)
    assert reason is not None
    assert re.search(said, reason)


@pytest.mark.parametrize("noise", ["mirrored", "orthogonal", "quasi"])
def test_es_gradient_refuses_it_too(noise: str) -> None:
    with pytest.raises(ValueError, match="know of each other"):
        es_gradient(LOGITS, TARGETS, num_samples=8, noise_variance=1.0, seed=0, step=0, noise=noise, credit="class")


@pytest.mark.parametrize("credit", menu.names("credits"))
def test_es_gradient_is_the_estimator_of_its_words(credit: str) -> None:
    """Of the credit that was asked for, and of no other."""
    words = {"noise": "gumbel", "credit": credit, "shaping": "success"}
    found = es_gradient(LOGITS, TARGETS, num_samples=8, noise_variance=2.0, seed=3, step=4, **words)
    arguments = (PerExample(zero_one, TARGETS[None]), LOGITS[None], torch.tensor([2.0]), Key([3], Role.NOISE, 4))
    of_each = {each: Estimator.of("gumbel", each, "success", 8).gradient(*arguments) for each in menu.names("credits")}
    for each, of in of_each.items():
        assert torch.equal(found, of.gradient[0]) is (each == credit)


def test_the_class_and_the_noise_share_no_luck() -> None:
    """Hits of the same seed and step, credited with the one and with the other, are uncorrelated."""
    copies = 4000
    fitness = PerExample(zero_one, TARGETS.repeat(copies)[None])
    point, key = LOGITS.repeat(copies, 1)[None], Key([0], Role.NOISE, 1)
    noise = menu.load("noises", "gumbel")
    said = [
        credit.ask(noise, 1, fitness, point, torch.tensor([1.0]), key).fitness.flatten() for credit in (NOISE, CLASS)
    ]
    correlation = torch.corrcoef(torch.stack(said).double())[0, 1]
    assert abs(correlation) < 5 / sqrt(4 * copies)


# The honest frame


def test_success_with_the_class_is_backprop_of_examples_kept_with_the_chance_of_a_hit() -> None:
    """At π²/6 = t: each estimate is onehot − softmax or nothing, and something with probability 1 − (1−p)^N."""
    t, copies, num_samples = torch.pi**2 / 6, 5000, 3
    draws = estimates("gumbel", "class", "success", t, num_samples, copies)
    share = LOGITS.double().softmax(-1)
    gradient = torch.nn.functional.one_hot(TARGETS, 4) - share
    kept = draws.abs().sum(-1) > 0
    torch.testing.assert_close(draws[kept], gradient.expand_as(draws)[kept], rtol=1e-5, atol=1e-6)
    p = share.gather(1, TARGETS[:, None])[:, 0]
    assert_mean(kept.double(), 1 - (1 - p) ** num_samples)
