"""The table of comparisons on planted suites: who is compared with whom, what is told, and what is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from esgrad.report.runs import arrivals, backprop, targets
from esgrad.report.tables import comparisons
from esgrad.statistics import ratio_interval
from esgrad.statistics.comparisons import holm, smallest_detectable
from esgrad.suite.gathered import CELL
from tests.planted import planted_suite

METHODS = ["backprop", "smoothed", "lecture", "success", "maxrl", "openai_es"]
OF_THE_FAMILY = ["family_size", "p_holm", "smallest_detectable", "verdict"]


@pytest.fixture(scope="module")
def suite():
    return planted_suite(["headline", "variance", "digit_sum"], methods=METHODS)


@pytest.fixture(scope="module")
def frame(suite):
    return comparisons.table(suite)


def of(frame, **words):
    return frame[np.logical_and.reduce([frame[column] == value for column, value in words.items()])]


def last(suite, **words):
    rows = of(suite.reported, **words).sort_values(["seed", "step"])
    return rows.groupby("seed").tail(1).set_index("seed")["test_accuracy"]


def test_a_method_is_compared_with_the_lecture_at_its_n_t_k_b_and_black_box(suite, frame):
    assert set(frame["reference"]) == {"lecture"}
    assert set(frame["method"]) == {"success", "maxrl", "openai_es"}, "exact arms have no N, the lecture is itself"
    assert set(of(frame, method="openai_es")["blackbox"]) == {"zero_one"}
    own = of(frame, experiment="variance")
    assert (own["reference_noise_variance"] == own["noise_variance"]).all()
    assert set(of(frame, experiment="headline", method="openai_es")["reference_noise_variance"]) == {1.0}
    row = of(frame, experiment="variance", num_samples=100, noise_variance=0.1, measure="test accuracy").iloc[0]
    where = {"experiment": "variance", "num_samples": 100, "noise_variance": 0.1}
    difference = last(suite, method="maxrl", **where) - last(suite, method="lecture", **where)
    assert row["estimate"] == pytest.approx(difference.mean())
    assert (row["num_pairs"], row["censored"]) == (len(difference), 0)


def test_the_lectures_weights_credited_with_the_class_are_compared_with_the_lecture_and_not_taken_for_it(suite, frame):
    rows = suite.records[suite.records["method"] == "lecture"]
    other = rows.assign(method="lecture_class", credit="class", test_accuracy=rows["test_accuracy"] + 0.01)
    found = comparisons.table(replace(suite, records=pd.concat([suite.records, other], ignore_index=True)))
    assert set(found["reference"]) == {"lecture"}
    own = of(found, method="lecture_class", measure="test accuracy")
    assert len(own)
    assert np.allclose(own["estimate"], 0.01)
    unmoved = of(found, method="maxrl")[["estimate", "low", "high", "p"]].to_numpy()
    assert np.array_equal(unmoved, of(frame, method="maxrl")[["estimate", "low", "high", "p"]], equal_nan=True)


def test_p_is_the_exact_paired_tests(suite, frame):
    where = {"experiment": "headline", "num_samples": 100, "blackbox": "zero_one"}
    difference = (last(suite, method="maxrl", **where) - last(suite, method="lecture", **where)).to_numpy()

    def total(values, axis):
        return values.sum(axis)

    hand = stats.permutation_test((difference,), total, permutation_type="samples", vectorized=True).pvalue
    assert of(frame, method="maxrl", measure="test accuracy", **where)["p"].item() == pytest.approx(hand)


def test_a_ratio_is_that_of_the_steps_of_pairs_and_bounded_where_one_never_arrived(suite, frame):
    where = {"experiment": "headline", "num_samples": 100, "blackbox": "zero_one"}
    row = of(frame, method="maxrl", measure="steps", **where).iloc[0]
    cell = {"experiment": "headline", "dataset": "digits", "model": "mlp", "logit_dim": 10, "batch_size": 32}
    level = targets(suite, backprop(suite, cell))[row["target"]]
    own, other = (
        arrivals(of(suite.reported, method=method, **where).sort_values(["seed", "step"]), level)
        for method in ("maxrl", "lecture")
    )
    assert own["hit"].all()
    assert row["censored"] == (~other["hit"]).sum() > 0
    spent = own["steps"] / other["steps"]
    assert row["high"] == spent.sort_values().iloc[8], "where the lecture never arrived, that is an upper bound"
    assert row["low"] == spent.where(other["hit"], 0).sort_values().iloc[1]
    assert ratio_interval(own["steps"], own["hit"], other["steps"], other["hit"])[1:] == (
        row["low"],
        row["high"],
    )


def test_the_target_is_ninety_percent_of_backprops_progress_or_accuracy_where_there_is_no_backprop(frame):
    steps = of(frame, measure="steps")
    assert set(steps["target"][steps["experiment"] != "digit_sum"]) == {"progress 0.90"}
    assert set(of(steps, experiment="digit_sum")["target"]) == {"accuracy 0.90"}


def test_each_measure_of_an_experiment_at_an_n_is_a_family(frame):
    for _, family in frame.groupby(["experiment", "measure", "num_samples"]):
        assert set(family["family_size"]) == {len(family)}
        assert family["p_holm"].tolist() == pytest.approx(holm(family["p"]).tolist())


def test_a_verdict_needs_holms_five_percent(frame):
    decided = frame["verdict"] != "cannot decide"
    assert (decided == (frame["p_holm"] <= 0.05)).all()
    assert decided.any(), "where five seeds decide nothing is tested below"


def test_what_can_be_detected_is_told_at_the_familys_hardest_level(suite, frame):
    where = {"experiment": "headline", "num_samples": 100, "blackbox": "zero_one"}
    row = of(frame, method="maxrl", measure="test accuracy", **where).iloc[0]
    difference = last(suite, method="maxrl", **where) - last(suite, method="lecture", **where)
    hand = smallest_detectable(difference.std(), 10, 0.05 / row["family_size"])
    assert row["smallest_detectable"] == pytest.approx(hand) != smallest_detectable(difference.std(), 10)


def test_fewer_steps_and_more_accuracy_are_better(suite, frame):
    better = of(frame, experiment="headline", method="maxrl", num_samples=10)
    assert set(better["verdict"]) == {"better"}
    assert (better["estimate"] > 0).all()
    assert of(better, measure="steps")["high"].item() < 1
    assert set(of(frame, method="openai_es", measure="test accuracy")["verdict"]) == {"worse"}
    turned = suite.records["method"].map({"maxrl": "lecture", "lecture": "maxrl"})
    swapped = suite.records.assign(
        method=turned.fillna(suite.records["method"]).astype("string"),
        shaping=suite.records["shaping"].map({"maxrl": "raw", "raw": "maxrl"}).fillna(suite.records["shaping"]),
    )
    worse = comparisons.table(replace(suite, records=swapped))
    assert set(of(worse, experiment="headline", method="maxrl", num_samples=10)["verdict"]) == {"worse"}


def test_with_five_seeds_nothing_can_be_decided_and_the_words_say_so():
    few = comparisons.table(planted_suite(["headline"], seeds=5, methods=METHODS))
    assert set(few["verdict"]) == {"cannot decide"}
    assert few["smallest_p"].min() == 0.0625
    known = few["smallest_detectable"].dropna()
    assert len(known) > 0
    assert np.isinf(known).all()
    count = len(of(few, measure="test accuracy", num_samples=10))
    assert f"In {count} too few pairs differ to reach 5 %" in comparisons.markdown(few)


def test_removing_a_method_changes_only_what_belongs_to_the_family(suite, frame):
    fewer = replace(suite, records=suite.records[suite.records["method"] != "maxrl"])
    again = comparisons.table(fewer).drop(columns=OF_THE_FAMILY)
    kept = frame[frame["method"] != "maxrl"].drop(columns=OF_THE_FAMILY).reset_index(drop=True)
    pd.testing.assert_frame_equal(again, kept, check_exact=True)


def test_equal_methods_are_not_told_apart():
    """The lecture beside copies of itself with other seeds' luck."""
    suite = planted_suite(["headline"], seeds=60, methods=["backprop", "lecture"])
    lecture = of(suite.reported, method="lecture")
    copies = [
        lecture[lecture["seed"].between(start, start + 9)].assign(method=f"copy {start}", shaping="a copy's")
        for start in range(10, 60, 10)
    ]
    copies = [copy.assign(seed=copy["seed"] % 10) for copy in copies]
    kept = suite.records[(suite.records["seed"] < 10) | (suite.records["seed"] >= 1000)]
    planted = pd.concat([kept, *copies], ignore_index=True).astype(suite.records.dtypes)
    told = comparisons.table(replace(suite, records=planted))
    assert set(told["family_size"]) == {5}, "at each of three N"
    assert set(told["verdict"]) == {"cannot decide"}


def test_a_seed_that_diverged_is_no_pair_in_accuracy_and_counted_and_a_lost_one_in_steps(frame):
    rows = of(frame, experiment="headline", method="openai_es", num_samples=10)
    accuracy, steps = of(rows, measure="test accuracy"), of(rows, measure="steps")
    assert (accuracy["num_pairs"].item(), accuracy["diverged"].item()) == (9, 1)
    assert (steps["num_pairs"].item(), steps["diverged"].item()) == (10, 0)
    assert of(frame, experiment="headline", method="maxrl")["diverged"].eq(0).all()
    family = of(frame, experiment="headline", measure="test accuracy", num_samples=10)
    text = comparisons.markdown(family)
    every = family["num_pairs"].sum() + family["diverged"].sum()
    assert f"{family['diverged'].sum()} of {every} pairs are left out, because one diverged." in text
    assert "diverged |" in text
    assert "diverged" not in comparisons.markdown(family[family["diverged"] == 0])


def test_seeds_from_1000_on_are_not_compared(suite, frame):
    """They tuned the rates: both methods have them, and none of the table's numbers comes from them."""
    late = suite.reported.assign(seed=suite.reported["seed"] + 2000, test_accuracy=0.5)
    more = pd.concat([suite.records, late], ignore_index=True).astype(suite.records.dtypes)
    more = more[(more["method"] != "backprop") | (more["seed"] < 2000)]
    pd.testing.assert_frame_equal(comparisons.table(replace(suite, records=more)), frame, check_exact=True)


def test_a_rule_for_t_is_not_compared():
    frame = comparisons.table(planted_suite(["variance"], seeds=3))
    assert set(frame["method"]) == {"maxrl"}


def test_one_seed_has_no_interval_and_no_warning():
    frame = comparisons.table(planted_suite(["headline"], seeds=1, methods=METHODS))
    assert set(frame["verdict"]) == {"cannot decide"}
    assert frame["p"].eq(1).all()
    assert "nan" not in comparisons.markdown(frame)


def test_the_words_name_the_family_and_count_the_verdicts(frame):
    text = comparisons.markdown(frame)
    family = of(frame, experiment="headline", measure="test accuracy", num_samples=10)
    counts = family["verdict"].value_counts()
    assert (
        f"A family of {len(family)} tests: {counts.get('better', 0)} better, {counts.get('worse', 0)} worse, "
        f"{counts.get('cannot decide', 0)} cannot decide." in text
    )
    assert text.count("A family of") == frame.groupby(comparisons.FAMILY).ngroups
    assert "**headline, N = 10.**" in text
    assert set(CELL) <= set(frame.columns)
