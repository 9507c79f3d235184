"""The answer to "1,000 times slower": its ratios, its best settings, its verdicts and its words, on planted suites."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from esgrad import menu
from esgrad.report import runs
from esgrad.report.tables import slower_than_backprop, targets
from esgrad.suite.gathered import Suite
from tests.planted import of, planted_suite


@pytest.fixture(scope="module")
def answer() -> pd.DataFrame:
    return slower_than_backprop.table(planted_suite(seeds=3))


@pytest.fixture(scope="module")
def small() -> Suite:
    return planted_suite(["headline", "digit_sum"], methods=["backprop", "smoothed", "lecture", "openai_es"])


def test_the_answer_compares_evolution_strategies_alone_on_the_headline(answer):
    frame = answer
    assert set(frame["experiment"]) == {"headline"}
    assert not {"backprop", "smoothed", "log_smoothed"} & set(frame["method"])
    assert set(frame["target"]) == {"progress 0.50", "progress 0.75", "progress 0.90", "progress 0.95"}
    keys = ["method", "blackbox", "target", "unit"]
    known = frame.groupby(keys)["ratio_to_backprop"].agg(lambda ratios: np.isfinite(ratios).any())
    assert (frame.groupby(keys)["best"].sum() == known).all()
    assert not known.all()
    assert (of(frame[~np.isfinite(frame["ratio_to_backprop"])], best=False)["hits"] > 0).any(), "some arrived, no ratio"


def test_the_best_setting_has_the_smallest_ratio_that_is_known(answer):
    frame = answer
    for _, rows in frame.groupby(["method", "blackbox", "target", "unit"]):
        best = rows[rows["best"]]
        if len(best):
            assert best["ratio_to_backprop"].item() == rows["ratio_to_backprop"].min() < np.inf
            known = rows[rows["ratio_to_backprop"] == best["ratio_to_backprop"].item()]
            assert best["ratio_low"].item() == known["ratio_low"].min()
    best = frame[frame["best"]].merge(frame, on=["method", "blackbox", "target", "unit"], suffixes=("", "_other"))
    assert (best["censored"] > best["censored_other"]).any(), "fewest censored runs would pick another"


def test_the_answer_says_who_needs_how_many_times_what_and_who_never_arrived(small):
    frame = slower_than_backprop.table(small)
    text = slower_than_backprop.markdown(frame)
    assert text.startswith("> ")
    assert "1,000 times" in text
    row = of(frame, method="lecture", num_samples=100, target="progress 0.50", unit="queries").iloc[0]
    sentence = next(
        line for line in text.splitlines() if line.startswith("- lecture on zero_one (N = 100") and "50 %" in line
    )
    assert (
        f"{row['ratio_to_backprop']:.3g} ({row['ratio_low']:.3g}–{row['ratio_high']:.3g}) times its queries" in sentence
    )
    assert "(n = 10)" in sentence
    sizes = ", ".join(str(size) for size in sorted(of(frame, method="openai_es")["num_samples"].unique()))
    lines = [line for line in text.splitlines() if line.startswith("- openai_es on zero_one: ")]
    lost = of(frame, method="openai_es", blackbox="zero_one", target="progress 0.95")
    low = [f"{of(lost, unit=unit)['ratio_low'].min():.3g} times" for unit in runs.UNITS]
    assert lines[0] == (
        f"- openai_es on zero_one: no run arrived, whatever N ({sizes}; n = 10). The best N needs more than "
        f"{low[0]} backprop's steps, {low[1]} its queries, {low[2]} its forward passes."
    )


def test_the_answer_says_that_the_best_is_best_within_the_budget_and_that_t_is_not_tuned(small):
    frame = slower_than_backprop.table(small)
    text = slower_than_backprop.markdown(frame)
    assert "best within the budget of the runs" in text
    assert "t = σ² of the noise is one untuned value, 0.001 at the parameters and 1 at the logits." in text
    tuned = frame["noise_variance"].mask((frame["space"] == "logits") & (frame["num_samples"] == 1), 10)
    assert "one untuned value, 0.001 at the parameters.\n" in slower_than_backprop.markdown(
        frame.assign(noise_variance=tuned)
    )


def test_where_fewer_than_half_arrived_no_n_is_best_and_the_least_bound_is_told(small):
    frame = of(slower_than_backprop.table(small), method="openai_es", blackbox="zero_one", target="progress 0.95")
    text = slower_than_backprop.markdown(frame.assign(hits=2, censored=8))
    assert "- openai_es on zero_one: fewer than half of the runs arrived, whatever N (10, 100; n = 10)." in text
    assert "At no N did half of the runs arrive at 95 %." in text


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        ([1100, 10], [2000, 20], "supported"),
        ([900, 10], [2000, 20], "undecided"),
        ([900, 10], [999, 20], "contradicted"),
        ([900, 10], [np.inf, 20], "undecided"),
        ([1000, 10], [np.inf, 20], "supported"),
        ([900, 10], [1000, 20], "undecided"),
        ([np.nan, np.nan], [np.nan, np.nan], "undecided"),
    ],
)
def test_the_verdict_is_supported_by_one_target_and_contradicted_by_all(low, high, answer):
    assert slower_than_backprop.verdict(intervals(low, high, target=["progress 0.50", "progress 0.95"])) == answer


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        ([3125, 937, 125], [np.inf] * 3, "undecided"),  # at N = 30 and 4 the runs ended before 1,000 times
        ([3125, 1000, 1000], [np.inf] * 3, "supported"),
        ([3125, 1000, np.nan], [np.inf, np.inf, np.nan], "undecided"),
        ([3125, 937, 125], [4000, 999, np.inf], "contradicted"),
        ([3125, 937, np.nan], [4000, 999, np.nan], "contradicted"),
        ([3125, 937, 125], [4000, 1000, np.inf], "undecided"),
    ],
)
def test_the_verdict_is_about_the_best_n_there_may_be(low, high, answer):
    assert slower_than_backprop.verdict(intervals(low, high)) == answer


def intervals(low, high, target="progress 0.75"):
    rows = pd.DataFrame({"ratio_low": low, "ratio_high": high}, dtype=float)
    return rows.assign(method="openai_es", blackbox="zero_one", target=target)


def test_the_verdict_follows_the_records(small):
    """Backprop planted a thousand times cheaper or dearer."""
    costs = list(runs.UNITS.values())
    slow = small.records["method"] == "backprop"

    def text(factor):
        records = small.records.astype(dict.fromkeys(costs, "float64"))
        records.loc[slow, costs] *= factor
        return slower_than_backprop.markdown(slower_than_backprop.table(replace(small, records=records)))

    assert text(1 / 1000).count("**supported**") == 6
    assert "**supported**" not in text(1000)


def test_label_search_alone_answers_nothing_and_changes_no_verdict(small):
    frame = slower_than_backprop.table(small)
    searched = frame.assign(method="label_search", space="", num_samples=pd.NA, noise_variance=np.nan)
    assert "Unanswered" in slower_than_backprop.markdown(searched)
    alone, both = (slower_than_backprop.markdown(rows) for rows in (frame, pd.concat([searched, frame])))
    verdicts = [line for line in alone.splitlines() if line.startswith("- Noise at the")]
    assert verdicts
    assert [line for line in both.splitlines() if line.startswith("- Noise at the")] == verdicts
    assert "label_search on " in both


def test_the_verdict_is_a_list_of_one_word_for_each_space_and_unit(small):
    frame = slower_than_backprop.table(small)
    text = slower_than_backprop.markdown(frame)
    for space, there in frame.groupby("space"):
        for unit, rows in there.groupby("unit"):
            word = {"steps": "steps", "queries": "queries", "forwards": "forward passes"}[unit]
            lines = [line for line in text.splitlines() if line.startswith(f"- Noise at the {space}, {word}: ")]
            assert len(lines) == 1
            assert f": **{slower_than_backprop.verdict(rows)}**." in lines[0]
            assert len(lines[0]) < 250


@pytest.mark.parametrize(
    ("low", "high", "phrase"),
    [
        ([1100, 10], [2000, np.inf], "Shown by a on zero_one to 90 %, 1,100–2,000 times at its best N."),
        ([1100, 10], [np.inf, np.inf], "Shown by a on zero_one to 90 %, 1,100 times or more at its best N."),
        ([600, 10], [800, np.inf], "Left open by b on zero_one to 90 %, 10 times or more at its best N."),
        ([600, np.nan], [800, np.nan], "Left open by b on zero_one to 90 %, an unknown number of times at its best N."),
        ([600, 10], [800, 900], "Dearest: b on zero_one to 90 %, 10–900 times at its best N."),
    ],
)
def test_a_verdict_shows_the_interval_it_rests_on(answer, low, high, phrase):
    first = answer.iloc[[0]].assign(
        blackbox="zero_one",
        num_samples=10,
        noise_variance=1.0,
        target="progress 0.90",
        hits=9,
        censored=1,
        best=True,
    )
    frame = pd.concat([first] * 2, ignore_index=True).assign(method=["a", "b"], ratio_low=low, ratio_high=high)
    estimate = np.sqrt(frame["ratio_low"] * frame["ratio_high"]).replace(np.inf, 100)
    text = slower_than_backprop.markdown(frame.assign(ratio_to_backprop=estimate))
    assert phrase in text
    assert "Cheapest to 90 %: " in text


@pytest.fixture(scope="module")
def late(small) -> Suite:
    """`small`, but eight of ten reported runs of backprop make no progress; those that set the levels do."""
    records = small.records.copy()
    lost = (records["method"] == "backprop") & (records["seed"] < 8)
    records.loc[lost, "validation_accuracy"] = 0.1
    return replace(small, records=records)


def test_a_seed_whose_backprop_never_arrived_is_a_pair_and_bounds_the_ratio_from_above(late):
    frame = of(targets.compared(late), experiment="headline", target="progress 0.50", unit="steps")
    assert (frame["num_pairs"] == 10).all()
    arrived = of(frame, method="lecture", num_samples=100)
    assert arrived["hits"].item() == 10
    ratio = arrived[["ratio_to_backprop", "ratio_low", "ratio_high"]].to_numpy()[0]
    assert ratio[:2].tolist() == [0, 0]
    assert 0 < ratio[2] < np.inf
    assert f"< {ratio[2]:.3g}" in targets.markdown(arrived)


def test_a_ratio_of_which_nothing_or_only_a_bound_is_known_supports_no_verdict_and_is_not_best(late):
    frame = slower_than_backprop.table(late)
    unknown = frame[frame["ratio_to_backprop"].isna()]
    assert len(unknown) > 0, "openai_es never arrives at 95 %, and backprop hardly ever"
    assert (unknown["ratio_low"].eq(0) & np.isinf(unknown["ratio_high"])).all()
    assert {slower_than_backprop.verdict(rows) for _, rows in unknown.groupby("unit")} == {"undecided"}
    assert not frame.loc[~(frame["ratio_to_backprop"] > 0), "best"].any()
    text = slower_than_backprop.markdown(frame)
    assert "too few runs, of it or of backprop, arrived" in text
    assert "What the best N needs is not known." in text
    assert "more than 0 times" not in text
    assert "nan" not in text


def test_the_picture_draws_an_upper_bound_hollow_with_an_arrow_to_the_left(late):
    figure, frame = menu.load("figures", "slower_than_backprop").draw(late)
    bounds = frame[frame["upper_bound"]]
    assert len(bounds) > 0
    assert (bounds["dot"] == bounds["ratio_high"]).all()
    hollow = [line for axes in figure.axes for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert len(hollow) == (frame["upper_bound"] | frame["lower_bound"]).sum() + 1  # and the legend's
    arrows = [text for axes in figure.axes for text in axes.texts if text.arrow_patch is not None]
    assert len(arrows) == (frame["ratio_low"].eq(0).sum() + np.isinf(frame["ratio_high"]).sum()) > 0


def test_without_backprop_the_question_stays_unanswered():
    frame = slower_than_backprop.table(planted_suite(["digit_sum"], seeds=2))
    assert frame.empty
    assert "Unanswered" in slower_than_backprop.markdown(frame)
