"""A job knows its length, its seeds and its draws before anything of it runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from esgrad import menu
from esgrad.suite import config
from esgrad.training.job import FIRST_TUNING_SEED, Job

ROOT = Path(__file__).parents[1]
EXACT = {"space": "logits", "noise": "", "credit": "", "shaping": "", "num_samples": (None,)}


def job(**changes) -> Job:
    """The smoke suite's lecture on digits: B = 32, K = 10, two seeds of 60 steps, unless told otherwise."""
    jobs = config.jobs(config.read(ROOT / "config" / "smoke.yaml"))
    (made,) = (job for job in jobs if job.method == "lecture")
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("max_queries", "steps"), [(1, 1), (255, 1), (256, 1), (257, 2), (640, 3), (768, 3), (15_360, 60), (10**9, 60)]
)
def test_a_run_ends_with_the_step_that_reaches_its_queries(max_queries: int, steps: int) -> None:
    assert job(max_queries=max_queries).steps(8) == steps  # of 8 · 32 = 256 queries each


def test_where_nobody_is_asked_a_run_has_its_steps_whatever_the_queries() -> None:
    assert job(max_queries=640, exact="smoothed", **EXACT).steps(None) == 60
    assert job(max_queries=640, exact="backprop", **EXACT).steps(None) == 20
    assert job(max_queries=None).steps(8) == 60


@pytest.mark.parametrize("num_seeds", [1, 2, 10])
@pytest.mark.parametrize("exact", [None, *menu.names("exact")])
def test_only_backprop_has_seeds_that_set_the_target_levels(exact: str | None, num_seeds: int) -> None:
    levels = [1000, 1001, 1002, 1003, 1004] if exact == "backprop" else []
    assert job(exact=exact, num_seeds=num_seeds).seeds == [*range(num_seeds), *levels]


@pytest.mark.parametrize("exact", [None, *menu.names("exact")])
def test_the_seeds_that_choose_a_learning_rate_are_never_reported(exact: str | None) -> None:
    made = job(exact=exact, num_seeds=10, num_tuning_seeds=7)
    assert len(set(made.tuning_seeds)) == 7
    assert set(made.tuning_seeds).isdisjoint(seed for seed in made.seeds if seed < FIRST_TUNING_SEED)


STRINGS = {"blackbox": "digit_sum", "dataset": "digit_strings-2", "num_classes": 10}
PARAMETERS = {"space": "parameters", "model": "linear", "shaping": "centered_ranks"}
NUMBERS = {
    "logits": ({}, 32 * 10),
    "logits, K = 30": ({"logit_dim": 30}, 32 * 30),
    "logits of two digits": (STRINGS, 32 * 10 * 2),
    "logits of a batch as one": ({"space": "batch", "batch_size": 16}, 16 * 10),
    "parameters, whatever B": (PARAMETERS | {"batch_size": 64}, 64 * 10 + 10),
    "parameters of the mlp": (PARAMETERS | {"model": "mlp", "hidden_size": 16}, 64 * 16 + 16 + 16 * 10 + 10),
    "parameters, of which two digits share one network": (PARAMETERS | STRINGS, 64 * 10 + 10),
}
"""Coordinates of the point that noise surrounds, counted by hand: digits have 8 × 8 pixels."""


@pytest.mark.parametrize(("changes", "numbers"), NUMBERS.values(), ids=NUMBERS)
def test_draws_are_samples_times_coordinates_times_steps_times_seeds(changes: dict, numbers: int) -> None:
    assert job(**changes).draws(4) == 4 * numbers * 60 * 2
    assert job(**changes, noise="mirrored").draws(4) == 2 * numbers * 60 * 2, "half of them are mirror images"
    assert job(**changes, max_steps=7, num_seeds=3).draws(10) == 10 * numbers * 7 * 3


@pytest.mark.parametrize(
    ("changes", "readings"),
    [({}, 32), ({"logit_dim": 30}, 32), (STRINGS, 64), ({"space": "batch", "batch_size": 16}, 16)],
)
def test_a_sample_credited_with_its_class_draws_one_number_a_reading(changes: dict, readings: int) -> None:
    assert job(noise="gumbel", credit="class", **changes).draws(4) == 4 * readings * 60 * 2


def test_an_exact_gradient_draws_nothing() -> None:
    assert job(exact="smoothed", **EXACT).draws(None) == 0
