"""The table of targets: when a run has arrived, what it spent until then, and how often backprop's cost that is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from esgrad.report import runs
from esgrad.report.tables import targets
from esgrad.suite.gathered import Suite
from tests.planted import of, planted_suite, small_suite


@pytest.fixture(scope="module")
def suite() -> Suite:
    return planted_suite(seeds=3)


@pytest.fixture(scope="module")
def small() -> Suite:
    return small_suite()


@pytest.fixture(scope="module")
def timed(small) -> pd.DataFrame:
    return targets.table(small)


def test_levels_of_progress_come_from_backprop_seeds_from_1000_on(small, timed):
    others = small.records[(small.records["seed"] >= 1000) & (small.records["method"] == "backprop")]
    ends = others.sort_values("step").groupby("seed")["validation_accuracy"].agg(["first", "last"])
    level = (ends["first"] + 0.9 * (ends["last"] - ends["first"])).median()
    assert of(timed, target="progress 0.90")["target_accuracy"].unique() == pytest.approx([level])


def test_reported_runs_of_backprop_set_no_level(small, timed):
    """Had they ended .2 lower, the levels would stand where they stood."""
    records = small.records.copy()
    reported = records[(records["seed"] < 1000) & (records["method"] == "backprop")]
    last = reported.sort_values("step").groupby("seed").tail(1).index
    records.loc[last, "validation_accuracy"] -= 0.2
    levels = targets.table(replace(small, records=records)).groupby("target")["target_accuracy"].unique().explode()
    assert levels.equals(timed.groupby("target")["target_accuracy"].unique().explode())


def test_a_hit_is_confirmed_by_the_next_evaluation(small):
    """A lone reading of 1 in one run of `smoothed` moves nothing; two in a row move its arrival there."""

    def planted(readings):
        records = small.records.copy()
        run = records[(records["method"] == "smoothed") & (records["seed"] == 0)].index
        records.loc[run[3 : 3 + readings], "validation_accuracy"] = 1.0
        at = records.loc[run[3], "step"]
        cell = records[(records["method"] == "smoothed") & (records["experiment"] == "headline")]
        return runs.arrivals(cell, 0.9), at

    before = runs.arrivals(of(small.records, method="smoothed", experiment="headline"), 0.9)
    assert planted(1)[0].equals(before)
    after, at = planted(2)
    assert after.loc[0, "steps"] == at < before.loc[0, "steps"]


def test_a_run_that_diverged_is_censored_at_the_budget_of_its_cell(small):
    cell = of(small.reported, method="openai_es", experiment="headline", num_samples=10, blackbox="zero_one")
    lost = cell[cell["status"] == "diverged"]
    assert len(lost) == 1
    arrived = runs.arrivals(cell.sort_values(["seed", "step"]), 0.5).loc[lost["seed"].item()]
    assert not arrived["hit"]
    assert arrived["steps"] == cell["step"].max() > lost["step"].item()


def test_hits_and_censored_runs_are_all_runs_in_every_unit(timed):
    assert (timed["hits"] + timed["censored"] == timed["num_seeds"]).all()
    assert set(timed["unit"]) == set(runs.UNITS)
    assert timed["censored"].between(1, 9).any()
    assert (timed["hits"] == 0).any()


def test_an_estimate_lies_in_its_interval(timed):
    for estimate, low, high in (("estimate", "low", "high"), ("ratio_to_backprop", "ratio_low", "ratio_high")):
        known = timed.dropna(subset=[estimate, low, high])
        assert len(known) > 20
        assert (known[low] <= known[estimate] * (1 + 1e-12)).all()
        assert (known[estimate] <= known[high] * (1 + 1e-12)).all()


def test_the_cost_of_arriving_is_the_geometric_mean_of_the_runs(small, timed):
    cell = of(small.reported, method="backprop").sort_values(["seed", "step"])
    arrived = runs.arrivals(cell, 0.9)
    hand = {}
    for seed, run in cell.groupby("seed"):
        above = run["validation_accuracy"].to_numpy() >= 0.9
        hand[seed] = next(s for s, now, then in zip(run["step"], above, above[1:], strict=False) if now and then)
    assert arrived["steps"].to_dict() == hand
    row = of(timed, method="backprop", target="accuracy 0.90", unit="steps")
    assert row["estimate"].item() == pytest.approx(np.exp(np.log(list(hand.values())).mean()))


def test_where_none_arrived_the_markdown_says_more_than_the_budget(small, timed):
    lost = of(timed, experiment="headline", method="openai_es", num_samples=10, target="progress 0.95", unit="steps")
    assert (lost["hits"] == 0).all()
    assert np.isinf(lost["estimate"]).all()
    budget = of(small.reported, method="openai_es", num_samples=10)["step"].max()
    assert (lost["low"] == budget).all()
    line = targets.markdown(lost).splitlines()[2]
    assert f"> {budget:,}" in line
    assert np.isinf(lost["ratio_to_backprop"]).all()
    assert f"> {lost['ratio_low'].iloc[0]:.3g}" in line


def test_a_ratio_is_known_if_half_arrived_and_bounded_above_if_all_but_one_did(timed):
    compared = timed.dropna(subset=["ratio_to_backprop"])
    assert (compared["num_seeds"] == 10).all()
    assert (np.isinf(compared["ratio_to_backprop"]) == (compared["hits"] < 5)).all()
    assert (np.isinf(compared["ratio_high"]) == (compared["hits"] < 9)).all()
    assert compared["hits"].isin([5, 6, 7, 8]).any()
    assert (compared["hits"] == 9).any()


def test_a_ratio_of_censored_runs_is_the_median_of_the_pairs(small, timed):
    """Where 9 of 10 arrived: between the 5th and 6th of the paired ratios, between the 2nd and the 9th, by hand."""
    row = of(timed, censored=1, method="openai_es", unit="forwards").dropna(subset=["ratio_to_backprop"]).iloc[0]
    cell = of(small.reported, **{key: row[key] for key in ("experiment", "method", "blackbox", "num_samples")})
    own, other = (
        runs.arrivals(rows.sort_values(["seed", "step"]), row["target_accuracy"])
        for rows in (cell, of(small.reported, method="backprop", experiment="headline"))
    )
    ratios = np.sort((own["forwards"] / other["forwards"]).where(own["hit"], np.inf))
    assert row["ratio_high"] == ratios[8]
    assert row["ratio_low"] <= ratios[1]
    assert ratios[4] < row["ratio_to_backprop"] < ratios[5]


def test_exact_smoothing_has_no_cost_in_queries(timed):
    queries = of(timed, method="smoothed", unit="queries")
    assert queries[["estimate", "low", "high", "ratio_to_backprop", "ratio_low", "ratio_high"]].isna().all(axis=None)
    assert (queries["hits"] > 0).any()
    assert of(timed, method="smoothed", unit="steps")["ratio_to_backprop"].notna().all()


def test_backprop_needs_once_its_own_cost(timed):
    own = of(timed, method="backprop")
    assert (own[["ratio_to_backprop", "ratio_low", "ratio_high"]] == 1).all(axis=None)


def test_a_pipeline_without_backprop_has_absolute_targets_and_no_ratios(timed):
    rows = of(timed, experiment="digit_sum")
    assert set(rows["target"]) == {"accuracy 0.50", "accuracy 0.75", "accuracy 0.90"}
    assert rows["ratio_to_backprop"].isna().all()


def test_an_experiment_without_backprop_borrows_the_runs_of_the_same_task(suite):
    records = suite.records[~suite.records["experiment"].isin(["logit_dim", "digit_sum"])]
    frame = targets.table(replace(suite, records=records))
    progress = frame[frame["target"].str.startswith("progress")]
    assert set(progress["experiment"]) == {"headline", "variance", "batch_size"}
    assert set(of(progress, experiment="batch_size")["batch_size"]) == {32}
    levels = progress.groupby("target")["target_accuracy"].nunique()
    assert (levels == 1).all()


def test_an_experiment_prefers_its_own_backprop(suite):
    cell = {"experiment": "logit_dim", "dataset": "digits", "model": "mlp", "logit_dim": 10, "batch_size": 32}
    assert set(runs.backprop(suite, cell)["experiment"]) == {"logit_dim"}
    assert set(runs.backprop(suite, cell | {"experiment": "variance"})["experiment"]) == {"headline"}
    turned = replace(suite, experiments=dict(reversed(suite.experiments.items())))
    assert set(runs.backprop(turned, cell | {"experiment": "variance"})["experiment"]) == {"logit_dim"}
    assert runs.backprop(suite, cell | {"batch_size": 7}).empty


def test_an_experiment_borrows_no_backprop_of_another_network(suite):
    cell = {"experiment": "variance", "dataset": "digits", "model": "mlp", "logit_dim": 10, "batch_size": 32}

    def borrowed(headline, variance):
        widths = {"headline": headline, "variance": variance, "logit_dim": 64}
        sections = {name: suite.experiments[name] | {"hidden_size": width} for name, width in widths.items()}
        wide = replace(suite, experiments=suite.experiments | sections)
        return set(runs.backprop(wide, cell)["experiment"]), set(runs.backprop(wide, cell | here)["experiment"])

    here = {"experiment": "headline"}
    assert borrowed(32, 32) == ({"headline"}, {"headline"})
    assert borrowed(32, 64) == ({"logit_dim"}, {"headline"})
    assert borrowed(32, 128) == (set(), {"headline"})


def test_a_cell_is_not_measured_by_backprop_at_another_logit_dim(suite):
    other = (suite.records["method"] == "backprop") & (suite.records["logit_dim"] != 10)
    frame = targets.table(replace(suite, records=suite.records[~other]))
    lonely = of(frame, experiment="logit_dim", logit_dim=100)
    assert set(lonely["target"]) == {"accuracy 0.50", "accuracy 0.75", "accuracy 0.90"}
    assert lonely["ratio_to_backprop"].isna().all()
    assert of(frame, experiment="logit_dim", logit_dim=10)["target"].str.startswith("progress").any()
