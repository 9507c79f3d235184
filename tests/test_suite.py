"""A suite is gathered from whole records of these sources, or says in one line why it cannot be."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from esgrad.measurement import columns
from esgrad.measurement import specifications as measurements
from esgrad.suite import config, records, worker
from esgrad.suite import gathered as suite
from esgrad.tasks import data

ROOT = Path(__file__).parents[1]
LECTURE = Path("runs/headline/digits/mlp/zero_one/lecture/logit_dim=10/batch_size=32")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A suite of three steps, whose lecture failed at N = 2 and was run again; without gradient quality."""
    folder = tmp_path_factory.mktemp("suite")
    data.save(data.decode("digits", "data"), digits := folder / "digits.safetensors")
    read = config.read(ROOT / "config" / "smoke.yaml")
    tiny = {"methods": ["backprop", "maxrl", "lecture"], "max_steps": 3, "num_samples": [1, 2]}
    read["experiments"] = {"headline": read["experiments"]["headline"] | tiny}
    for section, each in {"gradient_quality": [10, 30], "samples_needed": [2, 10]}.items():
        read[section]["logit_dim"] = each
    records.write_json(config.validated(read), folder / "whole/suite.json")
    train_cell = worker.train_cell

    def failing(job, images, num_samples, *rest):
        if (job.method, num_samples) == ("lecture", 2):
            raise MemoryError("planted")
        return train_cell(job, images, num_samples, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "train_cell", failing)
        for job in config.jobs(read):
            out = folder / "whole/runs" / job.path
            if job.method == "lecture":
                with pytest.raises(RuntimeError, match="planted"):
                    worker.run(job, digits, out, "cpu")
                shutil.copytree(folder / "whole", folder / "failed")
                patch.undo()
            worker.run(job, digits, out, "cpu")
    return folder


@pytest.fixture
def whole(made, tmp_path):
    return shutil.copytree(made / "whole", tmp_path / "whole")


@pytest.fixture
def failed(made, tmp_path):
    return shutil.copytree(made / "failed", tmp_path / "failed")


def cells(table):
    return set(zip(table["method"], table["num_samples"].fillna(0), strict=True))


MEASURED = {"gradient_quality": columns.QUALITY_COLUMNS, "samples_needed": columns.SAMPLES_COLUMNS}


def measure(folder, rows=0):
    """Plant what the smoke suite measures, each K with so many rows."""
    asked = json.loads((folder / "suite.json").read_text())
    for section, wanted in MEASURED.items():
        for k in asked[section]["logit_dim"]:
            frame = pd.DataFrame(columns=wanted, index=range(rows)).assign(logit_dim=k)
            records.write(frame, folder / measurements.path(section, k))


@pytest.mark.parametrize("section", MEASURED)
def test_without_a_measurement_a_suite_is_refused_unless_partial(whole, section):
    measure(whole)
    (whole / measurements.path(section, 10)).unlink()
    with pytest.raises(ValueError, match=rf"{section}/logit_dim=10\.parquet is missing: run the suite again"):
        suite.load(whole)
    assert list(getattr(suite.load(whole, partial=True), section).columns) == MEASURED[section]


def test_measurements_are_gathered_over_k(whole):
    loaded = suite.load(whole, partial=True)
    assert len(loaded.gradient_quality) == len(loaded.samples_needed) == 0
    assert list(loaded.gradient_quality.columns) == columns.QUALITY_COLUMNS
    trained = {("backprop", 0), ("maxrl", 2), ("lecture", 1), ("lecture", 2)}
    assert cells(loaded.tuning) == trained
    assert cells(loaded.records) == trained | {("label_search", 0)}
    measure(whole, rows=2)
    for partial in (False, True):
        loaded = suite.load(whole, partial=partial)
        assert loaded.gradient_quality["logit_dim"].tolist() == [10, 10, 30, 30]
        assert loaded.samples_needed["logit_dim"].tolist() == [2, 2, 10, 10]


def test_a_measurement_without_its_columns_is_refused(whole):
    measure(whole)
    path = whole / measurements.path("gradient_quality", 30)
    records.write(pd.DataFrame({"logit_dim": [30]}), path)
    with pytest.raises(ValueError, match=rf"{path} lacks the column dataset"):
        suite.load(whole)


def test_a_configuration_that_measures_nothing_asks_for_no_file(whole):
    asked = json.loads((whole / "suite.json").read_text())
    for section in MEASURED:
        del asked[section]
    records.write_json(asked, whole / "suite.json")
    loaded = suite.load(whole)
    for section, wanted in MEASURED.items():
        assert list(getattr(loaded, section).columns) == wanted


def test_a_skipped_cell_is_listed_with_its_reason(whole):
    skipped = suite.load(whole, partial=True).skipped
    assert cells(skipped) == {("maxrl", 1)}
    assert "identically 0" in skipped["reason"].item()


def test_seeds_that_tune_or_set_levels_are_recorded_but_not_reported(whole):
    loaded = suite.load(whole, partial=True)
    assert set(loaded.records["seed"]) == {0, 1, 1000, 1001, 1002, 1003, 1004}
    assert set(loaded.reported["seed"]) == {0, 1}
    assert set(loaded.tuning["seed"]) == {1000}


@pytest.mark.parametrize("part", ["records", "tuning"])
@pytest.mark.parametrize("partial", [False, True])
def test_records_of_other_sources_are_refused_but_where_they_are_a_reference(whole, part, partial):
    measure(whole)
    table = records.read(path := whole / LECTURE / f"{part}.parquet")
    records.write(table.assign(source_digest="0" * 16), path)
    with pytest.raises(ValueError, match=rf"{path} was made by other sources"):
        suite.load(whole, partial=partial)
    loaded = suite.load(whole, partial=partial, current=False)
    assert "0" * 16 in set(getattr(loaded, part)["source_digest"])


def test_finished_cells_of_a_failed_job_are_taken_if_partial_alone(failed):
    with pytest.raises(ValueError, match=r"records\.parquet"):
        suite.load(failed)
    loaded = suite.load(failed, partial=True)
    trained = {("backprop", 0), ("maxrl", 2), ("lecture", 1)}
    assert cells(loaded.tuning) == trained
    assert cells(loaded.records) == trained | {("label_search", 0)}


def test_cells_still_kept_beside_whole_records_are_not_counted_twice(whole, failed):
    expected = suite.load(whole, partial=True)
    (kept,) = (failed / LECTURE).glob("cells-*")
    shutil.copytree(kept, whole / LECTURE / kept.name)
    loaded = suite.load(whole, partial=True)
    for part in ("records", "tuning"):
        pd.testing.assert_frame_equal(getattr(loaded, part), getattr(expected, part))


def test_kept_cells_of_other_settings_are_not_taken(failed):
    (kept,) = (failed / LECTURE).glob("cells-*")
    kept.rename(kept.with_name("cells-0123456789abcdef"))
    assert "lecture" not in set(suite.load(failed, partial=True).records["method"])


def test_a_suite_of_nothing_yet_has_every_column(whole):
    shutil.rmtree(whole / "runs")
    loaded = suite.load(whole, partial=True)
    assert len(loaded.records) == len(loaded.tuning) == 0
    assert list(loaded.records.columns) == list(records.COLUMNS)
