"""The tables of N*: planted exponents and typical N come back, with what the budget did not reach told as such."""

from math import inf

import numpy as np
import pandas as pd
import pytest

from esgrad.measurement.brackets import cell
from esgrad.report.tables import exponents
from esgrad.report.tables import samples_needed as table
from tests.planted import IMAGES, SLOPES, planted_suite, suite_of_samples


@pytest.fixture(scope="module")
def planted():
    return planted_suite(["headline"], seeds=1, methods=["backprop"])


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
    found = table.table(suite_of_samples(perfect))
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
    found = table.table(suite_of_samples(three.assign(predicted=law, low=3 * law, high=16 * law / 3))).iloc[0]
    assert (found["estimate"], found["predicted"]) == pytest.approx(((301 * 1600 / 3) ** 0.5, (76 * 100) ** 0.5))
    assert found[table.RATIO].tolist() == pytest.approx([(3.01 * 16 / 3) ** 0.5, 3.0001, 16 / 3])


@pytest.mark.parametrize(("count", "percent"), [(2, 50), (4, 87.5), (5, 93.75), (6, 96.875), (10, 97.85)])
def test_the_coverage_is_that_of_order_statistics(count: int, percent: float) -> None:
    assert 100 * table.coverage(count) == pytest.approx(percent, abs=0.01)
    assert np.isnan(table.coverage(1))
