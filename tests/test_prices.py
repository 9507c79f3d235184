"""The planner's prices: what a training costs, which trainings it compares, and what it rests on."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch

import esgrad
from esgrad import laws as theory
from esgrad.planning import price, prospect
from esgrad.planning import words as plan_words
from esgrad.planning.box import Box

PROSPECTS = prospect.with_laws(Box.of("zero_one", 1, 3))
REFERENCE = Path(__file__).parents[1] / "results/reference/default/tables"


# What a training costs


@pytest.mark.parametrize("batch_size", [None, 64])
@pytest.mark.parametrize(("query_cost", "forward_cost"), [(1.0, 50.0), (2.0, 0.5)])
def test_the_cheapest_n_of_raw_weights_is_the_square_root_law(query_cost, forward_cost, batch_size):
    asked = {"logit_dim": 10, "noise": "independent", "shaping": "raw", "data_noise_scale": 200.0}
    costs = {"query_cost": query_cost, "forward_cost": forward_cost}
    found = esgrad.plan(**asked, **costs, batch_size=batch_size)
    data = 200.0 + (batch_size or 0)
    best = math.sqrt(forward_cost * theory.level_ratio(10) * 201 / (query_cost * data))
    assert abs(found["num_samples"] - max(best, 1)) <= 1
    low, high = found["num_samples_within_tenth"]
    assert low <= found["num_samples"] <= high
    for count, cheap in [(low, True), (high, True), (max(1, low // 2), low == 1), (2 * high, False)]:
        other = esgrad.plan(**asked, **costs, batch_size=batch_size, num_samples=count)
        assert other["price"] >= found["price"] * (1 - 1e-12)
        assert (other["price"] <= price.NEAR * found["price"]) == cheap


def test_the_noise_scale_is_that_of_a_batch_of_noisy_estimates():
    """Gradients ∇_b of examples scatter around G, an estimate around its own by ρ|∇_b|²: B_noise is tr Var/|G|²."""
    generator, dimension, scale = torch.Generator().manual_seed(0), 50, 4.0
    whole = torch.ones(dimension) / dimension**0.5
    examples = whole + torch.randn(40_000, dimension, generator=generator) * (scale / dimension) ** 0.5
    asked = {"logit_dim": 3, "num_samples": 7, "query_cost": 1, "forward_cost": 1, "data_noise_scale": scale}
    found = esgrad.plan(**asked, noise="independent", shaping="raw")
    own = (found["relative_variance"] / dimension) ** 0.5 * examples.norm(dim=1, keepdim=True)
    estimates = examples + own * torch.randn(examples.shape, generator=generator)
    assert float(estimates.var(0).sum()) == pytest.approx(found["noise_scale"], rel=0.02)


def test_a_price_adds_up_and_says_what_it_rests_on():
    costs = {"query_cost": 3.0, "forward_cost": 70.0, "min_steps": 400.0}
    found = esgrad.plan(logit_dim=10, **costs)
    assert found["steps"] == pytest.approx(800, rel=0.01), "at B = the noise scale, twice the least"
    assert found["forwards"] == pytest.approx(found["steps"] * found["batch_size"])
    assert found["queries"] == pytest.approx(found["forwards"] * found["num_samples"])
    assert found["price"] == pytest.approx(3 * found["queries"] + 70 * found["forwards"])
    fixed = {name: found[name] for name in ("num_samples", "batch_size", "noise", "shaping", "noise_variance")}
    for word, scale in [("price_low", 50.0), ("price_high", 200.0)]:
        assert esgrad.plan(logit_dim=10, **costs, **fixed, data_noise_scale=scale)["price"] == pytest.approx(
            found[word]
        )
    assert found["price"] == min(other["price"] for other in found["alternatives"])
    said = "\n".join(plan_words.lines(found))
    assert "per 400 steps of S_min, to which all prices are proportional" in said
    assert "--min-steps" in said
    assert "100 examples has as much noise as gradient: --data-noise-scale" in said
    assert plan_words.number(found["price_high"]) in said


def test_where_no_gradient_is_left_the_answer_says_so():
    """A lead of 80 σ: |∇p|² is no float64."""
    logits, targets = torch.tensor([[80.0, 0.0, 0.0]]), torch.tensor([0])
    for noise in ("independent", "mirrored"):
        found = esgrad.plan(logits=logits, targets=targets, num_samples=10, noise=noise)
        assert found["relative_variance"] is None
        json.dumps(found, allow_nan=False)
        both = torch.cat([logits, torch.zeros(1, 3)]), torch.tensor([0, 0])
        found = esgrad.plan(logits=both[0], targets=both[1], num_samples=10, noise=noise)
        assert 0 < found["relative_variance"] < 10
        json.dumps(found, allow_nan=False)
    plan_words.lines(found)
    for asked in ({}, {"query_cost": 1, "forward_cost": 1, "shaping": "raw", "cosine": 0.5}):
        with pytest.raises(ValueError, match=r"no N up to .*: less confident logits would do$"):
            esgrad.plan(logits=logits, targets=targets, **asked)
    costs = {"query_cost": 1, "forward_cost": 1, "noise": "independent"}  # Gumbel noise, of heavier tails, still does
    with pytest.raises(ValueError, match=r"no example moves at noise_variance 1, .*less confident logits would do$"):
        esgrad.plan(logits=logits, targets=targets, **costs)
    assert esgrad.plan(logits=logits, targets=targets, **costs, noise_variance=1000)["noise_variance"] == 1000


@pytest.mark.parametrize("of", PROSPECTS, ids=str)
def test_a_lead_of_any_size_leaves_every_number_a_number(of):
    """From 37 σ on the square of the gradient is no float64, from 53 σ on the gradient is none."""
    for lead in (20.0, 36.0, 38.0, 39.0, 40.0, 42.0, 46.0, 50.0, 54.0, 70.0):
        logits, targets = torch.tensor([[lead, 0.0, 0.3]]), torch.tensor([0])
        place, count = of.place(logits, targets, 1.0), of.allowed(10)
        cosine, root = of.cosine(place, count), of.rms_cosine(place, count)
        assert 0 <= cosine <= root + 1e-6 <= 1 + 2e-6, lead
        assert 0 <= float(of.variance(place, count)) < 10, lead
        assert of.relative_variance(place, count) >= 0, lead


def test_a_price_on_real_logits_leaves_alone_what_is_given_and_t():
    logits, targets = 3 * torch.randn(48, 10, generator=torch.Generator().manual_seed(5)), torch.arange(48) % 10
    costs = {"query_cost": 1, "forward_cost": 50}
    free = esgrad.plan(logits=logits, targets=targets, **costs)
    given = esgrad.plan(
        logits=logits, targets=targets, **costs, noise_variance=2.0, shaping="maxrl", batch_size=32, num_samples=20
    )
    assert [given[name] for name in ("noise_variance", "shaping", "batch_size", "num_samples")] == [
        2.0,
        "maxrl",
        32,
        20,
    ]
    assert free["noise_variance"] == 1.0
    assert "almost any fixed t that is not small" in "\n".join(plan_words.lines(free))


# What a price compares


@pytest.mark.parametrize("of", PROSPECTS, ids=str)
def test_what_a_shaping_ascends_is_the_limit_of_its_mean(of):
    if of.shaping.ASCENDS is None:
        pytest.skip("it says of nothing that it ascends it")
    logits, targets = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), torch.tensor([0, 0, 0])
    place, exact = of.place(logits, targets, 1.0), (logits[None].double(), targets[None], torch.ones(1).double())
    p, log_gradient = of.noise.EXACT.p.value(*exact)[0], of.noise.EXACT.log_p.gradient(*exact)[0]
    of_log_p = {"log p": torch.ones_like(p), "p": p, "arcsin √p": (p / (1 - p)).sqrt()}[of.objective]
    share = of.mean_share(place, 10**8) * place.slope.sqrt() / log_gradient.norm(dim=-1) / of_log_p
    torch.testing.assert_close(share, share[:1].expand_as(share), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("asked", "objective", "compared"),
    [
        ({}, "log p", {"maxrl", "success"}),
        ({"noise": "independent"}, "log p", {"maxrl", "success"}),
        ({"noise": "mirrored"}, "p", {"raw", "centered_ranks"}),
        ({"shaping": "leave_one_out"}, "p", {"leave_one_out"}),
        ({"shaping": "z_score"}, "arcsin √p", {"z_score"}),
        ({"shaping": "maxrl"}, "log p", {"maxrl"}),
    ],
)
def test_a_price_compares_only_shapings_of_one_objective_and_says_which(asked, objective, compared):
    found = esgrad.plan(logit_dim=10, query_cost=1, forward_cost=50, **asked)
    assert found["objective"] == objective
    assert {other["shaping"] for other in found["alternatives"]} == compared
    said = plan_words.lines(found)
    assert any(line.startswith(f"aims     ∇{objective}, as ") for line in said)
    assert f"1,000 steps with the exact ∇{objective} of all data" in "\n".join(said)
    others = {known.words["shaping"] for known in PROSPECTS} - compared
    assert not any(f"× {shaping}" in "\n".join(said) for shaping in others)


@pytest.mark.parametrize("num_samples", [10, 100])
def test_no_shaping_of_another_objective_takes_fewer_steps_in_the_records_than_the_planned(num_samples):
    frame = pd.read_csv(REFERENCE / "targets.csv").query(
        "experiment == 'headline' and blackbox == 'zero_one' and target == 'progress 0.90' and unit == 'steps'"
    )
    steps = frame[frame["num_samples"] == num_samples].set_index("method")["estimate"]
    found = esgrad.plan(logit_dim=10, num_samples=num_samples, query_cost=1, forward_cost=50)
    assert found["noise"] == "independent"
    assert steps[found["shaping"]] < steps[["lecture", "leave_one_out", "mirrored"]].min()


def test_so_small_an_n_that_log_p_is_not_what_it_ascends_is_said():
    found = esgrad.plan(logit_dim=10, query_cost=1, forward_cost=0.01)
    assert (found["num_samples"], found["objective_share"]) == (1, pytest.approx(0.1))
    assert "closer to ∇p, whose S_min is larger" in "\n".join(plan_words.lines(found))
    found = esgrad.plan(logit_dim=10, query_cost=1, forward_cost=50)
    assert found["objective_share"] > 0.9
    assert "closer to ∇p" not in "\n".join(plan_words.lines(found))


def test_a_search_for_n_that_sees_no_end_says_so():
    with pytest.raises(ValueError, match=r"beyond N = 1e\+15, .*query_cost larger than 1e-40.* num_samples would do$"):
        esgrad.plan(logit_dim=10, query_cost=1e-40, forward_cost=1)
    assert esgrad.plan(logit_dim=10, query_cost=1e-40, forward_cost=1, num_samples=7)["num_samples"] == 7
    found = esgrad.plan(logit_dim=10, query_cost=1e-14, forward_cost=1, shaping="raw", noise="independent")
    assert found["num_samples_within_tenth"][1] == pytest.approx(0.1e14, rel=0.05), "where the queries cost a tenth"


def test_where_no_credit_is_named_a_price_says_whether_another_is_cheaper():
    asked = {"logit_dim": 10, "query_cost": 1, "forward_cost": 50}
    found = esgrad.plan(**asked)
    other = esgrad.plan(**asked, credit="class")
    assert found["cheaper_credit"] == min(other["alternatives"], key=lambda each: each["price"])
    assert found["cheaper_credit"]["price"] == other["price"] < found["price"]
    said = "\n".join(plan_words.lines(found))
    assert f"less     {plan_words.number(other['price'])} with " in said
    assert "--credit class" in said
    assert other["cheaper_credit"] is None
    assert "less     " not in "\n".join(plan_words.lines(other))
    assert esgrad.plan(**asked, noise="mirrored")["cheaper_credit"] is None, "pairs cannot be credited with the class"


def test_a_price_at_many_logits_leaves_out_gaussian_noise_credited_with_the_class():
    logits, targets = torch.zeros(2, 101), torch.tensor([0, 1])
    found = esgrad.plan(logits=logits, targets=targets, credit="class", query_cost=1, forward_cost=50)
    assert {each["noise"] for each in found["alternatives"]} == {"gumbel"}
    with pytest.raises(ValueError, match="Gumbel noise has one at every K"):
        esgrad.plan(logits=logits, targets=targets, credit="class", noise="independent")
