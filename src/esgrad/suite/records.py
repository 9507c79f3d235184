"""What a job leaves behind: tidy rows, one for each scheduled evaluation, written whole or not at all."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from esgrad.files import written
from esgrad.suite import sources
from esgrad.training.job import Job

COLUMNS = {
    "experiment": "string",
    "dataset": "string",
    "model": "string",
    "blackbox": "string",
    "method": "string",
    "relative": "string",
    "control": "string",
    "space": "string",
    "noise": "string",
    "credit": "string",
    "shaping": "string",
    "schedule": "string",
    "optimizer": "string",
    "logit_dim": "int64",
    "num_classes": "int64",
    "batch_size": "int64",
    "num_samples": "Int64",
    "noise_variance": "float64",
    "learning_rate": "float64",
    "seed": "int64",
    "step": "int64",
    "queries": "float64",
    "forwards": "float64",
    "backwards": "float64",
    "examples": "float64",
    "validation_accuracy": "float64",
    "test_accuracy": "float64",
    "dead_classes": "Int64",
    "spread": "float64",
    "sigma": "float64",
    "status": "string",
    "source_digest": "string",
}
"""One row an evaluation. Validation accuracy in every row, test accuracy in a run's last row only; `queries` is NaN
for exact smoothing; `dead_classes` counts the classes never predicted on the validation set; `spread` is the standard
deviation of an example's logits (root mean square over the validation set), `sigma` the noise's in the last step (mean
over the batch)."""


def frame(job: Job, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows of a job as a table with every column, the job's own words filled in."""
    words = {column: _word(getattr(job, column)) for column in COLUMNS if hasattr(job, column)}
    digest = sources.digest_of_job(job)
    table = pd.DataFrame([{**words, **row, "source_digest": digest} for row in rows], columns=list(COLUMNS))
    return table.astype(COLUMNS)


def _word(value: Any) -> Any:
    """A word that is not there is empty: a table has no two kinds of nothing in a column of words."""
    return "" if value is None else value


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table as Parquet, atomically; the same rows give the same bytes."""
    with written(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")


def read(path: str | Path) -> pd.DataFrame:
    """A table of records that `write` wrote; ValueError in one line for a file that is none or is cut short."""
    return read_whole(path, list(COLUMNS)).astype(COLUMNS)


def read_whole(path: str | Path, columns: list[str]) -> pd.DataFrame:
    """A table with these columns that `write` wrote; ValueError in one line, as `read`."""
    if not Path(path).is_file():
        raise ValueError(f"{path} is missing: run the suite again")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as Parquet ({_first_line(error)}): delete it and run again") from None
    if missing := [column for column in columns if column not in table]:
        raise ValueError(
            f"{path} lacks the column {missing[0]}: it is no record of this suite; delete it and run again"
        )
    return table


def check_sources(table: pd.DataFrame, job: Job, path: str | Path) -> None:
    """ValueError if a record was made by other sources than these."""
    here = sources.digest_of_job(job)
    if other := sorted(set(table["source_digest"]) - {here}):
        raise ValueError(
            f"{path} was made by other sources (digest {other[0]}, these have {here}): delete it and run again"
        )


def kept_cells(job: Job, out: Path) -> Path:
    """The folder of a job's finished cells until all are: its name tells the job's settings and sources."""
    identity = job.json() + sources.digest_of_job(job)
    return out / f"cells-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


class KeptHeats:
    """The heats of a cell's tuning (`training.tuning.Heat`), each in a file of a folder from the time it has run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0

    def __call__(
        self, groups: Sequence[tuple[Any, ...]], seeds: Sequence[int], trained: Callable[[], list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        self.number += 1
        path, asked = self.folder / f"{self.number}.json", {"groups": list(map(list, groups)), "seeds": list(seeds)}
        if path.is_file():
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if {key: kept[key] for key in asked} == asked:
                return kept["rows"]
        rows = trained()
        write_json(asked | {"rows": rows}, path)
        return rows


def write_json(value: dict[str, Any], path: str | Path) -> None:
    """Write a small dictionary as JSON, atomically."""
    with written(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
