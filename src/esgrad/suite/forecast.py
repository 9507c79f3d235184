"""What a run will do, said before it starts: cells, runs, jobs, what is skipped and why, how long it takes."""

from collections import Counter
from typing import Any

from esgrad.suite import config as configuration
from esgrad.suite import sharing
from esgrad.training.job import Job

# Fitted to runs of config.yaml and mnist.yaml on two cores of an AMD EPYC (2026): right within a factor of about 1.5.
SECONDS_PER_JOB = 3.0
SECONDS_PER_STEP = 1.5e-3
SECONDS_PER_DRAW = 2e-9
SECONDS_PER_NUMBER = 2e-9  # of a perturbed point
SECONDS_PER_WEIGHT = 5e-11  # of an example's way through a network


def summary(config: dict[str, Any]) -> str:
    """Lines for the terminal."""
    jobs = configuration.jobs(config)
    runnable = [job for job in jobs if configuration.runnable(job)]
    cells = sum(reason is None for job in jobs for *_, reason in job.cells())
    runs = sum(len(job.seeds) for job in jobs for *_, reason in job.cells() if reason is None)
    skipped = Counter(
        f"{job.experiment}: {job.method}, {reason}" for job in jobs for *_, reason in job.cells() if reason is not None
    )
    trained = set(sharing.lenders(runnable).values())
    seconds = sum(map(core_seconds, trained))
    lines = [
        f"esgrad suite '{config['name']}': {cells} cells, {runs} reported runs, {len(trained)} training jobs.",
        f"About {max(1, round(seconds / 60))} core-minutes of training on a CPU; a GPU or more cores shorten it.",
    ]
    if shared := len(runnable) - len(trained):
        lines.append(f"{shared} more jobs ask only for runs that one of these trains for another experiment.")
    if skipped:
        lines.append(f"Skipped cells: {sum(skipped.values())}, listed in results/{config['name']}/tables/skipped.md:")
        lines += [f"  {count} × {reason}" for reason, count in skipped.items()]
    return "\n".join(lines)


def core_seconds(job: Job) -> float:
    """About how long a job takes on one core."""
    seconds = SECONDS_PER_JOB
    weights = job.task.num_parameters * job.task.readings
    for num_samples in job.num_samples:
        variances = sum(n == num_samples and reason is None for n, _, reason in job.cells())
        steps = job.steps(num_samples)
        run_steps = variances * steps * (len(job.seeds) + job.tuning_runs)
        drawn = job.resolved_method.draws(job.task, num_samples)
        forwards = job.resolved_method.costs(job.batch_size, num_samples).forwards
        seconds += run_steps * (SECONDS_PER_NUMBER * drawn + SECONDS_PER_WEIGHT * forwards * weights)
        if variances:  # runs of a stack share a step's overhead, those of a seed its noise
            draws = drawn * steps * (len(job.seeds) + job.num_tuning_seeds)
            seconds += 2 * SECONDS_PER_STEP * steps + SECONDS_PER_DRAW * draws
    return seconds
