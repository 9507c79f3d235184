"""What a run will do, said before it starts: cells, runs, jobs, what is skipped and why, how long it takes."""

from collections import Counter
from math import ceil
from typing import Any

from esgrad import config as configuration
from esgrad.job import Job

# Measured on two cores of an AMD EPYC (2026); a forecast, not a promise.
SECONDS_PER_JOB = 4.0
SECONDS_PER_STEP = 1.5e-3
SECONDS_PER_DRAW = 8e-9
SECONDS_PER_NUMBER = 6e-9


def summary(config: dict[str, Any]) -> str:
    """Lines for the terminal."""
    jobs = configuration.jobs(config)
    runnable = [job for job in jobs if configuration.runnable(job)]
    cells = sum(reason is None for job in jobs for *_, reason in job.cells())
    runs = sum(len(job.seeds) for job in jobs for *_, reason in job.cells() if reason is None)
    skipped = Counter(
        f"{job.experiment}: {job.method}, {reason}" for job in jobs for *_, reason in job.cells() if reason is not None
    )
    seconds = sum(map(core_seconds, runnable))
    lines = [
        f"esgrad suite '{config['name']}': {cells} cells, {runs} reported runs, {len(runnable)} training jobs.",
        f"About {seconds / 60:.0f} core-minutes of training on a CPU; a GPU or more cores shorten it.",
    ]
    if skipped:
        lines.append(f"Skipped cells: {sum(skipped.values())}, listed in results/{config['name']}/tables/skipped.md:")
        lines += [f"  {count} × {reason}" for reason, count in skipped.items()]
    return "\n".join(lines)


def core_seconds(job: Job) -> float:
    """About how long a job takes on one core."""
    seconds = SECONDS_PER_JOB
    for num_samples in job.num_samples:
        variances = sum(n == num_samples and reason is None for n, _, reason in job.cells())
        if not variances:
            continue
        steps, tuning = job.steps(num_samples), ceil(job.tuning_fraction * job.steps(num_samples))
        tuned = len(job.learning_rates) * job.num_tuning_seeds * tuning
        run_steps = variances * (len(job.seeds) * steps + tuned)
        draws = job.draws(num_samples) / max(1, job.num_seeds)  # of one seed's run
        numbers = run_steps * (draws / steps)
        drawn = draws * (len(job.seeds) + job.num_tuning_seeds * job.tuning_fraction)
        seconds += SECONDS_PER_STEP * (steps + tuning) + SECONDS_PER_DRAW * drawn + SECONDS_PER_NUMBER * numbers
    return seconds
