"""The regret of a rule for t is the planted one, against the best fixed t that validation names."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from esgrad.suite import Suite
from esgrad.tables import regret
from tests.planted import planted_suite

METHODS = ("maxrl", "maxrl_spread", "maxrl_annealed", "smoothed")


@pytest.fixture(scope="module")
def suite() -> Suite:
    return planted_suite(["variance"], methods=METHODS)


@pytest.fixture(scope="module")
def frame(suite: Suite) -> pd.DataFrame:
    return regret.table(suite)


def ends_changed(suite: Suite, column: str, values: dict[float, float]) -> Suite:
    """The suite with `column` of the last rows of maxrl at N = 10 set, for each t of `values`."""
    records = suite.records.copy()
    last = records.groupby(["method", "num_samples", "noise_variance", "seed"], dropna=False).cumcount(ascending=False)
    for variance, value in values.items():
        chosen = (records["method"] == "maxrl") & (records["num_samples"] == 10) & (last == 0)
        records.loc[chosen & (records["noise_variance"] == variance), column] = value
    return replace(suite, records=records)


def test_every_cell_with_a_fixed_peer_has_its_regret(frame: pd.DataFrame):
    counts = frame.groupby(["peer", "variance"])["noise_variance"].count().to_dict()
    assert counts == {
        ("maxrl", "fixed"): 10,
        ("maxrl", "spread"): 10,
        ("maxrl", "annealed"): 10,
        ("smoothed", "fixed"): 5,
    }


def test_the_best_fixed_t_has_no_regret(frame: pd.DataFrame):
    best = frame[(frame["noise_variance"] == frame["best_fixed"]) & (frame["variance"] == "fixed")]
    assert len(best) == 3
    assert (best["regret"] == 0).all()


def test_a_planted_loss_is_found_within_its_interval(frame: pd.DataFrame):
    """maxrl_spread ends 0.025 lower by construction, maxrl_annealed nowhere."""
    spread = frame[frame["variance"] == "spread"]
    assert ((spread["low"] < 0.025) & (spread["high"] > 0.025)).mean() > 0.7
    assert (spread["low"] > 0.005).all()
    annealed = frame[frame["variance"] == "annealed"]
    assert ((annealed["low"] < 0) & (annealed["high"] > 0)).mean() > 0.7


def test_validation_chooses_and_test_is_reported(suite: Suite):
    """The t that validation likes best is the reference, though another is better on test: a negative regret."""
    chosen = ends_changed(suite, "validation_accuracy", {0.1: 0.999})
    better = ends_changed(chosen, "test_accuracy", {10.0: 1.0})
    frame = regret.table(better)
    rows = frame[(frame["peer"] == "maxrl") & (frame["num_samples"] == 10)]
    assert set(rows["best_fixed"]) == {0.1}
    assert rows.loc[(rows["variance"] == "fixed") & (rows["noise_variance"] == 10.0), "regret"].item() < 0


def test_pairs_are_seeds(suite: Suite):
    """A regret is the mean difference seed by seed, so an order of rows changes nothing and seeds must meet."""
    shuffled = replace(suite, records=suite.records.sample(frac=1, random_state=np.random.default_rng(0)))
    pd.testing.assert_frame_equal(regret.table(shuffled), regret.table(suite))


def test_one_fixed_t_is_nothing_to_regret():
    assert regret.table(planted_suite(["headline"], methods=METHODS)).empty


def test_an_empty_suite_has_an_empty_table(suite: Suite):
    frame = regret.table(replace(suite, records=suite.records.iloc[:0]))
    assert frame.empty
    assert regret.markdown(frame) == "_No rows._\n"
