"""Tables of planted suites: what they promise, what they do with runs that never arrive, and what they ignore."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from esgrad import menu
from esgrad.measurement.columns import QUALITY_COLUMNS
from esgrad.report import markdown
from esgrad.report.tables import (
    accuracy,
    exponents,
    learning_rates,
    regret,
    samples_needed,
    skipped,
    success_rate,
    targets,
)
from esgrad.suite.gathered import CELL, Suite
from tests.planted import of, planted_suite, small_suite

KEYS = {
    "targets": [*CELL, "target", "unit"],
    "accuracy": CELL,
    "comparisons": [*CELL, "measure"],
    "learning_rates": [*CELL, "learning_rate"],
    "how_many_samples": ["space", "noise", "credit", "shaping", "blackbox", "readings", "logit_dim", "num_samples"],
    "gradient_quality": [
        *("stage", "level", "batch_size", "logit_dim", "num_samples", "noise_variance"),
        *("space", "noise", "credit", "shaping"),
    ],
    "samples_needed": samples_needed.KEY,
    "exponents": [*exponents.LINE, "logit_dim_low", "logit_dim_high"],
    "ladder": [*CELL, "target"],
    "regret": ["experiment", *regret.TASK, "num_samples", "method", "noise_variance"],
    "rules": ["experiment", "dataset", "model", "blackbox", "logit_dim", "batch_size", "peer", "num_samples", "method"],
    "skipped": CELL,
    "slower_than_backprop": [*CELL, "target", "unit"],
    "success_rate": [*CELL, "target"],
}
_CELL = "experiment dataset model blackbox logit_dim batch_size method num_samples noise_variance "
COLUMNS = {
    "targets": _CELL + "target target_accuracy unit num_seeds hits censored estimate low high "
    "ratio_to_backprop ratio_low ratio_high",
    "accuracy": _CELL + "test_accuracy_mean low high num_seeds dead_class_rate learning_rate diverged",
    "regret": "experiment dataset model blackbox logit_dim batch_size peer num_samples method schedule noise_variance "
    "test_accuracy_mean best_fixed best_accuracy regret low high num_seeds diverged",
    "comparisons": _CELL + "reference reference_noise_variance measure target num_pairs censored diverged "
    "estimate low high p smallest_p family_size p_holm smallest_detectable verdict",
    "learning_rates": _CELL + "learning_rate validation_accuracy num_seeds diverged chosen at_edge",
    "how_many_samples": "space noise credit shaping blackbox readings logit_dim num_samples cosine num_samples_half "
    "num_samples_nine_tenths num_samples_half_rms",
    "gradient_quality": " ".join(QUALITY_COLUMNS),
    "samples_needed": "dataset model stage level batch_size noise_variance space noise credit shaping cosine logit_dim "
    "num_observations censored estimate low high coverage predicted law ratio_to_law ratio_low ratio_high",
    "exponents": "dataset model stage level batch_size noise_variance space noise credit shaping cosine logit_dim_low "
    "logit_dim_high num_dims num_observations censored_share exponent low high predicted law last_exponent last_low "
    "last_high last_law reason",
    "ladder": _CELL + "stands_on control change target target_accuracy num_seeds hits censored steps steps_low "
    "steps_high queries queries_low queries_high forwards forwards_low forwards_high dead_class_rate dead_class_low "
    "dead_class_high num_pairs ratio ratio_low ratio_high predicted predicted_low predicted_high verdict "
    "ratio_to_backprop ratio_to_backprop_low ratio_to_backprop_high predicted_to_backprop predicted_to_backprop_low "
    "predicted_to_backprop_high verdict_to_backprop accuracy_difference accuracy_difference_low "
    "accuracy_difference_high given_rate",
    "rules": "experiment dataset model blackbox logit_dim batch_size peer num_samples method num_levels num_fixed "
    "levels fixed regret low high num_seeds",
    "skipped": _CELL + "reason",
    "success_rate": _CELL + "target target_accuracy num_seeds hits success_rate low high expected_queries "
    "expected_queries_low expected_queries_high dead_class_rate dead_class_low dead_class_high",
    "slower_than_backprop": "experiment dataset model blackbox logit_dim batch_size method space num_samples "
    "noise_variance target target_accuracy unit num_seeds hits censored num_pairs ratio_to_backprop ratio_low "
    "ratio_high best",
}


@pytest.fixture(scope="module")
def suite() -> Suite:
    return planted_suite(seeds=3)


@pytest.fixture(scope="module")
def tables(suite) -> dict[str, pd.DataFrame]:
    return {name: menu.load("tables", name).table(suite) for name in menu.names("tables")}


@pytest.fixture(scope="module")
def small() -> Suite:
    return small_suite()


@pytest.fixture(scope="module")
def timed(small) -> pd.DataFrame:
    return targets.table(small)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True), check_exact=True)


def test_every_table_is_tested_here():
    assert sorted(KEYS) == menu.names("tables")


@pytest.mark.parametrize("name", menu.names("tables"))
def test_a_table_has_rows_its_documented_columns_and_no_key_twice(tables, name):
    frame = tables[name]
    assert len(frame) > 0
    assert list(frame.columns) == COLUMNS[name].split()
    assert not frame.duplicated(KEYS[name]).any()


@pytest.mark.parametrize("name", menu.names("tables"))
def test_a_table_does_not_depend_on_the_order_of_the_records(small, name):
    shuffled = replace(
        small,
        **{
            part: getattr(small, part).sample(frac=1, random_state=1).reset_index(drop=True)
            for part in ("records", "tuning", "gradient_quality", "samples_needed", "skipped")
        },
    )
    same(menu.load("tables", name).table(small), menu.load("tables", name).table(shuffled))


@pytest.mark.parametrize("name", menu.names("tables"))
def test_a_table_of_nothing_is_empty_and_says_so(small, name):
    parts = ("records", "tuning", "gradient_quality", "samples_needed", "skipped")
    nothing = {part: getattr(small, part).iloc[:0] for part in parts}
    module = menu.load("tables", name)
    frame = module.table(replace(small, **nothing))
    assert frame.empty
    assert list(frame.columns) == COLUMNS[name].split()
    assert len(getattr(module, "markdown", markdown.markdown)(frame)) > 5


@pytest.mark.parametrize("name", menu.names("tables"))
def test_a_markdown_table_writes_no_nan_and_no_inf(tables, name):
    module = menu.load("tables", name)
    text = getattr(module, "markdown", markdown.markdown)(tables[name])
    words = text.replace("|", " ").replace("(", " ").split()
    assert not {"nan", "NaN", "<NA>", "inf", "None", "NaT"} & set(words)
    assert text.endswith("\n")


@pytest.mark.parametrize("name", ["targets", "accuracy", "learning_rates", "slower_than_backprop", "success_rate"])
def test_removing_a_method_changes_no_number_of_another(small, name):
    def without(frame):
        return frame[frame["method"] != "lecture"]

    fewer = replace(small, records=without(small.records), tuning=without(small.tuning))
    table = menu.load("tables", name).table
    same(without(table(small)), table(fewer))


def test_seeds_from_1000_on_are_never_reported(small):
    reported = small.records[small.records["seed"] < 1000]
    levels_only = small.records[small.records["seed"] >= 1000].assign(test_accuracy=0.0, dead_classes=9)
    poisoned = replace(small, records=pd.concat([reported, levels_only], ignore_index=True))
    same(accuracy.table(small), accuracy.table(poisoned))
    assert (accuracy.table(small)["num_seeds"] == 10).all()
    assert (targets.table(small)["num_seeds"] == 10).all()


def test_accuracy_is_the_mean_of_the_runs_that_finished(small):
    row = of(accuracy.table(small), method="openai_es", num_samples=10, blackbox="zero_one")
    cell = of(small.reported, method="openai_es", num_samples=10, blackbox="zero_one")
    assert row["diverged"].item() == 1
    assert row["num_seeds"].item() == 10
    assert row["test_accuracy_mean"].item() == pytest.approx(cell["test_accuracy"].mean())
    assert row["low"].item() < row["test_accuracy_mean"].item() < row["high"].item()


def test_the_dead_class_rate_counts_runs_at_their_end(small):
    rows = of(accuracy.table(small), method="lecture", experiment="headline", num_samples=10)
    last = of(small.reported, method="lecture", experiment="headline", num_samples=10).groupby("seed").tail(1)
    assert rows["dead_class_rate"].item() == (last["dead_classes"] > 0).mean() > 0


def test_the_rate_taken_and_whether_a_better_one_may_lie_beyond_are_told(small):
    frame = learning_rates.table(small)
    chosen = frame[frame["chosen"]]
    assert not chosen.duplicated(CELL).any()
    assert len(chosen) == len(frame.drop_duplicates(CELL))
    assert set(chosen.loc[chosen["at_edge"], "method"]) == {"openai_es"}
    inside = chosen[~chosen["at_edge"]]
    best = frame.loc[frame.groupby(CELL, dropna=False)["validation_accuracy"].idxmax()]
    assert len(inside.merge(best, on=list(frame.columns))) == len(inside)


def test_a_rate_at_which_a_tuning_run_diverged_has_no_accuracy(small):
    tuning = small.tuning.copy()
    gone = tuning.index[(tuning["method"] == "backprop") & (tuning["learning_rate"] == 0.1)][1]
    tuning.loc[gone, ["validation_accuracy", "status"]] = [np.nan, "diverged"]
    frame = learning_rates.table(replace(small, tuning=tuning))
    row = of(frame, method="backprop", learning_rate=0.1)
    assert row["validation_accuracy"].isna().all()
    assert row["diverged"].item() == 1
    assert "0.1: diverged" in learning_rates.markdown(frame)


def test_skipped_cells_keep_their_reason(small):
    frame = skipped.table(small)
    assert set(frame["method"]) == {"openai_es"}
    assert frame["reason"].str.contains("needs num_samples ≥ 2, got 1").all()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.6, "12,346"),
        (999.6, "1,000"),
        (0.12345, "0.123"),
        (1e-5, "1e-05"),
        (np.inf, "∞"),
        (np.nan, ""),
        (pd.NA, ""),
        (None, ""),
        (True, "yes"),
        (np.False_, "no"),
        (np.int64(1000), "1,000"),
        ("a|b", "a\\|b"),
    ],
)
def test_a_cell_is_written_to_three_digits_and_a_missing_one_is_empty(value, text):
    assert markdown.text(value) == text


def test_success_rates_are_the_hits_of_the_targets_table_with_wilsons_interval(small, timed):
    rates = success_rate.table(small)
    steps = of(timed, unit="steps").reset_index(drop=True)
    assert rates["hits"].tolist() == steps["hits"].tolist()
    for row in rates.itertuples():
        low, high = stats.binomtest(row.hits, row.num_seeds).proportion_ci(0.95, "wilson")
        assert (row.success_rate, row.low, row.high) == pytest.approx((row.hits / row.num_seeds, low, high))
    assert np.isinf(rates.loc[rates["hits"] == 0, "expected_queries"].dropna()).all()
    assert (rates["hits"] == 0).any()
    assert rates["hits"].max() == rates["num_seeds"].max(), "both ends are planted"


def test_expected_queries_lie_in_the_bootstraps_interval_and_are_bounded_below_where_nobody_arrived(small):
    rates = success_rate.table(small).dropna(subset=["expected_queries"])
    assert (rates["expected_queries_low"] <= rates["expected_queries"]).all()
    assert (rates["expected_queries"] <= rates["expected_queries_high"]).all()
    lost = rates[rates["hits"] == 0]
    assert np.isfinite(lost["expected_queries_low"]).all()
    assert f"> {lost['expected_queries_low'].iloc[0]:,.0f}" in success_rate.markdown(lost)


def test_expected_queries_is_all_that_was_spent_per_arrival(small):
    rates = of(success_rate.table(small), method="openai_es")
    row = rates[(rates["hits"] > 0) & (rates["hits"] < rates["num_seeds"])].iloc[0]
    cell = np.logical_and.reduce([small.reported[column] == row[column] for column in CELL])
    spent = 0.0
    for _, run in small.reported[cell].sort_values("step").groupby("seed"):
        accuracies, costs = run["validation_accuracy"].tolist(), run["queries"].tolist()
        index = next(
            (
                i
                for i in range(1, len(accuracies) - 1)
                if min(accuracies[i], accuracies[i + 1]) >= row["target_accuracy"]
            ),
            -1,
        )
        spent += small.reported[cell]["queries"].max() if run["status"].iloc[-1] == "diverged" else costs[index]
    assert row["expected_queries"] == pytest.approx(spent / row["hits"])


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((12.34, 8, 19), "12.3 (8–19)"),
        ((12.34, 8, np.inf), "12.3 (8–∞)"),
        ((np.inf, 8, np.inf), "> 8"),
        ((12.34, np.nan, np.nan), "12.3"),
        ((np.nan, np.nan, np.nan), ""),
    ],
)
def test_an_interval_is_written_one_way_everywhere(interval, text):
    assert markdown.interval(*interval) == text
