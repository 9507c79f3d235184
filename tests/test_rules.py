"""A rule's level and the fixed t beside it are judged on the seeds that did not choose them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

from esgrad.report.tables import rules
from esgrad.suite.gathered import Suite
from tests.planted import planted_suite

SEEDS = range(10)


@pytest.fixture(scope="module")
def suite() -> Suite:
    return planted_suite(["variance"])


def cells(validation: ArrayLike, test: ArrayLike) -> pd.DataFrame:
    """Accuracies [cell, seed] at noise variances 1, 2, 3, …"""
    ends = [
        pd.DataFrame({"validation_accuracy": v, "test_accuracy": t, "status": "ok"}, index=SEEDS)
        for v, t in zip(validation, test, strict=True)
    ]
    return pd.DataFrame({"noise_variance": np.arange(1.0, 1 + len(ends)), "last": ends})


def test_every_rule_beside_a_fixed_t_has_a_row(suite) -> None:
    found = rules.table(suite)
    assert sorted(found["method"].unique()) == ["maxrl_annealed", "maxrl_spread"]
    assert set(found["num_samples"]) == {10, 100}
    assert set(found["num_levels"]) == set(found["num_fixed"]) == {5}
    assert rules.table(planted_suite(["variance"], methods=("maxrl_spread",))).empty


def test_each_half_chooses_by_validation_and_is_judged_by_the_test_accuracy_of_the_other() -> None:
    """Even seeds, which choose first, prefer the rule's level 1 and the fixed t of 2, odd seeds 2 and 1; the test
    accuracies would choose the other way round."""
    even = np.arange(10) % 2 == 0
    rule = cells(
        [np.where(even, 0.9, 0.1), np.where(even, 0.1, 0.9)], [np.where(even, 0.2, 0.3), np.where(even, 0.4, 0.1)]
    )
    fixed = cells(
        [np.where(even, 0.1, 0.9), np.where(even, 0.9, 0.1)], [np.where(even, 0.8, 0.5), np.where(even, 0.7, 0.6)]
    )
    row = rules._row(rule, fixed)
    assert (row["levels"], row["fixed"], row["num_seeds"]) == ("1, 2", "2, 1", 10)
    # judged: what even seeds chose on the odd ones, what odd seeds chose on the even ones
    assert row["regret"] == pytest.approx(((0.6 - 0.3) + (0.8 - 0.4)) / 2)
    assert row["low"] < row["regret"] < row["high"]


def test_only_seeds_that_rule_and_fixed_t_both_have_are_compared() -> None:
    both = cells(np.full((1, 10), 0.5), np.full((1, 10), 0.5))
    fewer = both.assign(last=[both["last"].iloc[0].loc[:5]])
    assert rules._row(both, fewer)["num_seeds"] == rules._row(fewer, both)["num_seeds"] == 6


def test_what_luck_adds_to_the_best_of_many_levels_does_not_count() -> None:
    """Rule and fixed t are the same by plan: the best level of ten leads on its own seeds and not on the others'."""
    rng = np.random.default_rng(0)
    told, flattered = [], []
    for _ in range(200):
        own, fixed = (0.8 + 0.05 * rng.standard_normal((10, 10)) for _ in range(2))
        told.append(rules._row(cells(own, own), cells(fixed, fixed))["regret"])
        flattered.append(fixed[0].mean() - own.mean(1).max())
    error = np.std(told) / np.sqrt(len(told))
    assert abs(np.mean(told)) < 4 * error
    assert np.mean(flattered) < -10 * error


def test_a_run_that_diverged_counts_as_nothing_right(suite) -> None:
    records = suite.records.copy()
    lost = (records["method"] == "maxrl_spread") & (records["num_samples"] == 10) & (records["seed"] == 0)
    records.loc[lost, ["status", "validation_accuracy", "test_accuracy"]] = ["diverged", np.nan, np.nan]
    before, after = (
        rules.table(of).query("method == 'maxrl_spread' and num_samples == 10").iloc[0]
        for of in (suite, replace(suite, records=records))
    )
    assert before["num_seeds"] == after["num_seeds"] == 10
    assert after["regret"] - before["regret"] == pytest.approx(0.09, abs=0.02)  # an accuracy of some .9, of ten
