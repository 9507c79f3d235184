"""Running a job: every N of it trained, its records left whole in a folder, its finished cells kept if one fails."""

import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from esgrad.suite import records
from esgrad.tasks import data
from esgrad.tasks.data import Data
from esgrad.training.job import Job
from esgrad.training.loop import settle, train
from esgrad.training.tuning import Heat, tune, unkept

PARTS = ("records", "tuning", "timing")
PACKAGES = ("esgrad", "torch", "numba", "numpy", "pandas")


def run(job: Job, data_path: Path, out: Path, device: str) -> None:
    """Train a job and write records, tuning, timing (Parquet) and provenance (JSON) into the folder `out`.

    Each N is kept when it is done, and each heat of its tuning, so that neither a failure at another nor a kill loses
    it; the next call goes on from there. Raises RuntimeError, after all others have run, if an N failed.
    """
    settle()
    device = resolve(device)
    images = job.task.blackbox.prepare(data.load(data_path))
    kept, failed = records.kept_cells(job, out), []
    work = {num_samples: _work(job, num_samples, len(variances)) for num_samples, variances in _grid(job)}
    with tqdm(total=sum(work.values()), unit="step", desc=job.path, mininterval=1, dynamic_ncols=True) as bar:
        for num_samples, variances in _grid(job):
            folder = kept / str(num_samples)
            if (folder / "timing.parquet").is_file():
                bar.update(work[num_samples])
                continue
            try:
                heats = records.KeptHeats(kept / f"{num_samples}-tuning")
                cell = train_cell(job, images, num_samples, variances, device, bar.update, heats)
            except Exception as error:  # whatever it is, the other cells go on; the run fails at the end
                logging.exception("%s: N = %s failed", job.path, num_samples)
                failed.append(f"N = {num_samples} ({type(error).__name__}: {error})")
                continue
            records.write(records.frame(job, cell.records), folder / "records.parquet")
            records.write(records.frame(job, cell.tuning), folder / "tuning.parquet")
            timing = {"path": job.path, "num_samples": num_samples, "device": device, **cell.seconds}
            records.write(pd.DataFrame([timing]).astype({"num_samples": "Int64"}), folder / "timing.parquet")
    if failed:
        raise RuntimeError(f"{job.path}: {'; '.join(failed)}; the other cells are kept for the next run")
    records.write_json(provenance(device), out / "provenance.json")
    for part in reversed(PARTS):  # the records last: they say that all is there
        whole = pd.concat([pd.read_parquet(kept / str(n) / f"{part}.parquet") for n, _ in _grid(job)])
        records.write(whole, out / f"{part}.parquet")
    shutil.rmtree(kept)


@dataclass
class Cell:
    """What training one N of a job gave: the reported runs' rows, the tuning runs', and seconds."""

    records: list[dict[str, Any]]
    tuning: list[dict[str, Any]]
    seconds: dict[str, float]


def train_cell(
    job: Job,
    data: Data,
    num_samples: int | None,
    variances: Sequence[float | None],
    device: str,
    tick: Callable[[int], Any],
    heat: Heat = unkept,
) -> Cell:
    """Tune and train the cells of one N, all t and seeds as one stack; `tick(steps)` reports progress."""
    started = time.perf_counter()
    groups, tuning = tune(job, data, num_samples, variances, device, tick, heat)
    tuned = time.perf_counter()
    records = list(train(job, data, num_samples, groups, job.seeds, job.steps(num_samples), device, tick))
    seconds = {"tuning": tuned - started, "training": time.perf_counter() - tuned}
    return Cell(records, tuning, seconds)


def resolve(device: str) -> str:
    """The device that a configuration's word means here; ValueError where there is no GPU."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' is asked for, but torch finds no GPU here: 'auto' or 'cpu' would do")
    return device


def provenance(device: str) -> dict[str, Any]:
    """What made a record: versions and hardware, no names of machines or people."""
    hardware = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {
        "device": device,
        "hardware": hardware,
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    """The processor's model, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _grid(job: Job) -> Iterator[tuple[int | None, list[float | None]]]:
    """Each N of a job with its t, skipped cells left out."""
    for num_samples in job.num_samples:
        variances = [t for n, t, reason in job.cells() if n == num_samples and reason is None]
        if variances:
            yield num_samples, variances


def _work(job: Job, num_samples: int | None, variances: int) -> int:
    """Run-steps of a job's cells of one N, without those of a widened grid."""
    return variances * job.steps(num_samples) * (len(job.seeds) + job.tuning_runs)
