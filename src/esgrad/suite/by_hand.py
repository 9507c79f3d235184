"""One run by hand: its evaluations as they come, a bar with rate and time left, a checkpoint, several processes."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

import torch
import torch.distributed as dist
from tqdm import tqdm

from esgrad import menu
from esgrad.kernels import parallel, processes
from esgrad.suite import config as configuration
from esgrad.suite import records, sources, worker
from esgrad.tasks import data
from esgrad.training import loop as training
from esgrad.training.job import Job
from esgrad.training.resume import Resume

KEYS = {
    *("dataset", "model", "hidden_size", "num_samples", "batch_size", "max_steps"),
    *("noise_variance", "logit_dim", "blackbox"),
}
"""Of an experiment, by the options' names."""


@dataclass(frozen=True)
class Cell:
    """What is trained: a job's one N and t."""

    job: Job
    num_samples: int | None
    variance: float | None

    @staticmethod
    def of(given: argparse.Namespace) -> "Cell":
        """The cell that options describe; ValueError for what cannot be trained."""
        if not given.config.is_file():
            raise ValueError(
                f"{given.config}, which names the methods, is not here: run from the root of a checkout, or name "
                "another configuration with --config"
            )
        methods = configuration.read(given.config)["methods"]
        if given.method not in methods:
            raise menu.unknown("method", given.method, methods)
        asked = {key: value for key, value in vars(given).items() if key in KEYS and value is not None}
        experiment = {"methods": given.method, "num_seeds": 1, **asked}
        suite = {"name": "by_hand", "methods": methods, "experiments": {"train": experiment}, "draws_per_cell": 1e18}
        job = configuration.jobs(configuration.validated(suite))[0]
        ((num_samples, variance, reason),) = job.cells()
        if reason is not None:
            raise ValueError(reason)
        if not (isfinite(given.learning_rate) and given.learning_rate > 0):
            raise ValueError(f"learning_rate is a finite number above 0, not {given.learning_rate}")
        if job.variance_candidates:  # a suite tunes it together with the rate
            variance = job.variance_candidates[len(job.variance_candidates) // 2]
        return Cell(job, num_samples, variance)


def train(given: argparse.Namespace) -> None:
    """Train one run and print its evaluations."""
    cell = Cell.of(given)
    if given.threads is not None and given.threads < 1:
        raise ValueError(f"threads is a whole number above 0, not {given.threads}")
    images = menu.load("blackboxes", cell.job.blackbox).prepare(data.decode(given.dataset, given.data_root))
    with _processes(worker.resolve(given.device)) as device:
        first = processes.rank() == 0
        training.settle()
        parallel.use(given.threads or (os.cpu_count() or 1 if processes.number() == 1 else 1))
        group, steps = (cell.variance, given.learning_rate), cell.job.steps(cell.num_samples)
        resume = None if given.checkpoint is None else Resume(given.checkpoint, _identity(cell, given))
        with tqdm(total=steps, unit=" steps", dynamic_ncols=True, disable=None if first else True) as bar:
            arguments = cell.job, images, cell.num_samples, [group], [given.seed], steps, device, bar.update
            for row in training.train(*arguments, resume=resume):
                if first:
                    with bar.external_write_mode(sys.stdout):
                        print(_line(cell.job, row, given.json), flush=True)
        parallel.use(1)


def _identity(cell: Cell, given: argparse.Namespace) -> dict[str, Any]:
    """What a training is told apart from others by."""
    own = {"t": cell.variance, "learning_rate": given.learning_rate, "seed": given.seed}
    return json.loads(cell.job.json()) | own | {"sources": sources.digest_of_job(cell.job)}


@contextmanager
def _processes(device: str) -> Iterator[str]:
    """The device of this process, one of several where `torchrun` started them."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)  # where kernels of Triton and messages of NCCL go
    if not several:
        yield device
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _line(job: Job, row: dict[str, Any], as_json: bool) -> str:
    if as_json:
        return records.frame(job, [row]).to_json(orient="records", lines=True).strip()
    test = "" if isnan(row["test_accuracy"]) else f"   test accuracy {row['test_accuracy']:.3f}"
    lost = "   diverged: logits or parameters are no longer finite" if row["status"] == "diverged" else ""
    return (
        f"step {row['step']:6d}   queries {row['queries']:12,.0f}   forwards {row['forwards']:10,.0f}   "
        f"validation accuracy {row['validation_accuracy']:.3f}{test}{lost}"
    )
