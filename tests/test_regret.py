"""The regret of a rule for t is the planted one, against the best fixed t that validation names."""

from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest

from esgrad import menu
from esgrad.report import style
from esgrad.report.figures import regret as figure_of_regret
from esgrad.report.tables import regret
from esgrad.statistics import mean_interval
from esgrad.suite.gathered import Suite
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


def ends(suite: Suite, method: str, variance: float, num_samples: int = 10, experiment: str = "variance") -> pd.Series:
    """Which records are the last of a cell's runs."""
    records = suite.records
    runs = records.groupby(["experiment", "method", "num_samples", "noise_variance", "seed"], dropna=False)
    words = {"experiment": experiment, "method": method, "noise_variance": variance, "num_samples": num_samples}
    return np.logical_and.reduce([records[key] == value for key, value in words.items()]) & (
        runs.cumcount(ascending=False) == 0
    )


def planted(suite: Suite, *changes: tuple[pd.Series, dict]) -> Suite:
    """The suite with other words in some of its records."""
    records = suite.records.copy()
    for chosen, words in changes:
        records.loc[chosen, list(words)] = list(words.values())
    return replace(suite, records=records)


def row_of(frame: pd.DataFrame, method: str, variance: float, experiment: str = "variance") -> pd.Series:
    words = {"experiment": experiment, "method": method, "noise_variance": variance, "num_samples": 10}
    return frame[np.logical_and.reduce([frame[key] == value for key, value in words.items()])].squeeze()


DIVERGED = {"status": "diverged", "validation_accuracy": np.nan, "test_accuracy": np.nan}
PERFECT = {"validation_accuracy": 0.999, "test_accuracy": 0.999}


def test_every_cell_with_a_fixed_peer_has_its_regret(frame: pd.DataFrame):
    counts = frame.groupby(["peer", "schedule"])["noise_variance"].count().to_dict()
    assert counts == {
        ("maxrl", "fixed"): 10,
        ("maxrl", "spread"): 10,
        ("maxrl", "annealed"): 10,
        ("smoothed", "fixed"): 5,
    }


def test_the_best_fixed_t_has_no_regret(frame: pd.DataFrame):
    best = frame[(frame["noise_variance"] == frame["best_fixed"]) & (frame["schedule"] == "fixed")]
    assert len(best) == 3
    assert (best["regret"] == 0).all()


def test_a_planted_loss_is_found_within_its_interval(frame: pd.DataFrame):
    """maxrl_spread ends 0.025 lower by construction, maxrl_annealed nowhere."""
    spread = frame[frame["schedule"] == "spread"]
    assert ((spread["low"] < 0.025) & (spread["high"] > 0.025)).mean() > 0.7
    assert (spread["low"] > 0.005).all()
    annealed = frame[frame["schedule"] == "annealed"]
    assert ((annealed["low"] < 0) & (annealed["high"] > 0)).mean() > 0.7


def test_validation_chooses_and_test_is_reported(suite: Suite):
    """The t that validation likes best is the reference, though another is better on test: a negative regret."""
    chosen = ends_changed(suite, "validation_accuracy", {0.1: 0.999})
    better = ends_changed(chosen, "test_accuracy", {10.0: 1.0})
    frame = regret.table(better)
    rows = frame[(frame["peer"] == "maxrl") & (frame["num_samples"] == 10)]
    assert set(rows["best_fixed"]) == {0.1}
    assert rows.loc[(rows["schedule"] == "fixed") & (rows["noise_variance"] == 10.0), "regret"].item() < 0


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


def test_a_fixed_t_at_which_one_lucky_seed_survives_is_not_the_best(suite: Suite, frame: pd.DataFrame):
    last = ends(suite, "maxrl", 100.0)
    lost = last & (suite.records["seed"] > 0)
    found = regret.table(planted(suite, (last, PERFECT), (lost, DIVERGED)))
    row = row_of(found, "maxrl", 100.0)
    assert row["best_fixed"] == row_of(frame, "maxrl", 1.0)["best_fixed"] != 100.0
    assert row["diverged"] == 9
    assert row["test_accuracy_mean"] == pytest.approx(0.0999)
    assert row["regret"] == pytest.approx(row["best_accuracy"] - 0.0999)


@pytest.mark.parametrize("survivors", [1, 5])
def test_a_rule_that_diverges_regrets_all_that_its_lost_runs_lost(suite: Suite, survivors: int):
    lost = ends(suite, "maxrl_spread", 1.0) & (suite.records["seed"] >= survivors)
    row = row_of(regret.table(planted(suite, (lost, DIVERGED))), "maxrl_spread", 1.0)
    assert row["diverged"] == 10 - survivors
    assert row["regret"] > 0.9 * (10 - survivors) / 10  # the best fixed t ends above .9
    assert row["low"] < row["regret"] < row["high"]
    assert row["regret"] == pytest.approx(row["best_accuracy"] - row["test_accuracy_mean"])


def test_the_best_fixed_t_is_a_fixed_one_though_a_rule_does_better(suite: Suite, frame: pd.DataFrame):
    found = regret.table(planted(suite, (ends(suite, "maxrl_spread", 0.01), PERFECT)))
    better, before = row_of(found, "maxrl_spread", 0.01), row_of(frame, "maxrl_spread", 0.01)
    assert (better[["best_fixed", "best_accuracy"]] == before[["best_fixed", "best_accuracy"]]).all()
    assert better["regret"] == pytest.approx(before["best_accuracy"] - 0.999)
    assert better["high"] < 0


def test_a_regret_is_paired_by_seed_over_the_seeds_that_both_have(suite: Suite, frame: pd.DataFrame):
    """The rule lacks seeds 0 to 3, the best fixed t 7 to 9: three pairs, however many rows each has."""
    best = row_of(frame, "maxrl_spread", 1.0)["best_fixed"]
    records, one, other = suite.records, ends(suite, "maxrl", best), ends(suite, "maxrl_spread", 1.0)
    cells = [(records["method"] == method) & (records["num_samples"] == 10) for method in ("maxrl", "maxrl_spread")]
    lacking = (cells[0] & (records["seed"] > 6)) | (cells[1] & (records["seed"] < 4))
    row = row_of(regret.table(replace(suite, records=records[~lacking])), "maxrl_spread", 1.0)
    accuracies = [records[last].set_index("seed")["test_accuracy"] for last in (one, other)]
    assert row["best_fixed"] == best
    expected = mean_interval([accuracies[0][seed] - accuracies[1][seed] for seed in (4, 5, 6)])
    assert tuple(row[["regret", "low", "high"]]) == pytest.approx(expected)
    assert row["num_seeds"] == 6


def test_experiments_on_the_same_task_are_compared_each_within_itself(suite: Suite, frame: pd.DataFrame):
    """The second differs in which t is best, and in how good it is."""
    again = replace(suite, records=suite.records.assign(experiment="variance_again"))
    again = planted(again, (ends(again, "maxrl", 0.01, experiment="variance_again"), PERFECT))
    both = regret.table(replace(suite, records=pd.concat([suite.records, again.records], ignore_index=True)))
    first = both[both["experiment"] == "variance"].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, frame)
    pd.testing.assert_frame_equal(both[both["experiment"] != "variance"].reset_index(drop=True), regret.table(again))
    row = row_of(both, "maxrl_spread", 1.0, "variance_again")
    assert (row["best_fixed"], row["best_accuracy"]) == (0.01, pytest.approx(0.999))


# Rules that are new, and rules without a peer


def with_new_rule(suite: Suite) -> Suite:
    """A rule that nobody has heard of, with the numbers of maxrl_spread."""
    rows = suite.records[suite.records["method"] == "maxrl_spread"]
    new = rows.assign(method="maxrl_cosine", schedule="cosine")
    return replace(suite, records=pd.concat([suite.records, new], ignore_index=True))


def legend(figure: matplotlib.figure.Figure) -> dict[str, str]:
    """The legend's words and their colours, in a panel of the grid or beside it."""
    found = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return {
        text.get_text(): matplotlib.colors.to_hex(line.get_color())
        for each in found
        for text, line in zip(each.get_texts(), each.get_lines(), strict=True)
    }


def test_a_new_rule_is_in_the_table_and_drawn_and_named(suite: Suite, frame: pd.DataFrame):
    with_new = regret.table(with_new_rule(suite))
    numbers = ["noise_variance", "num_samples", "regret", "low", "high"]
    new, spread = (with_new[with_new["schedule"] == rule] for rule in ("cosine", "spread"))
    pd.testing.assert_frame_equal(new[numbers].reset_index(drop=True), spread[numbers].reset_index(drop=True))
    before, words = (legend(figure_of_regret.draw(each)[0]) for each in (suite, with_new_rule(suite)))
    assert list(words)[:2] == ["fixed", "spread"]
    assert words.keys() - before.keys() == {"cosine"}
    assert words["cosine"] in style.SPARE
    assert before.items() <= words.items(), "a known rule keeps its colour"


def test_a_new_rule_is_drawn_along_training(suite: Suite):
    figure, drawn = menu.load("figures", "sigma_over_spread").draw(with_new_rule(suite))
    assert {"fixed", "spread", "annealed", "cosine"} == set(drawn["schedule"])
    words = legend(figure)
    assert words["cosine, level 1"] in style.SPARE
    assert len({words[word] for word in words if "level" in word}) == 3


def test_every_rule_of_the_menu_and_six_new_ones_have_looks_of_their_own():
    found = figure_of_regret.looks([*menu.names("schedules"), *map("rule_{}".format, range(6))])
    assert len(set(found.values())) == len(menu.names("schedules")) + 6
    assert next(iter(found)) == "fixed"


def notes(figure: matplotlib.figure.Figure) -> str:
    owners = (figure, *figure.axes)
    return " ".join(" ".join(text.get_text() for owner in owners for text in owner.texts).split())


@pytest.mark.parametrize("left", ["no peer", "one t"])
def test_a_rule_without_a_fixed_peer_is_named_and_not_passed_over(suite: Suite, left: str):
    """In the table's row, under the table and under the picture."""
    records = suite.records
    ours = records["method"].str.startswith("maxrl") & (records["schedule"] == "fixed")
    kept = ~ours if left == "no peer" else ~ours | (records["noise_variance"] == 1.0)
    without = replace(suite, records=records[kept])
    frame = regret.table(without)
    alone = frame[frame["schedule"] != "fixed"]
    assert len(alone) == 20
    assert alone[["regret", "low", "high", "best_fixed", "best_accuracy"]].isna().all(axis=None)
    assert alone["test_accuracy_mean"].between(0.5, 1).all()
    said = "o fixed peer at two t or more: maxrl_annealed, maxrl_spread"
    assert said in regret.markdown(frame)
    figure, drawn = figure_of_regret.draw(without)
    assert drawn.empty, "an exact arm has no N"
    assert said in notes(figure)
    beside = planted_suite(["variance"], methods=("lecture",)).records
    figure, drawn = figure_of_regret.draw(replace(suite, records=pd.concat([without.records, beside])))
    assert set(drawn["method"]) == {"lecture"}
    assert said in notes(figure)
    assert "o fixed peer" not in regret.markdown(regret.table(suite)) + notes(figure_of_regret.draw(suite)[0])
