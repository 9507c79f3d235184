"""A job as the workflow runs it: whole records or none, finished cells kept over failures, no names leaked."""

import dataclasses
import json
import math
import platform
from pathlib import Path

import pandas as pd
import pytest

from esgrad.suite import config, records, worker
from esgrad.tasks import data
from esgrad.training import tuning

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.safetensors"
    data.save(data.decode("digits", "data"), path)
    return path


def smoke_job(**experiment):
    read = config.read(ROOT / "config" / "smoke.yaml")
    one = read["experiments"]["headline"] | {"methods": "lecture", "max_steps": 5, "num_samples": [1, 2, 3]}
    (job,) = config.jobs(config.validated(read | {"experiments": {"one": one | experiment}}))
    return job


@pytest.fixture
def counted(monkeypatch):
    """The N that were trained, and one of them that can be made to fail."""
    trained, failing, train_cell = [], set(), worker.train_cell

    def spy(job, images, num_samples, *rest):
        trained.append(num_samples)
        if num_samples in failing:
            raise MemoryError("planted")
        return train_cell(job, images, num_samples, *rest)

    monkeypatch.setattr(worker, "train_cell", spy)
    return trained, failing


def test_a_job_leaves_four_files_and_no_kept_cells(digits, tmp_path):
    worker.run(smoke_job(), digits, tmp_path / "out", "cpu")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "provenance.json",
        "records.parquet",
        "timing.parquet",
        "tuning.parquet",
    ]
    table = records.read(tmp_path / "out/records.parquet")
    assert set(table["num_samples"]) == {1, 2, 3}
    assert table.groupby(["num_samples", "seed"])["test_accuracy"].count().eq(1).all(), "in a run's last row only"


def test_a_cell_that_fails_leaves_the_others_and_the_next_run_goes_on_from_there(digits, tmp_path, counted):
    trained, failing = counted
    failing.add(2)
    with pytest.raises(RuntimeError, match=r"N = 2 \(MemoryError: planted\); the other cells are kept"):
        worker.run(smoke_job(), digits, tmp_path / "out", "cpu")
    assert trained == [1, 2, 3], "those after it run, too"
    assert not (tmp_path / "out/records.parquet").exists(), "nothing half-done has a final name"
    failing.clear(), trained.clear()
    worker.run(smoke_job(), digits, tmp_path / "out", "cpu")
    assert trained == [2]
    worker.run(smoke_job(), digits, tmp_path / "whole", "cpu")
    for part in ("records", "tuning"):
        resumed, whole = (tmp_path / folder / f"{part}.parquet" for folder in ("out", "whole"))
        assert resumed.read_bytes() == whole.read_bytes(), "to the bit"


def test_a_kill_while_tuning_loses_no_heat_that_has_run(digits, tmp_path, monkeypatch):
    """Of two heats the second is killed; the next call trains it and the reported runs, to the same records."""
    job, train, trained, kills = smoke_job(num_samples=2), tuning.train, [], {2}

    def spy(*arguments, **words):
        trained.append(arguments[4])  # the seeds
        if len(trained) in kills:
            raise KeyboardInterrupt
        return train(*arguments, **words)

    monkeypatch.setattr(tuning, "train", spy)
    job = dataclasses.replace(job, num_tuning_seeds=8, learning_rates=(0.001, 0.0011))
    with pytest.raises(KeyboardInterrupt):
        worker.run(job, digits, tmp_path / "out", "cpu")
    assert len(trained) == 2
    worker.run(job, digits, tmp_path / "out", "cpu")
    assert trained[2] == trained[1], "the heat that was killed, and not the first again"
    kills.clear()
    worker.run(job, digits, tmp_path / "whole", "cpu")
    for part in ("records", "tuning"):
        found, expected = (pd.read_parquet(tmp_path / way / f"{part}.parquet") for way in ("out", "whole"))
        pd.testing.assert_frame_equal(found, expected)


def test_a_heat_that_is_kept_moves_the_bar_as_far_as_one_that_is_trained(digits, tmp_path):
    job, ticks, images = smoke_job(max_steps=6), [], data.load(digits)
    for _ in range(2):
        ticks.append(0)

        def tick(steps):
            ticks[-1] += steps

        tuning.tune(job, images, 3, [1.0], "cpu", tick, records.KeptHeats(tmp_path))
    assert ticks[0] == ticks[1] > 0


def test_a_kept_heat_of_other_groups_or_seeds_is_not_taken(tmp_path):
    rows = [{"step": 3, "validation_accuracy": math.nan, "dead_classes": None, "learning_rate": 0.1}]
    asked = [(None, 0.1)], [5, 6]
    assert records.KeptHeats(tmp_path)(*asked, lambda: rows) == rows
    (kept,) = records.KeptHeats(tmp_path)(*asked, lambda: pytest.fail("trained again"))
    assert kept["dead_classes"] is None
    assert math.isnan(kept["validation_accuracy"])
    for other in ([(None, 0.2)], [5, 6]), ([(None, 0.1)], [5, 7]):
        assert records.KeptHeats(tmp_path)(*other, list) == []


def test_kept_cells_of_other_settings_are_not_taken(digits, tmp_path, counted):
    trained, failing = counted
    failing.add(2)
    with pytest.raises(RuntimeError):
        worker.run(smoke_job(), digits, tmp_path / "out", "cpu")
    failing.clear(), trained.clear()
    worker.run(smoke_job(max_steps=6), digits, tmp_path / "out", "cpu")
    assert trained == [1, 2, 3]


@pytest.mark.parametrize("cell", ["", "cells-*/2"])
@pytest.mark.parametrize("part", ["tuning", "timing"])
def test_a_write_that_fails_leaves_no_records_and_the_next_run_makes_them(digits, tmp_path, part, cell, monkeypatch):
    """The records are the last file of a job; a kept cell without all its files does not count as finished."""
    write, out = records.write, tmp_path / "out"

    def full(table, path):
        if path.name == f"{part}.parquet" and path.parent.match(str(out / cell)):
            raise OSError("no space left")
        write(table, path)

    monkeypatch.setattr(records, "write", full)
    with pytest.raises(OSError, match="no space left"):
        worker.run(smoke_job(), digits, out, "cpu")
    assert not (out / "records.parquet").exists()
    monkeypatch.setattr(records, "write", write)
    worker.run(smoke_job(), digits, out, "cpu")
    worker.run(smoke_job(), digits, tmp_path / "whole", "cpu")
    for each in ("records", "tuning"):
        assert (out / f"{each}.parquet").read_bytes() == (tmp_path / "whole" / f"{each}.parquet").read_bytes()


def test_a_skipped_cell_is_not_trained(digits, tmp_path, counted):
    trained, _ = counted
    job = smoke_job(methods="maxrl")
    assert [n for n, _, reason in job.cells() if reason] == [1]
    worker.run(job, digits, tmp_path / "out", "cpu")
    assert trained == [2, 3]
    for part in worker.PARTS:
        assert set(pd.read_parquet(tmp_path / f"out/{part}.parquet")["num_samples"]) == {2, 3}


def test_records_are_the_same_whatever_the_grid_around_a_cell(digits, tmp_path):
    worker.run(smoke_job(), digits, tmp_path / "three", "cpu")
    worker.run(smoke_job(num_samples=2), digits, tmp_path / "one", "cpu")
    three, one = (records.read(tmp_path / name / "records.parquet") for name in ("three", "one"))
    pd.testing.assert_frame_equal(three[three["num_samples"] == 2].reset_index(drop=True), one)


def test_provenance_names_versions_and_hardware_but_no_machine(digits, tmp_path):
    worker.run(smoke_job(num_samples=1), digits, tmp_path / "out", "cpu")
    made_by = json.loads((tmp_path / "out/provenance.json").read_text())
    assert {"torch", "numba", "esgrad", "python", "hardware"} <= set(made_by)
    assert platform.node() not in made_by["hardware"]
    assert str(Path.home()) not in json.dumps(made_by)


def test_a_gpu_that_is_not_there_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="device 'cuda' is asked for, but torch finds no GPU"):
        worker.resolve("cuda")
    assert worker.resolve("auto") == worker.resolve("cpu") == "cpu"
