"""The planner: what papers measured, what simulation says on networks it has not seen, and its own inverse."""

import math

import pytest
import torch
from sklearn.datasets import load_digits

import esgrad
from esgrad import laws as theory
from esgrad.planning import prospect
from esgrad.planning import words as plan_words
from esgrad.planning.box import Box, drawn

TEN_LOGITS = Box.of("zero_one", 1, 10)
PROSPECTS = prospect.with_laws(TEN_LOGITS)
EACH_PROSPECT = pytest.mark.parametrize("of", PROSPECTS, ids=str)
LECTURE = prospect.Prospect.of("independent", "noise", "raw", TEN_LOGITS)
HUMAN_PARAMETERS = 3_274_634  # of the network of arXiv 1712.06564


# Noise at the parameters


def test_it_retrodicts_the_correlations_measured_on_a_network_of_3_million_parameters():
    """Zhang, Clune & Stanley, arXiv 1712.06564: 3.9 % at 10,000 offspring, "approximately 274,000" for 20 %."""
    found = esgrad.plan(parameters=HUMAN_PARAMETERS, num_samples=10_000)
    assert round(found["cosine"], 3) == 0.039
    assert found["pairs"] == 5_000, "both signs are offspring"
    needed = esgrad.plan(parameters=HUMAN_PARAMETERS, cosine=0.2)
    assert needed["num_samples"] == 272_888
    assert needed["num_samples"] == pytest.approx(274_000, rel=0.01)
    assert (needed["noise"], needed["shaping"]) == ("mirrored", "raw")


def test_ranks_cost_one_pair_in_twenty():
    raw, ranks = (esgrad.plan(parameters=10**6, cosine=0.3, shaping=shaping) for shaping in ("raw", "centered_ranks"))
    assert raw["num_samples"] / ranks["num_samples"] == pytest.approx(3 / math.pi, rel=1e-4)


@pytest.mark.parametrize(("count", "samples"), [(3, 6), (40, 30)])
def test_the_law_at_the_parameters_is_that_of_a_linear_fitness(count, samples):
    slope = torch.arange(1.0, count + 1).double()
    epsilon = torch.randn(20_000, samples // 2, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    estimates = (2 / samples) * torch.einsum("rnd,rn->rd", epsilon, epsilon @ slope)
    cosines = torch.nn.functional.cosine_similarity(estimates, slope[None])
    found = esgrad.plan(parameters=count, num_samples=samples)
    assert abs(cosines.mean() - found["cosine"]) < 5 * cosines.std() / len(cosines) ** 0.5
    assert cosines.square().mean().sqrt() == pytest.approx(found["rms_cosine"], rel=0.01)
    variance = estimates.var(0).sum() / slope.square().sum()
    assert variance == pytest.approx(found["gradient_variance"], rel=0.05)


# Noise at the logits


@pytest.mark.parametrize(("num_logits", "ratio"), [(100, 1.57e3), (1000, 9.51e4)])
def test_at_the_start_n_is_the_closed_form(num_logits, ratio):
    found = esgrad.plan(logit_dim=num_logits, cosine=0.5)
    assert found["num_samples"] == pytest.approx(ratio / 3, rel=3 / num_logits), "c²/(1 − c²) V/|∇|², but for small K"
    assert found["relative_variance"] * found["num_samples"] == pytest.approx(theory.level_ratio(num_logits))


@pytest.mark.parametrize("cosine", [0.1, 0.5, 0.9])
@EACH_PROSPECT
def test_n_is_whole_allowed_and_the_smallest_that_does(of, cosine):
    asked = of.words
    logits = torch.tensor([[0.0, 1.0, -1.0, 0.5], [3.0, 0.0, 1.0, 0.0], [0.0, 2.0, 2.0, 0.0]])
    for problem in ({"logit_dim": 10}, {"logits": logits, "targets": torch.tensor([0, 0, 3])}):
        found = esgrad.plan(**problem, **asked, cosine=cosine)
        count = found["num_samples"]
        assert isinstance(count, int)
        assert of.refuses(count) is None
        assert esgrad.plan(**problem, **asked, num_samples=count)["cosine"] == found["cosine"] >= cosine
        fewer = count - (2 if of.noise.PAIRS else 1)
        if fewer >= of.allowed(1):
            assert esgrad.plan(**problem, **asked, num_samples=fewer)["cosine"] < cosine


@pytest.mark.parametrize("shaping", ["raw", "centered_ranks"])
def test_n_at_the_parameters_is_even_and_the_smallest_that_does(shaping):
    for count, cosine in [(2, 0.9), (1000, 0.05), (28_938, 0.681)]:
        found = esgrad.plan(parameters=count, cosine=cosine, shaping=shaping)
        assert found["num_samples"] % 2 == 0
        assert found["cosine"] >= cosine
        if found["num_samples"] > 2:
            fewer = esgrad.plan(parameters=count, num_samples=found["num_samples"] - 2, shaping=shaping)
            assert fewer["cosine"] < cosine


def test_only_the_logits_in_units_of_sigma_matter():
    logits, targets = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).double(), torch.arange(5)
    once, scaled = (
        esgrad.plan(logits=logits * c, targets=targets, noise_variance=c * c, shaping="leave_one_out") for c in (1, 4)
    )
    assert once["num_samples"] == scaled["num_samples"]
    assert once["gradient_variance"] == pytest.approx(16 * scaled["gradient_variance"])
    assert scaled["best_noise_variance"] == pytest.approx(16 * once["best_noise_variance"], rel=0.1)


def test_the_t_it_recommends_needs_no_more_samples_than_others():
    logits, targets = torch.randn(6, 10, generator=torch.Generator().manual_seed(2)) * 3, torch.arange(6)
    found = esgrad.plan(logits=logits, targets=targets)
    assert found["best_num_samples"] <= found["num_samples"]
    for factor in (0.03, 30):
        variance = factor * found["best_noise_variance"]
        other = esgrad.plan(logits=logits, targets=targets, noise_variance=variance)
        assert found["best_num_samples"] <= 1.1 * other["num_samples"]


def test_quantiles_are_of_the_examples():
    logits = torch.tensor([[0.0, 0.0, 0.0]] * 3 + [[2.0, 0.0, 0.0]])
    found = esgrad.plan(logits=logits, targets=torch.tensor([0, 1, 2, 0]), cosine=0.9)
    alone = esgrad.plan(logit_dim=3, cosine=0.9)
    assert found["num_samples_quantiles"]["0.5"] == alone["num_samples"]
    assert all(isinstance(count, int) for count in found["num_samples_quantiles"].values())
    assert found["num_samples_quantiles"]["0.9"] > alone["num_samples"]
    same = esgrad.plan(logit_dim=3, num_samples=found["num_samples"])
    assert found["cosine_quantiles"]["0.75"] == pytest.approx(same["cosine"], rel=1e-3)


# Networks it has not seen


@pytest.fixture(scope="module")
def networks():
    """Logits [48, 10] and targets of a small network on digits before, in and after a training of its own."""
    images, labels = load_digits(return_X_y=True)
    images, labels = torch.from_numpy(images).float() / 16, torch.from_numpy(labels).long()
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(64, 32, generator=generator) / 8, torch.randn(32, 10, generator=generator) / 32**0.5]
    weights = [weight.requires_grad_() for weight in weights]
    optimizer = torch.optim.Adam(weights, lr=0.01)
    found = {}
    for step in range(201):
        logits = (images @ weights[0]).relu() @ weights[1]
        if step in (0, 20, 200):
            found[{0: "start", 20: "half", 200: "trained"}[step]] = logits[:48].detach(), labels[:48]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits[100:], labels[100:]).backward()
        optimizer.step()
    return found


@pytest.mark.parametrize(
    ("stage", "noise", "shaping", "variance", "cosine"),
    [
        ("start", "independent", "raw", 1.0, 0.5),
        ("start", "independent", "leave_one_out", 0.25, 0.8),
        ("half", "independent", "raw", 1.0, 0.5),
        ("half", "independent", "maxrl", 4.0, 0.5),
        ("half", "mirrored", "raw", 1.0, 0.7),
        ("trained", "independent", "raw", 16.0, 0.5),
        ("trained", "independent", "leave_one_out", 16.0, 0.7),
        ("trained", "independent", "success", 16.0, 0.4),
        ("trained", "mirrored", "raw", 16.0, 0.6),
    ],
)
def test_on_networks_it_has_not_seen_cosine_and_variance_are_as_planned(
    networks, stage, noise, shaping, variance, cosine
):
    logits, targets = (part.double() if part.is_floating_point() else part for part in networks[stage])
    named = {"noise": noise, "shaping": shaping, "noise_variance": variance}
    found = esgrad.plan(logits=logits, targets=targets, cosine=cosine, **named)
    count = found["num_samples"]
    assert count < 5_000, "else the measurement is long"
    draws = max(100, min(400, 40_000 // count))  # as so many batches, whose noise is their own
    drawn = esgrad.es_gradient(
        logits.repeat(draws, 1), targets.repeat(draws), num_samples=count, seed=3, step=0, **named
    ).view(draws, *logits.shape)
    _, exact = esgrad.exact_gradient(logits, targets, variance)
    cosines = torch.nn.functional.cosine_similarity(drawn, exact[None], dim=-1, eps=1e-300).mean(1)  # [draws]
    error = float(cosines.std()) / len(cosines) ** 0.5
    assert abs(float(cosines.mean()) - found["cosine"]) < 0.05 * found["cosine"] + 5 * error
    assert error < 0.03 * found["cosine"], "the measurement says something"
    away = (drawn - drawn.mean(0)).square().sum(-1).mean(1) * len(drawn) / (len(drawn) - 1)  # [draws]
    assert abs(float(away.mean()) - found["gradient_variance"]) < 5 * float(away.std()) / len(away) ** 0.5
    if shaping != "raw":
        return
    assert float(away.mean() / exact.square().sum(-1).mean()) == pytest.approx(found["relative_variance"], rel=0.1)


# Which t, and which examples


def test_where_some_examples_have_no_gradient_the_cosine_there_is_is_named():
    logits, targets = torch.tensor([[80.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([0, 0])
    with pytest.raises(ValueError, match=r"a mean cosine of 0.7 here at noise_variance 1: less than 0.5 would do$"):
        esgrad.plan(logits=logits, targets=targets, cosine=0.7)
    assert esgrad.plan(logits=logits, targets=targets, cosine=0.49)["num_samples"] > 1


def test_t_is_scanned_from_a_hundredth_to_a_thousand_times_the_spread_squared():
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(3)) * 3
    own, *tried = [variance for variance, _ in prospect.scan(LECTURE, logits, torch.arange(6), 7.0)]
    square = float(logits.double().var(-1, correction=0).mean())
    assert tried[0] == pytest.approx(square / 100, rel=0.1)
    assert tried[-1] == pytest.approx(square * 1000, rel=0.1)
    assert (own, len(tried)) == (7.0, 21)
    assert prospect.scan(LECTURE, torch.zeros(2, 3), torch.tensor([0, 1]), 1.0) == []


def test_every_example_has_a_say_in_the_best_t():
    logits = torch.tensor([[0.1, 0.0, -0.1]] + [[0.0, 9.0, 0.0]] * 5)
    targets = torch.tensor([0] * 6)
    best = [
        esgrad.plan(logits=logits[order], targets=targets)["best_noise_variance"]
        for order in ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0])
    ]
    alone = prospect.best_variance(
        LECTURE,
        [(t, LECTURE.place(logits[:1], targets[:1], t)) for t, _ in prospect.scan(LECTURE, logits, targets, 1.0)],
        0.5,
    )
    assert best[0] == best[1] != alone


@pytest.mark.parametrize("cosine", [0.001, 0.1, 0.3])
@pytest.mark.parametrize("shaping", ["raw", "leave_one_out"])
def test_no_t_is_said_to_take_fewest_that_takes_more_than_the_one_at_hand(cosine, shaping):
    """Few samples, of which the law's limit for large N knows nothing."""
    for seed in range(3):
        logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))
        found = esgrad.plan(logits=logits, targets=torch.arange(6) % 4, cosine=cosine, shaping=shaping)
        assert found["best_num_samples"] <= found["num_samples"]


def test_a_best_t_is_to_its_own_gradient_and_at_the_end_of_the_scan_no_best(networks):
    logits, targets = networks["half"]
    found = esgrad.plan(logits=logits, targets=targets)
    assert found["noise_variance"] == 1.0
    low, high = found["noise_variance_scanned"]
    assert low <= found["best_noise_variance"] <= high
    for best, words in [(low, "smallest t looked at"), (high, "largest t looked at"), (2 * low, "")]:
        said = "\n".join(plan_words.lines(found | {"best_noise_variance": best}))
        assert f"t        {best:g} takes fewest for this one step, to that t's own, blunter gradient" in said
        assert ("looked at" in said) == bool(words)
        assert words in said
    level = esgrad.plan(logits=torch.zeros(2, 3), targets=torch.tensor([0, 1]))
    assert level["best_noise_variance"] is None
    assert "takes fewest" not in "\n".join(plan_words.lines(level))


def test_of_many_examples_a_thousand_stand_for_all_and_are_said_to():
    """Of ten classes in turn, so that evenly spaced ones would be of one class."""
    classes = torch.arange(20_000) % 10
    logits = torch.randn(20_000, 10, generator=torch.Generator().manual_seed(4))
    logits[classes == 0, 0] += 4
    found = esgrad.plan(logits=logits, targets=classes, num_samples=30)
    assert (found["num_examples"], found["num_examples_used"]) == (20_000, 1000)
    assert "your 20,000 × 10 logits, for which 1,000 examples drawn at random stand" in "\n".join(
        plan_words.lines(found)
    )
    each = LECTURE.cosine_each(LECTURE.place(logits[:4000], classes[:4000], 1.0), 30)
    assert abs(found["cosine"] - float(each.mean())) < 5 * float(each.std()) * (1 / 1000 + 1 / 4000) ** 0.5
    assert len(drawn(5, 1000)) == 5


@EACH_PROSPECT
def test_the_relative_variance_is_in_units_of_what_the_weights_estimate(of):
    logits, targets = torch.tensor([[0.0, 1.0, 0.3], [1.0, 0.0, 0.0]]).double(), torch.tensor([0, 0])
    draws = 20_000  # as so many examples, whose noise is their own
    named = {"num_samples": 4, "noise_variance": 2.0, **of.words}
    drawn = esgrad.es_gradient(logits.repeat(draws, 1), targets.repeat(draws), seed=0, step=0, **named)
    drawn = drawn.view(draws, 2, 3)
    variance = drawn.var(0).sum()
    square = drawn.mean(0).square().sum() - variance / draws
    found = esgrad.plan(logits=logits, targets=targets, **named)
    assert float(variance / square) == pytest.approx(found["relative_variance"], rel=0.05)
