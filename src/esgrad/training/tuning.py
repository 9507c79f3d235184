"""How the learning rate of a cell is chosen, and σ where it is tuned: on validation accuracy, after whole runs.

The tuning seeds report nothing. All methods have the same candidates, and where the best lies at an edge of them the
grid widens there. Of the rates that do as well as the best within its own standard error the smallest is taken (Breiman
et al. 1984): a few seeds on a few hundred images cannot tell neighbours apart. Shorter runs would flatter large rates,
which lose a class later on.
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


def tune(
    job: Job,
    data: Data,
    num_samples: int | None,
    variances: Sequence[float | None],
    device: str,
    tick: Callable[[int], Any],
) -> tuple[list[Group], list[dict[str, Any]]]:
    """Choose (t, learning rate) for each t asked for; where the job has candidates for t, for the one that is open.

    Returns the choices, and the first and last row of every tuning run. Without tuning seeds the first candidates are
    taken as they are.
    """
    cells = [list(job.variance_candidates)] if job.variance_candidates else [[t] for t in variances]
    if not job.tuning_seeds:
        return [(cell[0], job.learning_rates[0]) for cell in cells], []
    scores: list[Scores] = [{} for _ in cells]
    rows: list[dict[str, Any]] = []
    wanted = [list(product(cell, sorted(job.learning_rates))) for cell in cells]
    for _ in range(1 + job.max_widenings):
        groups = [group for cell in wanted for group in cell]
        steps = job.steps(num_samples)
        ran = list(train(job, data, num_samples, groups, job.tuning_seeds, steps, device, tick, ends_only=True))
        rows.extend(ran)
        for cell, found in zip(wanted, scores, strict=True):
            _score(found, ran, cell)
        wanted = [_beyond_edges(found, job.learning_rates) for found in scores]
        if not any(wanted):
            break
    return [_chosen(found) for found in scores], rows


def _score(scores: Scores, rows: list[dict[str, Any]], groups: list[Group]) -> None:
    """Take up the last rows of some groups; a run that diverged is worth nothing."""
    for row in rows:
        group = (row["noise_variance"], row["learning_rate"])
        if row["step"] > 0 and group in groups:
            accuracy = 0.0 if math.isnan(row["validation_accuracy"]) else row["validation_accuracy"]
            scores.setdefault(group, []).append(accuracy)


def _best(scores: Scores) -> Group:
    """The highest mean, of equal ones the smallest rate."""
    return min(scores, key=lambda group: (-fmean(scores[group]), group[1], group[0] or 0.0))


def _chosen(scores: Scores) -> Group:
    """The t of the best, and the smallest rate there within the best's own standard error."""
    best = _best(scores)
    accuracies = scores[best]
    error = math.sqrt(variance(accuracies) / len(accuracies)) if len(accuracies) > 1 else 0.0
    beside = [rate for t, rate in scores if t == best[0] and fmean(scores[t, rate]) >= fmean(accuracies) - error]
    return best[0], min(beside)


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
