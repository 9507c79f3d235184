"""What several experiments ask for is trained once: the job that trains the most of it lends its runs to the others.

A run alone has the bits of the same run in any stack, so that nothing tells a borrowed run from one trained again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from esgrad.training.job import FIRST_TUNING_SEED, Job

if TYPE_CHECKING:  # who lends is asked whenever Snakemake starts, and no pandas is waited for
    import pandas as pd


def lenders(jobs: Iterable[Job]) -> dict[Job, Job]:
    """For each of these jobs the one whose runs it takes: its own, or those of the largest job that trains them all.

    A lender never borrows.
    """
    alike: dict[Job, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: (-len(job.num_samples), -job.num_seeds)):
        alike.setdefault(_kind(job), []).append(job)
    return {job: next(other for other in kind if _trains(other, job)) for kind in alike.values() for job in kind}


def borrowed(table: pd.DataFrame, job: Job) -> pd.DataFrame:
    """Of its lender's records or tuning runs those that a job asks for, under its own experiment's name."""
    numbers, seeds = table["num_samples"], table["seed"]
    wanted = numbers.isna() | numbers.isin(job.num_samples)  # an exact method has no N, here as there
    wanted &= (seeds < job.num_seeds) | (seeds >= FIRST_TUNING_SEED)
    return table[wanted].assign(experiment=job.experiment).astype({"experiment": "string"})


def _trains(lender: Job, job: Job) -> bool:
    """Whether all runs of a job are among those of one of its kind: no N of them skipped there, no seed missing."""
    asked = {n for n, _, reason in job.cells() if reason is None}
    trained = {n for n, _, reason in lender.cells() if reason is None}
    return asked <= trained and job.num_seeds <= lender.num_seeds


def _kind(job: Job) -> Job:
    """What tells one job's runs from another's: all but who asks, at which N, with how many seeds."""
    return replace(job, experiment="", num_samples=(), num_seeds=0)
