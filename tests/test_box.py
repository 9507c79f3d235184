"""What the planner plans for: black boxes that judge one reading of an example, or several together."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import esgrad
from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.kernels.streams import Role
from esgrad.laws import example, places, readings
from esgrad.planning import words as plan_words
from esgrad.planning.box import Box
from esgrad.planning.prospect import with_laws

LEVEL: dict[str, Any] = {"blackbox": "digit_sum", "readings": 2, "logit_dim": 10}
LOGITS = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
SUMS = torch.tensor([7, 0, 18])
SAMPLES = [("independent", "noise"), ("independent", "class"), ("gumbel", "noise"), ("gumbel", "class")]
COPIES = 40
LAW_ERROR = 0.02
"""What taking an estimate's shape as Gaussian costs the mean cosine of 100 strings here; measured at most 0.016, a
standard error being 0.004."""


def simulated(words: dict[str, str], num_samples: int, logits: Tensor, targets: Tensor, variance: float) -> Tensor:
    """Cosines [COPIES, E] of estimates to the exact gradient, of logits [E, 20] judged by digit_sum."""
    of = Estimator.of(words["noise"], words["credit"], words["shaping"], num_samples)
    judge = menu.load("blackboxes", "digit_sum")
    fitness = PerExample(judge, targets.repeat(COPIES)[None])
    point = logits.repeat(COPIES, 1)[None]
    found = of.gradient(fitness, point, torch.tensor([variance]), Key([2], Role.NOISE, 0)).gradient[0].double()
    each = logits.unflatten(-1, (2, 10))
    exact = readings.moments(of.noise, of.credit, judge, each, targets, variance).gradient
    return torch.nn.functional.cosine_similarity(found.view(COPIES, len(targets), -1), exact[None], dim=-1)


@pytest.mark.parametrize("num_samples", [8, 128])
@pytest.mark.parametrize("shaping", ["raw", "success", "maxrl"])
@pytest.mark.parametrize(("noise", "credit"), SAMPLES)
def test_the_cosine_of_a_sum_of_level_digits_is_that_of_a_simulation(noise, credit, shaping, num_samples):
    words = {"noise": noise, "credit": credit, "shaping": shaping}
    found = esgrad.plan(**LEVEL, **words, num_samples=num_samples)
    cosines = simulated(words, num_samples, torch.zeros(100, 20), Box.of(**LEVEL).targets(), 1.0)
    error = 5 * float(cosines.std()) / math.sqrt(cosines.numel())
    assert abs(float(cosines.mean()) - found["cosine"]) < error + LAW_ERROR
    assert float(cosines.square().mean().sqrt()) == pytest.approx(found["rms_cosine"], rel=0.1)


@pytest.mark.parametrize("variance", [0.5, 4.0])
@pytest.mark.parametrize(("noise", "credit"), SAMPLES)
def test_the_cosine_of_a_sum_of_your_digits_is_that_of_a_simulation(noise, credit, variance):
    words = {"noise": noise, "credit": credit, "shaping": "leave_one_out"}
    given = {"blackbox": "digit_sum", "noise_variance": variance, "num_samples": 64}
    found = esgrad.plan(logits=LOGITS, targets=SUMS, **words, **given)
    cosines = simulated(words, 64, LOGITS, SUMS, variance)
    error = 5 * math.sqrt(float(cosines.var(0).mean()) / cosines.numel())
    assert abs(float(cosines.mean()) - found["cosine"]) < error + LAW_ERROR


@pytest.mark.parametrize("of", with_laws(Box.of(**LEVEL)), ids=str)
def test_n_of_a_sum_is_the_smallest_that_does(of):
    found = esgrad.plan(**LEVEL, **of.words)
    count = found["num_samples"]
    assert esgrad.plan(**LEVEL, **of.words, num_samples=count)["cosine"] == found["cosine"] >= 0.5
    assert esgrad.plan(**LEVEL, **of.words, num_samples=count - 1)["cosine"] < 0.5


def test_the_class_needs_fewer_samples_of_a_sum_than_the_noise():
    noise, its_class = (
        esgrad.plan(**LEVEL, noise="gumbel", credit=credit)["num_samples"] for credit in ("noise", "class")
    )
    assert its_class < noise / 2


@pytest.mark.parametrize("lead", [0.0, 12.0, 18.0])
@pytest.mark.parametrize("variance", [0.25, 2.0])
@pytest.mark.parametrize(("noise", "credit"), SAMPLES)
def test_the_law_of_one_reading_is_the_law_of_a_label(noise, credit, variance, lead):
    """Also where the label leads so far that a miss has a chance of 1e-140: it keeps its digits."""
    parts = menu.load("noises", noise), menu.load("credits", credit)
    logits, targets = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).double(), torch.tensor([0, 5, 2, 3])
    logits = logits + lead * torch.nn.functional.one_hot(targets, 6)
    zero_one = menu.load("blackboxes", "zero_one")
    several = example.seen(readings.moments(*parts, zero_one, logits[:, None], targets, variance))
    label = places.place(*parts, logits, targets, variance)
    torch.testing.assert_close(several.miss, label.miss, rtol=1e-6, atol=1e-280)
    # where the label leads, the variance of a miss is what is left of two large squares
    close = {"rtol": 0.01, "atol": 0.01} if lead else {"rtol": 1e-6, "atol": 1e-9}
    for found, expected in zip(several, label, strict=True):
        torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), **close)


@pytest.mark.parametrize("lead", [15.0, 40.0, 1000.0])
@pytest.mark.parametrize("of", with_laws(Box.of(**LEVEL)), ids=str)
def test_a_sum_that_is_right_without_a_doubt_leaves_every_number_a_number(of, lead):
    digits = torch.zeros(1, 2, 10)
    digits[0, 0, 3] = digits[0, 1, 4] = lead
    sure = {"logits": torch.cat([digits.flatten(1), LOGITS]), "targets": torch.tensor([7, *SUMS.tolist()])}
    found = esgrad.plan(**sure, **of.words, blackbox="digit_sum", num_samples=8)
    json.dumps(found, allow_nan=False)
    assert 0 <= found["cosine"] <= found["rms_cosine"] + 1e-6 <= 1 + 2e-6
    assert 0 < found["gradient_variance"] < 10


def test_a_label_is_what_is_planned_for_unless_another_box_is_named():
    assert esgrad.plan(logit_dim=10) == esgrad.plan(logit_dim=10, blackbox="zero_one", readings=1)
    found = esgrad.plan(logit_dim=10)
    assert (found["blackbox"], found["readings"], found["logit_dim"]) == ("zero_one", 1, 10)


def test_all_strings_of_digits_have_their_sums():
    sums, counts = Box.of(**LEVEL).targets().unique(return_counts=True)
    assert sums.tolist() == list(range(19))
    assert counts.tolist() == [*range(1, 11), *range(9, 0, -1)]
    assert len(Box.of("digit_sum", 3, 10).targets()) == 10**3


@pytest.mark.parametrize("readings_of", [1, 2, 3])
@pytest.mark.parametrize("word", ["zero_one", "digit_sum"])
def test_every_string_has_one_of_the_labels(word, readings_of):
    judge = menu.load("blackboxes", word)
    if word == "zero_one":
        known, found = readings.labels(judge, 1, 10 * readings_of), readings.strings(judge, 1, 10 * readings_of)
    else:
        known, found = readings.labels(judge, readings_of, 10), readings.strings(judge, readings_of, 10)
    assert known.tolist() == found.unique().tolist()


def test_a_sum_that_no_digits_have_is_refused():
    with pytest.raises(ValueError, match="targets of digit_sum lie from 0 to 18, but one is 19"):
        esgrad.plan(logits=LOGITS, targets=torch.tensor([0, 19, 3]), blackbox="digit_sum")
    with pytest.raises(ValueError, match=r"100,000 can be looked at: 5 readings would do"):
        Box(menu.load("blackboxes", "digit_sum"), 6, 10).targets()


def test_where_the_gradient_is_0_other_logits_are_asked_for():
    """Of equal logits the sum 9 is as likely whichever digit one reads."""
    with pytest.raises(ValueError, match=r"here at noise_variance 1: logits at which the gradient is not 0 would do$"):
        esgrad.plan(logits=torch.zeros(2, 20), targets=torch.tensor([9, 9]), blackbox="digit_sum")
    with pytest.raises(ValueError, match=r"less than 0.9 would do$"):
        esgrad.plan(**LEVEL, cosine=0.9)


def test_a_box_of_other_readings_says_which_would_do():
    with pytest.raises(
        ValueError,
        match="digit_sum does not judge 1 reading of 20 logits: readings = 2 with logit_dim = 10 or the black box "
        "zero_one would do",
    ):
        esgrad.plan(logit_dim=20, blackbox="digit_sum")
    with pytest.raises(ValueError, match="unknown name in blackboxes ''"):
        esgrad.plan(logit_dim=10, blackbox="")


def test_long_strings_stand_for_each_other_in_proportion():
    """Of 10,000 strings a thousand are looked at: as many of each sum as it has a share, to one a sum."""
    box = Box.of("digit_sum", 4, 10)
    level = box.level_place(menu.load("noises", "gumbel"), menu.load("credits", "class"), 1.0)
    counts = box.targets().unique(return_counts=True)[1].double()
    assert len(level.miss) == 1000
    for count in counts.unique().tolist():  # of strings with the same sum; two sums have it
        looked_at = float(((level.probability - count / 10**4).abs() < 1e-9).sum())
        assert looked_at == pytest.approx(float(counts[counts == count].sum()) / 10, abs=2)


def test_it_says_who_judges_which_readings():
    start = "\n".join(plan_words.lines(esgrad.plan(**LEVEL, num_samples=9)))
    assert "K = 10 equal logits, a network's start, 2 readings of 10, judged by digit_sum, the mean over all" in start
    assert "all strings of classes (10% of them have the gradient 0, and count as a cosine of 0)" in start, "sum 9"
    of = {"logits": LOGITS, "targets": SUMS, "blackbox": "digit_sum", "credit": "class", "shaping": "success"}
    found = esgrad.plan(**of)
    assert "your 3 × 20 logits, 2 readings of 10, judged by digit_sum" in "\n".join(plan_words.lines(found))
    alone = esgrad.plan(logit_dim=10, blackbox="digit_sum", num_samples=9)
    assert "a network's start, 1 reading of 10, judged by digit_sum" in "\n".join(plan_words.lines(alone))
    assert "exact (esgrad.laws)" not in "\n".join(plan_words.lines(found)), "hits of a sum differ in their classes"
    priced = esgrad.plan(**LEVEL, query_cost=1, forward_cost=50)
    assert {each["noise"] for each in priced["alternatives"]} <= {"independent", "gumbel"}
