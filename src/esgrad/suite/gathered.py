"""A suite: the records of one configuration, gathered for tables and figures."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from esgrad.measurement import columns
from esgrad.measurement import specifications as measurements
from esgrad.suite import config as configuration
from esgrad.suite import label_search, records, sharing
from esgrad.training.job import FIRST_TUNING_SEED, Job

CELL = [
    "experiment",
    "dataset",
    "model",
    "blackbox",
    "method",
    "logit_dim",
    "batch_size",
    "num_samples",
    "noise_variance",
]
"""The columns that tell one cell from another; group by them with `dropna=False`."""


@dataclass(frozen=True, eq=False)  # told apart by identity, so that what is read from one can be kept
class Suite:
    """What tables and figures are made from; the columns are those of `esgrad.suite.records`.

    `targets` holds the lists `progress` and `accuracy`, `experiments` the configuration's section of that name.
    """

    name: str
    records: pd.DataFrame
    tuning: pd.DataFrame
    gradient_quality: pd.DataFrame
    samples_needed: pd.DataFrame
    skipped: pd.DataFrame
    targets: dict[str, list[float]]
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    noise_scale: pd.DataFrame = field(default_factory=lambda: _whole([], columns.NOISE_SCALE_COLUMNS))

    @cached_property
    def reported(self) -> pd.DataFrame:
        """The records that may be reported: those of the seeds that tuned nothing."""
        return self.records[self.records["seed"] < FIRST_TUNING_SEED]

    @cached_property
    def backprop(self) -> pd.DataFrame:
        """Backprop's records, of all seeds: what cells are measured by (`esgrad.report.runs.backprop`)."""
        return self.records[self.records["method"] == "backprop"]


def load(folder: Path, partial: bool = False, current: bool = True) -> Suite:
    """The suite whose records lie in `folder`, as its `suite.json` lists them.

    `partial` makes do with the records there are, finished cells of failed jobs included; `current` refuses records
    made by other sources than these. Raises ValueError or OSError, in one line, for a missing or damaged record.
    """
    config = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
    jobs = configuration.jobs(config)
    skipped = [
        {column: getattr(job, column, None) for column in CELL}
        | {"num_samples": n, "noise_variance": t, "reason": reason}
        for job in jobs
        for n, t, reason in job.cells()
        if reason is not None
    ]
    parts: dict[str, list[pd.DataFrame]] = {"records": [], "tuning": []}
    trained = sharing.lenders(filter(configuration.runnable, jobs))
    for part, tables in parts.items():
        held = {lender: _held(lender, folder, part, partial, current) for lender in set(trained.values())}
        for job in filter(configuration.runnable, jobs):
            tables += [sharing.borrowed(table, job) for table in held[trained[job]]]
    return Suite(
        name=config["name"],
        records=_with_label_search(_whole(parts["records"], records.COLUMNS)),
        tuning=_whole(parts["tuning"], records.COLUMNS),
        gradient_quality=_measured(folder, config, "gradient_quality", columns.QUALITY_COLUMNS, partial),
        samples_needed=_measured(folder, config, "samples_needed", columns.SAMPLES_COLUMNS, partial),
        skipped=pd.DataFrame(skipped, columns=[*CELL, "reason"]).astype({"num_samples": "Int64"}),
        targets=config["targets"],
        experiments=config["experiments"],
        noise_scale=_whole(
            [
                records.read_whole(path, list(columns.NOISE_SCALE_COLUMNS))
                for path in map(folder.joinpath, configuration.noise_tasks(config))
                if path.is_file() or not partial
            ],
            columns.NOISE_SCALE_COLUMNS,
        ),
    )


def _held(job: Job, folder: Path, part: str, partial: bool, current: bool) -> list[pd.DataFrame]:
    """The tables that hold a part of a job's records; `current` as for `load`."""
    tables = []
    for path in _lying(job, folder / "runs" / job.path, part, partial):
        tables.append(records.read_whole(path, list(records.COLUMNS)))
        if current:
            records.check_sources(tables[-1], job, path)
    return tables


def _lying(job: Job, home: Path, part: str, partial: bool) -> list[Path]:
    """The files that hold a part of a job's records: one, or, where the job is not whole, one for each finished N."""
    whole = home / f"{part}.parquet"
    if whole.is_file() or not partial:
        return [whole]
    return sorted(records.kept_cells(job, home).glob(f"*/{part}.parquet"))


def _with_label_search(trained: pd.DataFrame) -> pd.DataFrame:
    """The records with those of the baseline that trains nothing."""
    return pd.concat([trained, label_search.runs(trained)], ignore_index=True)


def _whole(tables: list[pd.DataFrame], columns: dict[str, str]) -> pd.DataFrame:
    """All rows of some tables, or none with the right columns."""
    return pd.concat(tables or [pd.DataFrame(columns=list(columns))], ignore_index=True).astype(columns)


def _measured(folder: Path, config: dict[str, Any], section: str, columns: list[str], partial: bool) -> pd.DataFrame:
    """What a section measured, K after K; an empty frame without the section."""
    paths = [folder / measurements.path(section, k) for k in config.get(section, {}).get("logit_dim", ())]
    tables = [records.read_whole(path, columns) for path in paths if path.is_file() or not partial]
    return pd.concat(tables or [pd.DataFrame(columns=columns)], ignore_index=True)
