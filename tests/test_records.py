"""Records are whole or not there, and one that is damaged or of other sources is refused by its name."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from esgrad import files
from esgrad.suite import config, records, sources
from esgrad.training.job import Job

ROOT = Path(__file__).parents[1]
ROW = {
    "num_samples": 4,
    "noise_variance": 1.0,
    "learning_rate": 0.01,
    "seed": 0,
    "step": 3,
    "queries": 384.0,
    "forwards": 96.0,
    "backwards": 96.0,
    "examples": 96.0,
    "validation_accuracy": 0.5,
    "test_accuracy": float("nan"),
    "dead_classes": 1,
    "status": "ok",
}


@pytest.fixture
def job() -> Job:
    jobs = config.jobs(config.read(ROOT / "config" / "smoke.yaml"))
    return next(job for job in jobs if job.method == "maxrl")


@pytest.fixture
def table(job: Job) -> pd.DataFrame:
    diverged = ROW | {"validation_accuracy": float("nan"), "dead_classes": None, "status": "diverged"}
    return records.frame(job, [ROW, diverged, ROW | {"num_samples": None, "queries": float("nan")}])


def refused(path: Path) -> str:
    with pytest.raises(ValueError, match=str(path)) as caught:
        records.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_record_is_read_as_it_was_written(table: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("a", "b"):
        records.write(table, tmp_path / "new" / f"{name}.parquet")
    pd.testing.assert_frame_equal(records.read(tmp_path / "new/a.parquet"), table)
    assert (tmp_path / "new/a.parquet").read_bytes() == (tmp_path / "new/b.parquet").read_bytes()
    assert table.dtypes.astype(str).to_dict() == {
        column: str(pd.api.types.pandas_dtype(kind)) for column, kind in records.COLUMNS.items()
    }
    assert table["dead_classes"].isna().tolist() == [False, True, False]


def test_a_record_tells_the_words_and_sources_of_its_job(table: pd.DataFrame, job: Job) -> None:
    for column in ("experiment", "method", "space", "noise", "shaping", "optimizer", "logit_dim", "batch_size"):
        assert (table[column] == getattr(job, column)).all(), column
    assert set(table["source_digest"]) == {sources.digest_of_job(job)}


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_record_that_is_cut_short_is_refused(share: float, table: pd.DataFrame, tmp_path: Path) -> None:
    records.write(table, path := tmp_path / "records.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "cannot be read as Parquet" in refused(path)


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no Parquet at all")
    assert "delete it and run again" in refused(tmp_path / "text.parquet")
    refused(tmp_path / "missing.parquet")


@pytest.mark.parametrize("column", ["queries", "source_digest"])
def test_a_record_without_one_of_its_columns_is_refused(column: str, table: pd.DataFrame, tmp_path: Path) -> None:
    records.write(table.drop(columns=column), tmp_path / "records.parquet")
    assert f"lacks the column {column}" in refused(tmp_path / "records.parquet")


def test_a_record_of_other_sources_is_refused(table: pd.DataFrame, job: Job) -> None:
    records.check_sources(table, job, "here")
    table.loc[1, "source_digest"] = other = "0" * 16
    with pytest.raises(ValueError, match=rf"^here was made by other sources \(digest {other}.*delete it"):
        records.check_sources(table, job, "here")


class Cut:
    """A table whose writing stops half-way, as on a full disk."""

    def to_parquet(self, path: Path, **_: object) -> None:
        path.write_bytes(b"PAR1 and then")
        raise OSError("no space left")


def test_a_write_that_fails_leaves_neither_a_record_nor_a_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space left"):
        records.write(Cut(), tmp_path / "records.parquet")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_record_there_was(table: pd.DataFrame, tmp_path: Path) -> None:
    records.write(table, path := tmp_path / "records.parquet")
    before = path.read_bytes()
    with pytest.raises(OSError, match="no space left"):
        records.write(Cut(), path)  # type: ignore[arg-type]
    assert [each.name for each in tmp_path.iterdir()] == ["records.parquet"]
    assert path.read_bytes() == before


def test_a_final_name_appears_when_all_is_written(tmp_path: Path) -> None:
    with files.written(tmp_path / "text.json") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "text.json").exists()
        assert temporary.parent == tmp_path, "a rename is atomic within one folder only"
        assert temporary.suffix == ".json"
    assert [path.name for path in tmp_path.iterdir()] == ["text.json"]


def test_kept_cells_have_a_folder_for_each_settings_and_sources(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = records.kept_cells(job, tmp_path)
    assert here.parent == tmp_path
    assert here == records.kept_cells(job, tmp_path)
    assert here != records.kept_cells(replace(job, max_steps=job.max_steps + 1), tmp_path)
    monkeypatch.setattr(sources, "digest_of_job", lambda job: "0" * 16)
    assert here != records.kept_cells(job, tmp_path)
