"""How the learning rate of a cell is chosen, and σ where it is tuned: on validation accuracy, after whole runs.

The tuning seeds report nothing. All methods have the same candidates, and where the best lies at an edge of them the
grid widens there. The highest mean is taken. It is found by a race (Maron & Moore 1994, "Hoeffding races"): half of the
seeds, FIRST_HEAT at least, try every candidate, the others those that are not clearly worse by then.

Shorter runs would flatter large rates, which lose a class later on. The smallest rate within the best's standard error
would be taken too often: runs that lose a class make that error large.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product
from statistics import fmean, variance
from typing import Any

from esgrad.tasks.data import Data
from esgrad.training.job import Job
from esgrad.training.loop import Group, train

Scores = dict[Group, list[float]]
"""The final validation accuracies of each (t, learning rate)."""

Heat = Callable[[list[Group], Sequence[int], Callable[[], list[dict[str, Any]]]], list[dict[str, Any]]]
"""From groups, seeds and what trains them to the rows of their runs, trained or kept from before."""

FIRST_HEAT = 4  # seeds at least that every candidate is given; of four differences a standard error says little


def unkept(groups: list[Group], seeds: Sequence[int], trained: Callable[[], list[dict[str, Any]]]) -> list:
    """The rows of a heat, trained."""
    return trained()


def tune(
    job: Job,
    data: Data,
    num_samples: int | None,
    variances: Sequence[float | None],
    device: str,
    tick: Callable[[int], Any],
    heat: Heat = unkept,
) -> tuple[list[Group], list[dict[str, Any]]]:
    """Choose (t, learning rate) for each t asked for; where the job has candidates for t, for the one that is open.

    Returns the choices, and the first and last row of every tuning run. Without tuning seeds the first candidates are
    taken as they are. `heat` is asked for the rows of each heat, in the order of the race.
    """
    cells = [list(job.variance_candidates)] if job.variance_candidates else [[t] for t in variances]
    if not job.tuning_seeds:
        return [(cell[0], job.learning_rates[0]) for cell in cells], []
    scores: list[Scores] = [{} for _ in cells]
    rows: list[dict[str, Any]] = []
    first = max(FIRST_HEAT, len(job.tuning_seeds) // 2)

    def run(wanted: Sequence[list[Group]], seeds: Sequence[int]) -> None:
        groups = [group for cell in wanted for group in cell]
        if groups and seeds:
            steps, kept = job.steps(num_samples), True

            def trained() -> list[dict[str, Any]]:
                nonlocal kept
                kept = False
                return list(train(job, data, num_samples, groups, seeds, steps, device, tick, ends_only=True))

            ran = heat(groups, seeds, trained)
            rows.extend(ran)
            if kept:
                tick(len(groups) * len(seeds) * steps)
            for cell, found in zip(wanted, scores, strict=True):
                _score(found, ran, cell)

    wanted = [list(product(cell, sorted(job.learning_rates))) for cell in cells]
    for _ in range(1 + job.max_widenings):
        run(wanted, job.tuning_seeds[:first])
        run([_in_race(found, first) for found in scores], job.tuning_seeds[first:])
        wanted = [_beyond_edges(found, job.learning_rates) for found in scores]
        if not any(wanted):
            break
    return [_best(found) for found in scores], rows


def _score(scores: Scores, rows: list[dict[str, Any]], groups: list[Group]) -> None:
    """Take up the last rows of some groups; a run that diverged is worth nothing."""
    for row in rows:
        group = (row["noise_variance"], row["learning_rate"])
        if row["step"] > 0 and group in groups:
            accuracy = 0.0 if math.isnan(row["validation_accuracy"]) else row["validation_accuracy"]
            scores.setdefault(group, []).append(accuracy)


def _best(scores: Scores) -> Group:
    """Of those that ran to the end of the race the highest mean; of equal ones the smallest rate."""
    most = max(map(len, scores.values()))
    last = [group for group, accuracies in scores.items() if len(accuracies) == most]
    return min(last, key=lambda group: (-fmean(scores[group]), group[1], group[0] or 0.0))


def _in_race(scores: Scores, heat: int) -> list[Group]:
    """Of those that are not worse than the best of the first heat by more than two standard errors of the difference,
    paired by seed, the ones that ran no more than that heat. Where a single one is left, and all ran as far, none."""
    first = {group: accuracies[:heat] for group, accuracies in scores.items()}
    leader = first[_best(first)]
    left = [group for group, accuracies in first.items() if not _clearly_worse(accuracies, leader)]
    undecided = len(left) > 1 or any(len(accuracies) > heat for accuracies in scores.values())
    return [group for group in left if undecided and len(scores[group]) == heat]


def _clearly_worse(accuracies: list[float], leader: list[float]) -> bool:
    """Whether the mean difference is more than two standard errors below zero; with one seed nothing is clear."""
    differences = [theirs - mine for mine, theirs in zip(accuracies, leader, strict=True)]
    if len(differences) < 2:
        return False
    return fmean(differences) > 2 * math.sqrt(variance(differences) / len(differences))


def _beyond_edges(scores: Scores, rates: Sequence[float]) -> list[Group]:
    """What to try next where the best lies at an edge of the rates tried at its t, or of the t tried."""
    t, rate = _best(scores)
    more: list[Group] = []
    if (wider := _beyond(rate, [each for at, each in scores if at == t])) is not None:
        more.append((t, wider))
    if t is not None and (further := _beyond(t, sorted({at for at, _ in scores if at is not None}))) is not None:
        more += [(further, each) for each in sorted(rates)]
    return more


def _beyond(best: float, tried: Sequence[float]) -> float | None:
    """The next value beyond an edge at which the best lies, else None."""
    ordered = sorted(tried)
    if len(ordered) < 2 or best not in (ordered[0], ordered[-1]):
        return None
    ratio = ordered[1] / ordered[0] if best == ordered[0] else ordered[-1] / ordered[-2]
    return float(f"{best / ratio if best == ordered[0] else best * ratio:.3g}")
