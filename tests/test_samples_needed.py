"""N* is found where it was planted and where the law puts it; what the budget does not reach is censored."""

from math import inf

import numpy as np
import pandas as pd
import pytest
import torch

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.gradients.shapings import has_counts_law
from esgrad.kernels import compiled, hits
from esgrad.kernels.streams import Role
from esgrad.measurement import checkpoints, samples_needed
from esgrad.measurement.batch_law import BatchLaw
from esgrad.measurement.brackets import bracket, cell, grid
from esgrad.measurement.columns import SAMPLES_COLUMNS
from esgrad.measurement.growing import Growing
from esgrad.measurement.sampler import Sampler
from esgrad.measurement.samples_needed import measure
from esgrad.report.tables import exponents
from esgrad.report.tables import samples_needed as table
from tests.planted import suite_of_samples
from tests.running import job

SPEC = {"noise_variance": 1.0, "cosines": [0.5, 0.9], "num_examples": 4, "batch_size": 8, "num_draws": 1, "budget": 3e7}
ASKED = [{"noise": "independent", "credit": "noise", "shapings": ["raw", "leave_one_out", "maxrl"]}]
SPEC |= {"estimators": ASKED}
BACKPROP = {
    "exact": "backprop",
    "method": "backprop",
    "noise": "",
    "credit": "",
    "shaping": "",
    "blackbox": "cross_entropy",
}
LECTURE = Sampler.of("independent", "noise", menu.names("shapings"))
COUNTED = [name for name, shaping in LECTURE.shapings.items() if has_counts_law(shaping)]
AIMED = [name for name in COUNTED if LECTURE.shapings[name].ASCENDS is not None]


@pytest.fixture(scope="module")
def networks(digits):
    """A linear network before and after a short training."""
    made = job(**BACKPROP, num_samples=(None,), noise_variance=(None,), learning_rates=(0.03,), max_steps=150)
    return checkpoints.make(made, digits, 16, ["start", "trained"])


@pytest.fixture(scope="module")
def level():
    return pd.concat([measure([], k, **SPEC) for k in (2, 10, 100, 1000)], ignore_index=True)


@pytest.fixture(scope="module")
def measured(networks):
    return measure(networks, 10, **SPEC | {"num_draws": 2})


# Brackets


def test_the_grid_begins_with_every_small_n_and_grows_by_a_factor() -> None:
    points = np.array(grid(1e6))
    assert points[:6].tolist() == [1, 2, 3, 4, 5, 6]
    assert points[-1] == 1_000_000
    assert (points[1:] / points[:-1])[20:].max() < 1.34


@pytest.mark.parametrize("needed", [1.5, 10.0, 317.0, 4e5])
def test_a_planted_curve_gives_the_planted_n(needed: float) -> None:
    points = grid(1e6)
    low, high = bracket(points, [(n / (n + 3 * needed)) ** 0.5 for n in points], 0.5)  # ½ at N = needed
    assert low < needed <= high <= max(2, 1.5 * low)
    assert {low, high} <= set(points)


def test_a_bracket_is_open_where_nothing_was_reached_and_begins_at_0_where_the_first_n_was_enough() -> None:
    assert bracket([1, 2, 4], [0.1, 0.2, 0.3], 0.5) == (4.0, inf)
    assert bracket([1, 2, 4], [0.6, 0.7, 0.8], 0.5) == (0.0, 1.0)
    assert bracket([1, 2, 4], [0.1, 0.2, 0.5], 0.5) == (2.0, 4.0)


def test_a_noisy_bracket_reaches_from_the_first_crossing_to_the_last() -> None:
    assert bracket([1, 2, 4, 8, 16], [0.1, 0.6, 0.4, 0.6, 0.7], 0.5) == (1.0, 8.0)
    assert bracket([1, 2, 4, 8], [0.6, 0.4, 0.6, 0.4], 0.5) == (0.0, inf)


@pytest.mark.parametrize("needed", [1.0, 1.5, 2.0, 4.0, 10.0, 317.0, 4e5])
@pytest.mark.parametrize("least", [1, 2])
def test_a_law_s_cell_is_the_bracket_of_a_curve_that_crosses_where_it_says(needed: float, least: int) -> None:
    for most in (1e2, 1e6):
        points = [n for n in grid(most) if n >= least]
        assert cell(needed, least, points[-1]) == bracket(points, [float(n >= needed) for n in points], 0.5)


# Estimates


@pytest.mark.parametrize("variance", [0.04, 9.0])
@pytest.mark.parametrize("shaping", COUNTED)
def test_the_estimates_are_the_training_s_own(shaping: str, variance: float) -> None:
    """At each N, to the bit, hits or none."""
    logits, targets = (
        0.5 * variance**0.5 * torch.randn(6, 20, generator=torch.Generator().manual_seed(0)),
        torch.arange(6),
    )
    module, judge = LECTURE.shapings[shaping], PerExample(menu.load("blackboxes", "zero_one"), targets[None])
    sampler = Sampler.of("independent", "noise", [shaping])
    growing = Growing(sampler, logits, targets, variance, 2, 20, module.WEIGHS_MISSES)
    hits = 0.0
    for num_samples in (2, 7, 60):
        growing.grow(num_samples, torch.ones(6, dtype=torch.bool))
        for draw in range(2):
            estimator, key = Estimator.of("independent", "noise", shaping, num_samples), Key([draw], Role.QUALITY, 20)
            expected = estimator.gradient(judge, logits[None], torch.tensor([variance]), key)
            assert torch.equal(growing.estimates(module)[draw], expected.gradient[0])
            hits += float(expected.mean_fitness)
    assert hits > 0


# The law


def test_at_level_logits_n_is_the_law_s(level: pd.DataFrame) -> None:
    """The typical N* of four examples lies within a cell of the law's: a step of the grid is a third."""
    found = table.table(suite_of_samples(level))
    found = found[found["censored"] == 0]
    assert len(found) >= 12
    assert (found["ratio_low"] <= 1.1).all()
    assert (found["ratio_high"] >= 0.9).all()
    large = found[found["logit_dim"] >= 10]
    assert (np.log(large["estimate"] / large["predicted"]).abs() < 0.6).all()
    assert np.log(large["estimate"] / large["predicted"]).abs().mean() < 0.2


@pytest.mark.parametrize("cosine", [0.5, 0.9])
def test_the_law_at_level_logits_tends_to_the_closed_form(level: pd.DataFrame, cosine: float) -> None:
    """N = c²/(1−c²)·(K(K−1)/e_K² − 1), to leading order in 1/K."""
    for k, tolerance in [(100, 0.06), (1000, 0.012)]:
        row = level.query("kind == 'needed' and shaping == 'raw' and logit_dim == @k and cosine == @cosine").iloc[0]
        assert row["predicted"] == pytest.approx(cosine**2 / (1 - cosine**2) * theory.level_ratio(k), rel=tolerance)


def test_at_the_start_the_exponent_lies_well_above_one_and_where_the_law_has_it(level: pd.DataFrame) -> None:
    found = exponents.table(suite_of_samples(level[level["logit_dim"] >= 10])).query(
        "shaping == 'raw' and num_dims == 3"
    )
    for row in found.itertuples():
        assert row.reason == ""
        assert 1.55 < row.exponent < 1.85
        assert 1.6 < row.law < 1.8
        assert abs(row.exponent - row.law) < 0.12


def test_all_k_lie_on_one_curve_when_n_is_scaled_by_the_law(level: pd.DataFrame) -> None:
    curve = level.query("kind == 'curve' and shaping == 'raw' and logit_dim >= 10")
    x = curve["num_samples"] / curve["predicted"]
    away = (curve["cosine"] - np.sqrt(x / (1 + x)))[x.between(0.5, 20)]
    assert len(away) > 100
    assert away.abs().mean() < 0.03


def test_a_network_s_examples_need_what_the_law_says(measured: pd.DataFrame) -> None:
    hit = measured[(measured["kind"] == "needed") & np.isfinite(measured["high"]) & (measured["low"] > 0)]
    ratio = np.log(np.sqrt(hit["low"] * hit["high"]) / hit["predicted"])
    for level_of_it, some in ratio.groupby(hit["level"]):
        assert len(some) >= 10
        assert some.abs().median() < (0.25 if level_of_it == "example" else 0.35)


@pytest.mark.parametrize("cosine", [0.2, 0.9])
def test_the_n_of_a_batch_counts_what_maxrl_s_weights_leave_of_the_gradient(networks, cosine: float) -> None:
    """Its mean is (1 − (1−p)^(N−1)) ∇log p of each example: other than ∇log p of the batch while N is small."""
    for at in networks:
        law, maxrl = BatchLaw(at, *LECTURE[:2], 1.0), LECTURE.shapings["maxrl"]
        p, log_gradient = law.pushed.place.probability, law.pushed.moments.gradient
        (needed,) = samples_needed._batches(LECTURE, at, 16, 1.0).needed(maxrl, cosine)
        mean = (1 - (1 - p) ** (needed - 1))[:, None] * log_gradient
        assert law.cosine(maxrl, needed, law.aim(log_gradient), mean) == pytest.approx(cosine)


@pytest.mark.parametrize(("shaping", "log"), [(name, LECTURE.shapings[name].ASCENDS == "log p") for name in AIMED])
def test_a_batch_aims_at_the_gradient_that_its_weights_estimate(networks, shaping: str, log: bool) -> None:
    """Σ ∇p, by hand behind the chain rule, or Σ ∇log p: pushed as an estimate, the one has cosine 1, the other not."""
    at = networks[1]
    law = [BatchLaw(samples_needed._part(at, slice(i, i + 8)), *LECTURE[:2], 1.0).pushed for i in (0, 8)]
    log_gradient = torch.cat([part.moments.gradient for part in law])
    p = torch.cat([part.place.probability for part in law])
    both = torch.stack([p[:, None] * log_gradient, log_gradient])  # as two draws of an estimate
    found = samples_needed._batches(LECTURE, at, 8, 1.0).cosines(LECTURE.shapings[shaping], both)  # [D, M]
    assert found[int(log)].tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert (found[int(not log)] < 0.999).all()


# Rows


def test_the_rows_are_those_that_the_docstring_promises(measured: pd.DataFrame) -> None:
    assert list(measured.columns) == SAMPLES_COLUMNS
    needed, curve = (measured[measured["kind"] == kind] for kind in ("needed", "curve"))
    assert len(needed) + len(curve) == len(measured)
    assert set(needed["cosine"]) == {0.5, 0.9}
    key = ["stage", "level", "shaping", "example", "batch_size"]
    per_example, per_batch = 3 * 2 * 4, 2 * 2 * 3  # level and two networks × raw, leave_one_out × 4; 2 × 2 batches × 3
    assert len(needed) == 2 * (per_example + per_batch)
    assert not needed.duplicated([*key, "cosine"]).any()
    assert not curve.duplicated([*key, "num_samples"]).any()
    assert (needed["low"] < needed["high"]).all()
    assert needed.loc[needed["level"] == "batch", "batch_size"].eq(8).all()
    assert set(needed.loc[needed["level"] == "batch", "example"]) == {0, 1}
    assert set(measured.loc[measured["stage"] == "level", "level"]) == {"example"}


def test_measuring_again_gives_the_same_rows_whatever_else_is_asked_and_whatever_torch_s_own_state(networks) -> None:
    spec = SPEC | {"budget": 1e5}
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = measure(networks, 10, **spec)
    assert (state == torch.random.get_rng_state()).all()
    torch.manual_seed(2)
    alone = measure(networks[1:], 10, **spec | {"cosines": [0.9]})
    both = first[first["stage"].isin(["level", "trained"]) & ~((first["kind"] == "needed") & (first["cosine"] == 0.5))]
    pd.testing.assert_frame_equal(both.reset_index(drop=True), alone)


def test_a_spent_budget_censors_and_a_larger_one_finds_the_same_further_on(level: pd.DataFrame) -> None:
    poor = measure([], 1000, **SPEC | {"budget": 1e5})
    needed, curve = poor[poor["kind"] == "needed"], poor[poor["kind"] == "curve"]
    assert np.isinf(needed["high"]).all()
    reached = curve.groupby("shaping")["num_samples"].max()
    assert (needed["low"] == needed["shaping"].map(reached)).all()
    assert 10 * reached["leave_one_out"] < reached["raw"] < 1e5
    rich = level.query("kind == 'curve' and logit_dim == 1000").merge(
        curve, on=["shaping", "example", "num_samples"], suffixes=("", "_poor")
    )
    assert len(rich) == len(curve)
    assert (rich["cosine"] == rich["cosine_poor"]).all()


def test_where_the_budget_ends_does_not_depend_on_the_body(networks, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPEC | {"budget": 3e5}
    first = [measure(networks, 10, **spec), measure([], 100, **spec)]
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    monkeypatch.setattr(hits.compiled, "AVAILABLE", False)
    for dimension, of, expected in zip((10, 100), (networks, []), first, strict=True):
        pd.testing.assert_frame_equal(measure(of, dimension, **spec), expected)


@pytest.mark.parametrize("num_logits", [100, 1000])
@pytest.mark.parametrize("ahead", [0.0, 3.0])
def test_the_numbers_counted_are_about_those_drawn(num_logits: int, ahead: float) -> None:
    logits, targets = torch.zeros(1, 1, 1, num_logits), torch.zeros(1, 1, 1, dtype=torch.int64)
    logits[..., 0] = ahead
    sums, counts = torch.zeros(1, 1, 1, hits.weighted_sum.LANES, num_logits), torch.zeros(1, 1, 1, dtype=torch.float64)
    place = [0], Role.QUALITY, 0, 0, 4000
    drawn = hits.add(sums, counts, None, logits, targets, torch.ones(1, 1, 1), *place, way="early") / 4000
    share = counts.flatten() / 4000
    counted = Sampler.of("independent", "noise", ["raw"]).numbers(num_logits, share, False)
    assert 0.6 < float(counted) / min(drawn, num_logits) < 1.2
    whole = Sampler.of("independent", "noise", ["maxrl"]).numbers(num_logits, share, True)
    assert float(whole) == num_logits


def test_fewer_dimensions_get_more_draws() -> None:
    draws = [measure([], k, **SPEC | {"budget": 1e4, "num_draws": 2})["num_draws"].iloc[0] for k in (10, 1000, 3000)]
    assert draws == [200, 2, 2]


BY_CLASS = [{"noise": "gumbel", "credit": "class", "shapings": ["success"]}]
BY_NOISE = [{"noise": "independent", "credit": "noise", "shapings": ["raw"]}]


@pytest.mark.parametrize(
    ("estimators", "k", "draws"),
    [(BY_NOISE, 2, 200), (BY_NOISE, 10, 200), (BY_NOISE, 100, 20), (BY_CLASS, 10, 200), (BY_CLASS, 1000, 200)],
)
def test_a_sample_of_few_random_numbers_gets_more_draws(estimators: list, k: int, draws: int) -> None:
    found = measure([], k, **SPEC | {"budget": 1e4, "num_draws": 2, "estimators": estimators})
    assert set(found["num_draws"]) == {draws}


def test_a_batch_gets_an_eighth_of_an_example_s_draws(networks) -> None:
    found = measure(networks[:1], 10, **SPEC | {"budget": 1e4, "num_draws": 2, "estimators": BY_CLASS})
    assert found.groupby("level")["num_draws"].first().to_dict() == {"batch": 26, "example": 200}


def test_a_tally_of_many_logits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_needed, "LARGEST", 5 * SPEC["num_examples"] * 1000)
    for most, draws in ((2, 5), (7, 7)):
        found = measure([], 1000, **SPEC | {"budget": 1e4, "num_draws": most, "estimators": BY_CLASS})
        assert set(found["num_draws"]) == {draws}


def test_bad_input_is_refused_in_a_line(networks) -> None:
    with pytest.raises(ValueError, match=r"a wanted cosine is 1\.0: expected a number between 0 and 1"):
        measure([], 10, **SPEC | {"cosines": [0.5, 1.0]})
    with pytest.raises(ValueError, match="has K = 10 logits: expected logit_dim = 100"):
        measure(networks, 100, **SPEC)
    with pytest.raises(ValueError, match="has 16 examples: expected 17"):
        measure(networks, 10, **SPEC | {"batch_size": 17})
