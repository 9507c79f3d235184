"""The coverage study: its truths are true, a short one agrees with the committed one, levels hold or are marked."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from esgrad.report import coverage
from esgrad.statistics import coverage_trials
from esgrad.statistics.coverage_trials import ALARM, Condition

COMMITTED = Path(__file__).parents[1] / "results/reference/coverage.csv"
KEY = ["interval", "seeds", "late", "never"]
SHORT = 150
SLOW = {"exponent": 30, "exponent, same subjects": 60, ALARM: 100}
RATIOS = ("ratio_interval", "ratio_interval, late reference", "ratio_interval, to itself")
EXPONENTS = ("exponent", "exponent, same subjects")
SHORT_OF_LEVEL = ("mean_interval", "expected_running_time_interval")
"""The intervals that cannot hold 95 % everywhere; their docstrings say where, and the table marks it."""


@pytest.fixture(scope="module")
def committed():
    return pd.read_csv(COMMITTED)


@pytest.fixture(scope="module")
def short():
    return pd.concat([coverage.study(SLOW.get(name, SHORT), [name]) for name in coverage_trials.TRIALS])


def test_every_interval_meets_every_n_and_censoring(short):
    grid = ("median_interval", "cost_interval", *RATIOS, ALARM)
    only = ("mean_interval", "geometric_mean_interval", "wilson_interval", "expected_running_time_interval", *EXPONENTS)
    assert set(short["interval"]) == {*grid, *only}
    for name in (*grid, "exponent"):
        met = short.loc[short["interval"] == name, ["seeds", "late", "never"]]
        lost = (0,) if name == "exponent" else (0, 0.2)
        assert set(met.itertuples(index=False, name=None)) == set(product((5, 10, 20), (0, 0.25, 0.5), lost))


def test_intervals_cover_what_they_say(short):
    """No less than 95 % by more than five binomial standard errors, at every n, censoring and share of lost runs."""
    held = short[(short["nominal"] > 0.5) & ~short["interval"].isin(SHORT_OF_LEVEL)]
    error = np.sqrt(0.95 * 0.05 / (held["given"] * held["suites"]))
    assert (held["coverage"] >= 0.95 - 5 * error).all()


def test_a_family_of_tests_of_equals_raises_a_false_alarm_in_one_suite_of_twenty_at_most(short):
    family = short[short["interval"] == ALARM]
    assert (family["coverage"] <= 0.05 + 5 * np.sqrt(0.05 * 0.95 / family["suites"])).all()
    assert family["coverage"].max() > 0


def test_the_short_study_agrees_with_the_committed_one(short, committed):
    both = short.merge(committed, on=KEY, suffixes=("", "_long"), validate="one_to_one")
    assert len(both) == len(short) == len(committed)
    n, m = both["given"] * both["suites"], both["given_long"] * both["suites_long"]
    pooled = (both["coverage"] * n + both["coverage_long"] * m + 1) / (n + m + 2)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    assert ((both["coverage"] - both["coverage_long"]).abs() <= 5 * error).all()


def test_the_committed_table_is_what_make_coverage_writes(committed):
    names = ["mean_interval", "geometric_mean_interval"]
    again = coverage.study(names=names)
    kept = committed[committed["interval"].isin(names)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, kept, rtol=1e-5)
    assert coverage.words(committed) == COMMITTED.with_suffix(".md").read_text(encoding="utf-8")


def test_the_printed_table_marks_the_intervals_that_do_not_hold_their_level(committed):
    lines = coverage.words(committed).splitlines()
    marked = {line.split("|")[1].strip() for line in lines if " low " in line and line.startswith("|")}
    assert set(SHORT_OF_LEVEL) <= marked
    worst = committed[(committed["nominal"] > 0.5) & ~committed["interval"].isin(SHORT_OF_LEVEL)]["coverage"].min()
    assert worst > 0.92


def test_a_study_obeys_its_seed_and_touches_no_other():
    before = np.random.get_state()[1].copy()
    once = coverage.study(5, ["wilson_interval", "ratio_interval"])
    alone = coverage.study(5, ["ratio_interval"])
    pd.testing.assert_frame_equal(once[once["interval"] != "wilson_interval"].reset_index(drop=True), alone)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(("late", "never"), list(product((0, 0.25, 0.5), (0, 0.2))))
def test_what_is_taken_for_true_is_what_very_many_runs_give(late, never):
    runs = 200_000
    case = Condition(runs, late, never)
    costs, hits = coverage_trials._costs(np.random.default_rng(0), case)
    arrive = (1 - never) * (1 - late)
    assert hits.mean() == pytest.approx(arrive, abs=5 * np.sqrt(0.25 / runs) + 1e-4)
    ratio = costs.sum() / hits.sum()
    residuals = (costs - ratio * hits) / hits.mean()
    assert coverage_trials._running_time(case) == pytest.approx(ratio, abs=5 * residuals.std() / np.sqrt(runs))
    if arrive > 0.5:
        below = (hits & (costs <= coverage_trials._median(case))).mean()
        assert below == pytest.approx(0.5, abs=5 * np.sqrt(0.25 / runs))
