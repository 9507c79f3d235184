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
    assert chosen(0.5) == [0.03 if rate == 0.01 else 0.01], "the others' error is 0, and it is theirs that counts"


def spread_out(means: dict[float, float], errors: dict[float, float]) -> Callable[..., float]:
    """Two seeds above and below each rate's mean by what is, of two, its standard error."""
    return lambda t, rate, seed: means[rate] + (errors[rate] if seed % 2 else -errors[rate])


@pytest.mark.parametrize(("gap", "chosen"), [(0.029, 0.01), (0.031, 0.03)])
def test_the_smallest_rate_within_the_best_s_own_standard_error_is_chosen(
    gap: float, chosen: float, tuned: Callable
) -> None:
    """A wild rate beside them, here .1, must not lend its error: it would let the smallest rate of all pass."""
    means, errors = {0.01: 0.8 - gap, 0.03: 0.8, 0.1: 0.5}, {0.01: 0.2, 0.03: 0.03, 0.1: 0.3}
    rates, planted, _ = tuned(spread_out(means, errors))
    assert rates == [chosen]
    assert len(planted.calls) == 1, "the best lies inside, the grid is not widened though the chosen lies at its edge"


def test_a_rate_between_that_is_worse_does_not_hide_a_smaller_one(tuned: Callable) -> None:
    means = {0.003: 0.5, 0.01: 0.795, 0.03: 0.7, 0.1: 0.8, 0.3: 0.799}
    score = spread_out(means, dict.fromkeys(means, 0.01))
    assert tuned(score, learning_rates=tuple(means))[0] == [0.01]


def test_with_one_seed_no_error_is_known_and_the_best_rate_is_chosen(tuned: Callable) -> None:
    means = {0.01: 0.7999, 0.03: 0.8, 0.1: 0.5}
    assert tuned(lambda t, rate, seed: means[rate], num_tuning_seeds=1)[0] == [0.03]


def test_the_best_rate_at_an_edge_widens_the_grid_whichever_is_chosen(tuned: Callable) -> None:
    """.01 is within an error of .1 and is chosen; beyond .1, which is best, a rate is tried all the same."""
    means = {0.00333: 0.1, 0.01: 0.79, 0.03: 0.78, 0.1: 0.8, 0.333: 0.5}
    rates, planted, _ = tuned(spread_out(means, dict.fromkeys(means, 0.02)))
    assert rates == [0.01]
    assert [groups for groups, *_ in planted.calls[1:]] == [[(1.0, 0.333)]]


def test_the_noise_at_one_variance_lends_no_error_to_another(tuned: Callable) -> None:
    means = {0.01: 0.79, 0.03: 0.8, 0.1: 0.5}

    def score(t: float, rate: float, seed: int) -> float:
        return spread_out(means, dict.fromkeys(means, 0.05 if t == 9 else 0.001))(t, rate, seed)

    assert tuned(score, variances=(1.0, 9.0))[0] == [0.03, 0.01]


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
