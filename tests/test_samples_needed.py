"""N* is found where it was planted and where the law puts it; what the budget does not reach is censored."""

from dataclasses import replace
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
from tests.planted import IMAGES, SLOPES, planted_suite
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


@pytest.fixture(scope="module")
def planted():
    return planted_suite(["headline"], seeds=1, methods=["backprop"])


def suite_of(frame: pd.DataFrame):
    return replace(planted_suite(["headline"], seeds=1, methods=["backprop"]), samples_needed=frame)


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
    found = table.table(suite_of(level))
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
    found = exponents.table(suite_of(level[level["logit_dim"] >= 10])).query("shaping == 'raw' and num_dims == 3")
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


# Tables


def test_planted_exponents_come_back_and_censored_ones_do_not(planted) -> None:
    """Whatever the images differ by: an intercept each leaves the tenth that an N* scatters by, and the grid."""
    found = exponents.table(planted)
    known = found[found["reason"] == ""]
    assert len(known) >= 20
    truth = known["stage"].map(SLOPES)
    assert known["law"].to_numpy() == pytest.approx(truth.to_numpy())
    assert ((known["low"] <= truth) & (truth <= known["high"])).mean() > 0.8
    assert (known["exponent"] - truth).abs().max() < 0.35
    whole = known[(known["num_dims"] == 3) & (known["censored_share"] < 0.5)]
    assert set(whole["stage"]) == set(SLOPES)
    assert (whole["high"] - whole["low"]).max() < 0.5, "or images an exp(3) apart widen the interval"
    refused = found[found["reason"] != ""]
    assert refused["exponent"].isna().all()
    assert refused["reason"].str.contains("no run arrived").any()


def test_the_last_decade_stands_beside_all_k(planted) -> None:
    found = exponents.table(planted)
    whole, last = (found[found["logit_dim_low"] == low].reset_index(drop=True) for low in (10, 100))
    last = last[last["logit_dim_high"] == 1000]
    whole = whole[whole["logit_dim_high"] == 1000].reset_index(drop=True)
    for word, of_it in zip(exponents.LAST, ("exponent", "low", "high", "law"), strict=True):
        pd.testing.assert_series_equal(whole[word], last[of_it].reset_index(drop=True), check_names=False)
    assert last[exponents.LAST].isna().all(axis=None)


def test_a_law_without_error_predicts_the_exponent_that_is_found() -> None:
    """Six images of N* ∝ K², one so easy that a single sample was always enough, one so hard that the budget ended."""
    places = pd.DataFrame([(i, k) for i in range(8) for k in (10, 100, 1000)], columns=["example", "logit_dim"])
    law = places["logit_dim"] ** 2 * np.exp(places["example"] / 3) / 30
    law = law.mask(places["example"] == 6, 1.0).mask((places["example"] == 7) & (places["logit_dim"] == 1000), inf)
    ends = [cell(n, 1, 3e5 if k == 1000 else inf) for n, k in zip(law, places["logit_dim"], strict=True)]
    low, high = np.array(ends).T
    rows = places.assign(low=low, high=high, predicted=law, shaping="raw")
    found = exponents._fit(rows)
    assert np.isinf(high).any()
    assert (low == 0).any()
    assert found["predicted"] == found["exponent"] == pytest.approx(2, abs=0.05)
    assert np.isnan(found["law"]), "an N* of inf is no number"
    finite = exponents._fit(rows[rows["example"] < 7])
    assert finite["predicted"] == pytest.approx(2, abs=0.05)
    assert finite["law"] == pytest.approx(12 / 7), "six slopes of 2 and one of 0"


def test_each_k_has_a_budget_of_its_own() -> None:
    """At K = 10 the pass ended at N = 562 with an example left; at K = 1,000 all were done, at N in the thousands."""
    rows = pd.DataFrame(
        {
            "example": [0, 1, 0, 1],
            "logit_dim": [10, 10, 1000, 1000],
            "low": [75.0, 562, 7499, 10000],
            "high": [100, inf, 10000, 13336],
            "predicted": [90.0, 9000, 9000, 12000],
            "shaping": "raw",
        }
    )
    assert np.isinf(exponents._cells(rows)[1]).tolist() == [False, True, False, False]


def test_a_law_that_is_wrong_predicts_another() -> None:
    places = pd.DataFrame([(i, k) for i in range(6) for k in (10, 100, 1000)], columns=["example", "logit_dim"])
    needed = places["logit_dim"] * 3.0
    rows = places.assign(low=needed / 1.1, high=needed * 1.1, predicted=needed**1.5, shaping="raw")
    found = exponents._fit(rows)
    assert found["exponent"] == pytest.approx(1, abs=0.05)
    assert found["predicted"] == pytest.approx(1.5, abs=0.05)


def test_what_the_budget_did_not_reach_is_late_and_never_lost() -> None:
    """Six images of N* ∝ K as far as they arrived; the further two have not at K = 1000, the larger the exponent."""

    def found(budget: float) -> float:
        places = [(image, k) for image in range(6) for k in (10, 100, 1000)]
        scatter = np.exp(0.1 * np.random.default_rng(0).normal(size=len(places)))
        rows = pd.DataFrame(places, columns=["example", "logit_dim"]).assign(predicted=1.0, shaping="raw")
        needed, late = 3 * scatter * rows["logit_dim"], (rows["example"] < 2) & (rows["logit_dim"] == 1000)
        ends = {"low": (needed / 1.15).mask(late, budget), "high": (needed * 1.15).mask(late, inf)}
        return exponents._fit(rows.assign(**ends))["exponent"]

    exponent = [found(budget) for budget in (3e3, 1e4, 1e5, 1e6)]
    assert exponent[0] == pytest.approx(1, abs=0.05)
    assert (np.diff(exponent) > 0.05).all(), "were they lost for good, it would stay at 1"


def test_an_exponent_is_told_for_all_k_and_for_each_decade() -> None:
    ranges = list(exponents._ranges(pd.Series([2, 3, 10, 30, 100, 1000, 10_000])))
    assert ranges == [(2, 10_000), (2, 10), (10, 100), (100, 1000), (1000, 10_000)]
    assert list(exponents._ranges(pd.Series([10, 100]))) == [(10, 100)]
    assert list(exponents._ranges(pd.Series([10, 10]))) == []


def test_a_typical_n_is_as_wide_as_the_grid_where_all_examples_agree() -> None:
    low, high = np.full(4, 100.0), np.full(4, 134.0)
    assert table.typical(low, high) == pytest.approx(((101 * 134) ** 0.5, 101, 134))
    assert table.typical(low[:1], np.array([inf])) == (inf, 101, inf)


@pytest.mark.parametrize(("low", "high", "only"), [(0.0, 1.0, 1), (0.0, 2.0, 2), (1.0, 2.0, 2), (5.0, 6.0, 6)])
def test_a_bracket_of_a_single_whole_number_is_that_number(low: float, high: float, only: int) -> None:
    """In (0, 2] two samples are the fewest there are (maxrl): the grid's first N was enough."""
    assert table.typical(np.full(4, low), np.full(4, high)) == (only, only, only)


@pytest.mark.parametrize(("needed", "asked"), [(0.3, 1), (1.00001, 1), (2.00002, 2), (2.4, 3), (31_773.2, 31_773)])
def test_a_law_asks_for_whole_numbers_and_its_own_error_for_none_more(needed: float, asked: int) -> None:
    assert table.whole(np.array([needed])).tolist() == [asked]
    (low,), (high,) = table.cells(np.array([needed]))
    assert low < asked <= high


def test_a_law_without_error_predicts_the_estimate(planted) -> None:
    """Measured in the law's own cells, N* of images up to e³ apart, some censored: the same number, inf where it is."""
    perfect = planted.samples_needed.copy()
    needed = perfect["kind"] == "needed"
    most = perfect["shaping"].map(lambda name: 2e5 if name == "raw" else 2e4)
    for row in perfect[needed].itertuples():
        least = 1 if row.shaping == "raw" else 2
        perfect.loc[row.Index, ["low", "high"]] = cell(row.predicted, least, most[row.Index])
    found = table.table(suite_of(perfect))
    assert IMAGES["trained"] == 3
    assert np.isinf(found["estimate"]).any()
    assert (found["estimate"] == found["predicted"]).all()
    known = found[np.isfinite(found["estimate"])]
    assert known["law"].between(known["low"], known["high"]).all()
    assert (found["censored"].between(1, found["num_observations"] / 2)).any()
    assert known["ratio_to_law"].between(0.74, 1.34).all()


def test_the_median_of_a_law_is_that_of_its_examples_and_a_ratio_is_in_units_of_each_s_own() -> None:
    """Three examples, N* of 10, 100 and 10,000; each took 4 times as much."""
    planted = planted_suite(["headline"], seeds=1, methods=["backprop"]).samples_needed
    three = planted[(planted["kind"] == "needed") & (planted["stage"] == "half") & (planted["level"] == "example")]
    three = three[(three["shaping"] == "raw") & (three["cosine"] == 0.5) & (three["logit_dim"] == 10)].iloc[:3]
    law = np.array([10.0, 100.0, 10_000.0])
    found = table.table(suite_of(three.assign(predicted=law, low=3 * law, high=16 * law / 3))).iloc[0]
    assert (found["estimate"], found["predicted"]) == pytest.approx(((301 * 1600 / 3) ** 0.5, (76 * 100) ** 0.5))
    assert found[table.RATIO].tolist() == pytest.approx([(3.01 * 16 / 3) ** 0.5, 3.0001, 16 / 3])


@pytest.mark.parametrize(("count", "percent"), [(2, 50), (4, 87.5), (5, 93.75), (6, 96.875), (10, 97.85)])
def test_the_coverage_is_that_of_order_statistics(count: int, percent: float) -> None:
    assert 100 * table.coverage(count) == pytest.approx(percent, abs=0.01)
    assert np.isnan(table.coverage(1))
