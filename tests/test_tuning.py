"""How a cell's learning rate is chosen, and that its runs then take it."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from esgrad.suite import worker
from esgrad.tasks.data import Data
from esgrad.training import tuning
from esgrad.training.job import Job
from tests.running import SAMPLES, Rows, job, kind

# Tuning


class Planted:
    """Stands for `train`: a run's last accuracy is what `score(t, rate, seed)` says; it remembers its calls."""

    def __init__(self, score: Callable[[float | None, float, int], float]) -> None:
        self.score, self.calls = score, []

    def __call__(
        self,
        of: Job,
        images: Data,
        num_samples: int | None,
        groups: list,
        seeds: list[int],
        steps: int,
        *_: Any,
        ends_only: bool,
    ):
        self.calls.append((groups, seeds, steps))
        for (t, rate), seed, step in product(groups, seeds, (0, steps)):
            yield {
                "noise_variance": t,
                "learning_rate": rate,
                "seed": seed,
                "step": step,
                "validation_accuracy": self.score(t, rate, seed) * (1 if step else -9),  # the start must not count
                "test_accuracy": -self.score(t, rate, seed),  # nor the test
            }


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch, digits: Data) -> Callable:
    def call(score: Callable, variances: tuple = (1.0,), **changes: Any) -> tuple[list[float], Planted, Rows]:
        planted = Planted(score)
        monkeypatch.setattr(tuning, "train", planted)
        chosen, rows = tuning.tune(job(**changes), digits, SAMPLES, variances, "cpu", lambda steps: None)
        assert [t for t, _ in chosen] == list(variances) or changes.get("variance_candidates")
        return [rate for _, rate in chosen], planted, rows

    return call


def peak(best: float) -> Callable[..., float]:
    return lambda t, rate, seed: 1 - abs(math.log10(rate / best)) / 10


def test_tuning_picks_the_best_rate_and_stops_where_it_lies_inside(tuned: Callable) -> None:
    rates, planted, rows = tuned(peak(0.03))
    assert rates == [0.03]
    assert len(planted.calls) == 1
    assert len(rows) == 3 * 2 * 2  # rates × seeds × first and last row


@pytest.mark.parametrize(
    ("best", "tried", "chosen"), [(1.2, [0.333, 1.11], 1.11), (0.003, [0.00333, 0.00111], 0.00333)]
)
def test_an_optimum_at_the_edge_widens_the_grid_by_its_own_ratio(
    best: float, tried: list[float], chosen: float, tuned: Callable
) -> None:
    rates, planted, rows = tuned(peak(best))
    assert rates == [chosen]
    assert [groups for groups, *_ in planted.calls[1:]] == [[(1.0, rate)] for rate in tried]
    assert len(rows) == 5 * 2 * 2


@pytest.mark.parametrize("max_widenings", [0, 1, 4])
def test_the_grid_is_widened_so_often_and_no_more(max_widenings: int, tuned: Callable) -> None:
    _, planted, _ = tuned(peak(1e9), max_widenings=max_widenings)
    assert len(planted.calls) == 1 + max_widenings


def test_of_equal_rates_the_smallest_is_chosen(tuned: Callable) -> None:
    assert tuned(lambda t, rate, seed: 0.5 + (rate > 0.02))[0] == [0.03]
    assert tuned(lambda t, rate, seed: 0.5, max_widenings=0)[0] == [0.01]


def test_candidates_may_come_in_any_order(tuned: Callable) -> None:
    assert tuned(peak(1.2), learning_rates=(0.1, 0.01, 0.03))[0] == [1.11]


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_a_diverged_run_counts_as_no_accuracy(rate: float, tuned: Callable) -> None:
    """Twenty seeds at a rate, half of them diverged, are worse than .6 at another, though the others ended at .9."""

    def chosen(elsewhere: float, num_seeds: int = 20) -> list[float]:
        def score(t: float, r: float, seed: int) -> float:
            return elsewhere if r != rate else (math.nan if seed % 2 else 0.9)

        return tuned(score, max_widenings=0, num_tuning_seeds=num_seeds)[0]

    assert chosen(0.6) == [0.03 if rate == 0.01 else 0.01]
    assert chosen(0.3) == [rate], "a mean of .45"


def test_the_highest_mean_wins_however_wild_and_however_near_a_smaller_rate_is(tuned: Callable) -> None:
    means = {0.01: 0.799, 0.03: 0.8, 0.1: 0.5}
    assert tuned(lambda t, rate, seed: means[rate] + (0.2 if seed % 2 else -0.2))[0] == [0.03]
    assert tuned(lambda t, rate, seed: means[rate], num_tuning_seeds=1)[0] == [0.03], "one seed: nothing is clear"


# The race

ERROR = 0.1 / math.sqrt(3)  # the standard error of the mean of four differences gap ± .1


def raced(gap: float, late: float = 0.0, noise: float = 0.0) -> Callable[..., float]:
    """.03 ends at .8; .01 at `gap` less on the first four seeds and `late` more on the others, ± `noise` in turn."""

    def score(t: float, rate: float, seed: int) -> float:
        if rate != 0.01:
            return 0.8 if rate == 0.03 else 0.5
        wild = noise if seed % 2 else -noise
        return 0.8 - gap + wild if seed < 1004 else 0.8 + late

    return score


def test_half_of_the_seeds_try_every_rate_and_the_other_half_those_not_clearly_worse(tuned: Callable) -> None:
    rates, planted, rows = tuned(raced(2 * ERROR - 0.001, noise=0.1), num_tuning_seeds=8)
    (first, early, _), (second, late, _) = planted.calls
    assert [rate for _, rate in first] == [0.01, 0.03, 0.1]
    assert (early, late) == ([1000, 1001, 1002, 1003], [1004, 1005, 1006, 1007])
    assert [rate for _, rate in second] == [0.01, 0.03]
    assert len(rows) == (3 * 4 + 2 * 4) * 2
    assert rates == [0.03]


def test_where_one_is_left_nothing_is_open_and_the_other_half_is_saved(tuned: Callable) -> None:
    rates, planted, _ = tuned(raced(2 * ERROR + 0.001, noise=0.1), num_tuning_seeds=8)
    assert rates == [0.03]
    assert len(planted.calls) == 1


@pytest.mark.parametrize(("seeds", "heat"), [(1, 1), (3, 3), (4, 4), (5, 4), (6, 4), (8, 4), (12, 6), (20, 10)])
def test_the_first_heat_is_half_of_the_seeds_and_four_at_least(seeds: int, heat: int, tuned: Callable) -> None:
    _, planted, _ = tuned(lambda t, rate, seed: 0.5 + seed % 3 / 9, num_tuning_seeds=seeds, max_widenings=0)
    assert [len(asked) for _, asked, _ in planted.calls] == ([heat, seeds - heat] if seeds > heat else [heat])


def test_three_clear_differences_are_clear_and_one_is_not() -> None:
    assert tuning._clearly_worse([0.1, 0.2], [0.8, 0.9])
    assert tuning._clearly_worse([0.1, 0.2, 0.3], [0.8, 0.9, 0.9])
    assert not tuning._clearly_worse([0.1], [0.9])


def test_of_equal_t_and_rates_the_smallest_are_chosen() -> None:
    assert tuning._best({(t, rate): [0.5] for rate in (0.1, 0.01) for t in (10.0, 1.0)}) == (1.0, 0.01)


def test_the_second_half_can_overturn_the_first(tuned: Callable) -> None:
    assert tuned(raced(0.05, late=0.051, noise=0.1), num_tuning_seeds=8)[0] == [0.01]
    assert tuned(raced(0.05, late=0.049, noise=0.1), num_tuning_seeds=8)[0] == [0.03]


def test_a_rate_that_left_the_race_cannot_win_by_its_first_half(tuned: Callable) -> None:
    """.03 falls behind on the second half, below what .01 had when it was dropped."""
    assert tuned(
        lambda t, rate, seed: {0.01: 0.7, 0.03: 0.8 if seed < 1004 else 0.2, 0.1: 0.1}[rate], num_tuning_seeds=8
    )[0] == [0.03]


def test_differences_are_paired_by_seed(tuned: Callable) -> None:
    """Seeds differ by far more than rates do, yet .01 is always a little worse than .03."""
    score = {0.01: 0.79, 0.03: 0.8, 0.1: 0.5}
    _, planted, _ = tuned(lambda t, rate, seed: score[rate] + seed % 4 / 5, num_tuning_seeds=8)
    assert len(planted.calls) == 1


def test_a_grid_widens_by_the_best_of_the_whole_race_and_what_is_new_races_too(tuned: Callable) -> None:
    """On half of the seeds .03 is best, on all .1: .333 is tried on half, and being near on the other half as well."""

    def score(t: float, rate: float, seed: int) -> float:
        if rate == 0.1:
            return 0.79 + (0.05 if seed % 2 else -0.05) if seed < 1004 else 0.9
        return {0.01: 0.1, 0.03: 0.8}.get(rate, 0.78 + (0.05 if seed % 2 else -0.05))

    rates, planted, _ = tuned(score, num_tuning_seeds=8)
    assert rates == [0.1]
    assert [(groups, len(seeds)) for groups, seeds, _ in planted.calls[2:]] == [([(1.0, 0.333)], 4)] * 2


def test_what_is_new_and_clearly_better_runs_as_far_as_the_others_and_wins(tuned: Callable) -> None:
    def score(t: float, rate: float, seed: int) -> float:
        return {0.01: 0.1, 0.03: 0.78, 0.1: 0.84 if seed % 2 else 0.76}.get(rate, 0.9 if rate < 1 else 0.2)

    rates, planted, _ = tuned(score, num_tuning_seeds=8, learning_rates=(0.01, 0.03, 0.1))
    assert rates == [0.333]
    assert [(groups, len(seeds)) for groups, seeds, _ in planted.calls[2:4]] == [([(1.0, 0.333)], 4)] * 2


def test_each_variance_has_its_own_rate_and_only_those_at_an_edge_go_on(tuned: Callable) -> None:
    rates, planted, _ = tuned(lambda t, rate, seed: peak(0.03 if t == 1 else 0.3)(t, rate, seed), variances=(1.0, 9.0))
    assert rates == [0.03, 0.333]
    assert planted.calls[1][0] == [(9.0, 0.333)]


def test_a_single_candidate_is_not_widened(tuned: Callable) -> None:
    rates, planted, _ = tuned(peak(1.0), learning_rates=(0.01,))
    assert rates == [0.01]
    assert len(planted.calls) == 1


def test_tuning_runs_are_as_long_as_the_reported_ones_and_of_other_seeds(tuned: Callable) -> None:
    _, planted, rows = tuned(peak(0.03), max_steps=11)
    assert [(seeds, steps) for _, seeds, steps in planted.calls] == [([1000, 1001], 11)]
    assert {row["seed"] for row in rows}.isdisjoint(job().seeds)


def ridge(best_t: float, best_rate: float) -> Callable[..., float]:
    return lambda t, rate, seed: 1 - abs(math.log10(t / best_t)) / 10 - abs(math.log10(rate / best_rate)) / 10


@pytest.mark.parametrize(
    ("best", "chosen", "tried"),
    [
        (0.1, (0.1, 0.03), 1),
        (10.0, (10.0, 0.03), 3),  # 1.0 was the last candidate: 10, then 100 are tried, at every rate
        (1e-4, (0.001, 0.03), 2),
    ],
)
def test_sigma_is_tuned_with_the_rate_and_its_grid_widens_too(
    best: float, chosen: tuple, tried: int, monkeypatch: pytest.MonkeyPatch, digits: Data
) -> None:
    planted = Planted(ridge(best, 0.03) if best > 1e-3 else ridge(1e-3, 0.03))
    monkeypatch.setattr(tuning, "train", planted)
    of = job(noise_variance=(None,), variance_candidates=(0.001, 0.01, 0.1, 1.0), learning_rates=(0.01, 0.03, 0.1))
    found, rows = tuning.tune(of, digits, SAMPLES, [None], "cpu", lambda steps: None)
    assert found == [chosen]
    assert len(planted.calls) == tried
    assert len(planted.calls[0][0]) == 12
    for groups, *_ in planted.calls[1:]:
        assert sorted(rate for _, rate in groups) == [0.01, 0.03, 0.1]
        assert len({t for t, _ in groups}) == 1
    assert len(rows) == (12 + 3 * (tried - 1)) * 2 * 2


def test_a_cell_is_trained_at_the_rates_that_tuning_chose(digits: Data) -> None:
    of = job(learning_rates=(0.001, 0.05), num_tuning_seeds=1, max_widenings=0)
    cell = worker.train_cell(of, digits, SAMPLES, [0.04, 1.0], "cpu", lambda steps: None)
    chosen = {(row["noise_variance"], row["learning_rate"]) for row in cell.records}
    assert chosen == {(0.04, 0.05), (1.0, 0.05)}
    assert {row["seed"] for row in cell.records} == {0, 1}
    assert {row["seed"] for row in cell.tuning} == {1000}
    assert {row["step"] for row in cell.tuning} == {0, 10}


def test_a_cell_whose_sigma_is_tuned_is_trained_at_one_of_the_candidates(digits: Data) -> None:
    of = kind(
        "parameters", noise_variance=(None,), variance_candidates=(1e-4, 1e-2), learning_rates=(0.01,), max_steps=3
    )
    cell = worker.train_cell(of, digits, SAMPLES, [None], "cpu", lambda steps: None)
    (chosen,) = {row["noise_variance"] for row in cell.records}
    assert chosen in {row["noise_variance"] for row in cell.tuning} >= {1e-4, 1e-2}
    assert {row["sigma"] for row in cell.records if row["step"] > 0} == {float(f"{math.sqrt(chosen):.4g}")}


@pytest.mark.parametrize("name", ["independent", "parameters"])
def test_a_cell_s_runs_end_with_the_step_that_reaches_its_queries(name: str, digits: Data) -> None:
    """640 queries are two steps and a half of 8 · 32."""
    of = kind(name, max_queries=640, learning_rates=(0.01,), num_tuning_seeds=1, max_steps=10)
    cell = worker.train_cell(of, digits, SAMPLES, [0.04], "cpu", lambda steps: None)
    for seed in (0, 1):
        last = [row for row in cell.records if row["seed"] == seed][-1]
        assert (last["step"], last["queries"]) == (3, 768)
        assert last["test_accuracy"] > 0
    assert max(row["step"] for row in cell.tuning) == 3
