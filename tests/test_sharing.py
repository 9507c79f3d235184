"""What two experiments ask for is trained once, and what is borrowed equals what is trained, row for row."""

from dataclasses import replace
from itertools import permutations

import pandas as pd
import pytest

from esgrad.suite import config as configuration
from esgrad.suite import gathered as suite
from esgrad.suite import records, sharing, worker
from esgrad.tasks import data
from esgrad.training.job import Job
from tests import running

LARGE = running.job(experiment="large", num_samples=(2, 4, 8), num_seeds=3)
SMALL = replace(LARGE, experiment="small", num_samples=(8, 2), num_seeds=2)
EXACT = {
    "exact": "backprop",
    "blackbox": "cross_entropy",
    "noise": "",
    "credit": "",
    "shaping": "",
    "num_samples": (None,),
}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_job_that_trains_the_most_lends_and_never_borrows(order) -> None:
    middle = replace(LARGE, experiment="middle", num_samples=(2, 8))
    jobs = [(LARGE, middle, SMALL)[place] for place in order]
    assert sharing.lenders(jobs) == dict.fromkeys(jobs, LARGE)


def test_of_two_that_ask_for_the_same_the_first_lends() -> None:
    again = replace(LARGE, experiment="again")
    assert set(sharing.lenders([LARGE, again]).values()) == {LARGE}
    assert set(sharing.lenders([again, LARGE]).values()) == {again}


@pytest.mark.parametrize(
    "change",
    [
        {"num_samples": (2, 16)},
        {"num_seeds": 4},
        {"learning_rates": (0.01, 0.03)},
        {"noise_variance": (2.0,)},
        {"max_steps": 9},
        {"max_queries": 1000},
        {"batch_size": 16},
        {"hidden_size": 8},
        {"method": "other"},
        {"shaping": "maxrl"},
        {"num_tuning_seeds": 1},
        {"weight_decay": 0.0},
        {"draws_per_cell": 1e6},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_job_that_asks_for_anything_else_trains_itself(change) -> None:
    other = replace(SMALL, **change)
    assert sharing.lenders([LARGE, other])[other] == other


def test_what_the_lender_skips_is_trained() -> None:
    draws = LARGE.draws(8)
    lender = replace(LARGE, draws_per_cell=draws - 1)
    borrower = replace(SMALL, draws_per_cell=draws - 1)  # fewer seeds draw less, and are not skipped
    assert {n: reason is None for n, _, reason in lender.cells()} == {2: True, 4: True, 8: False}
    assert sharing.lenders([lender, borrower])[borrower] == borrower


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    data.save(data.decode("digits", "data"), path := tmp_path_factory.mktemp("data") / "digits.safetensors")
    return path


def trained(job: Job, digits, out) -> dict[str, pd.DataFrame]:
    worker.run(job, digits, out, "cpu")
    return {part: records.read(out / f"{part}.parquet") for part in ("records", "tuning")}


@pytest.mark.parametrize("words", [{}, EXACT, {"space": "parameters"}], ids=["noise", "exact", "t tuned"])
def test_what_is_borrowed_is_what_would_have_been_trained(words, digits, tmp_path) -> None:
    tuned = {"noise_variance": (None,), "variance_candidates": (0.01, 0.1)} if "space" in words else {}
    tuning = {"num_tuning_seeds": 5, "max_widenings": 1}
    lender, job = (replace(each, **{**tuning, **tuned, **words}) for each in (LARGE, SMALL))
    job = replace(job, num_samples=lender.num_samples[::2])  # in the lender's order, which is that of its rows
    assert sharing.lenders([job, lender]) == {lender: lender, job: lender}
    lent, own = trained(lender, digits, tmp_path / "lender"), trained(job, digits, tmp_path / "own")
    for part, table in own.items():
        borrowed = sharing.borrowed(lent[part], job).reset_index(drop=True)
        pd.testing.assert_frame_equal(borrowed, table, check_exact=True)
        assert 0 < len(table) <= len(lent[part])
    assert len(own["records"]) < len(lent["records"])


def test_a_suite_holds_what_it_borrowed_under_the_borrowers_name(digits, tmp_path) -> None:
    one = {"dataset": "digits", "methods": ["lecture"], "max_steps": 3, "num_samples": [1, 2], "num_seeds": 3}
    read = configuration.validated(
        {
            "name": "twice",
            "methods": {"lecture": {"shaping": "raw"}},
            "experiments": {"few": one | {"num_samples": 2, "num_seeds": 2}, "many": one},
        }
    )
    records.write_json(read, tmp_path / "suite.json")
    lenders = sharing.lenders(configuration.jobs(read))
    (lender,) = set(lenders.values())
    worker.run(lender, digits, tmp_path / "runs" / lender.path, "cpu")
    for partial in (False, True):
        reported = suite.load(tmp_path, partial=partial).reported
        held = {
            name: set(zip(rows["num_samples"], rows["seed"], strict=True))
            for name, rows in reported.groupby("experiment")
        }
        assert held == {"few": {(2, 0), (2, 1)}, "many": {(n, seed) for n in (1, 2) for seed in range(3)}}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["many"]
