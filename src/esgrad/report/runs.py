"""From records to runs: a suite's cells, the backprop runs a cell is measured by, arrivals at a target."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from esgrad import statistics
from esgrad.suite.gathered import CELL, FIRST_TUNING_SEED, Suite

UNITS = {"steps": "step", "queries": "queries", "forwards": "forwards"}
"""The units of cost and the columns that count them."""

COLUMNS = [
    *("experiment", "dataset", "model", "blackbox", "logit_dim", "batch_size"),
    *("method", "num_samples", "noise_variance"),
]
"""The columns that name a cell in every table."""

TASK = ["dataset", "model", "logit_dim", "batch_size"]
"""The columns in which a cell and the backprop it is measured by agree; their experiments' `hidden_size` does too."""


def experiments(suite: Suite) -> list[str]:
    """The experiments in the configuration's order, then any others the records hold."""
    return [*suite.experiments, *sorted(set(suite.records["experiment"].unique()) - set(suite.experiments))]


def ordered(suite: Suite, frame: pd.DataFrame, *, by: tuple[str, ...] = ()) -> pd.DataFrame:
    """The rows by experiment (in the configuration's order), cell and `by`, whatever order they came in."""
    place = {experiment: index for index, experiment in enumerate(experiments(suite))}
    keys = [*(column for column in CELL if column in frame), *by]
    return frame.sort_values(
        keys,
        key=lambda column: column.map(place) if column.name == "experiment" else column,
        ignore_index=True,
    )


def cells(suite: Suite, frame: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each cell, as {column: value}, and its rows by seed, learning rate and step; as `ordered` has them."""
    rows = ordered(suite, frame, by=("seed", "learning_rate", "step"))
    for key, group in rows.groupby(CELL, dropna=False, sort=False):
        cell = dict(zip(CELL, key, strict=True))
        yield {column: cell[column] for column in COLUMNS}, group


def last_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The last evaluation of each run, by seed; `rows` are one cell's, in order."""
    return rows.groupby("seed", sort=True).tail(1)


def backprop(suite: Suite, cell: dict[str, Any]) -> pd.DataFrame:
    """Backprop's rows on a cell's data set, network, logit_dim and batch size; none where nobody trained it.

    The cell's own experiment comes first, then the others in the configuration's order, if their `hidden_size` is the
    same: another width is another network. Their runs may be longer or shorter than the cell's.
    """
    return _backprop(suite, cell["experiment"], *(cell[column] for column in TASK))


@lru_cache
def _backprop(suite: Suite, own: str, *task: Any) -> pd.DataFrame:
    rows = suite.backprop
    rows = rows[(rows[TASK] == list(task)).all(axis=1)]
    held = set(rows["experiment"].unique())
    alike = [e for e in experiments(suite) if _hidden_size(suite, e) == _hidden_size(suite, own)]
    source = next((e for e in [own, *alike] if e in held), None)
    return rows[rows["experiment"] == source].sort_values(["seed", "step"], ignore_index=True)


def targets(suite: Suite, reference: pd.DataFrame) -> dict[str, float]:
    """{target: validation accuracy}: progress, then absolute accuracies.

    The levels of progress come from `reference`, backprop's rows, from its seeds that are not reported; where
    there are no such rows, there are no such targets.
    """
    runs = reference[reference["seed"] >= FIRST_TUNING_SEED].groupby("seed")["validation_accuracy"]
    levels = statistics.progress_levels(
        runs.nth(0).to_numpy(), runs.nth(-1).to_numpy(), suite.targets.get("progress", [])
    )
    return {f"progress {_word(fraction)}": level for fraction, level in levels.items()} | {
        f"accuracy {_word(level)}": level for level in suite.targets.get("accuracy", [])
    }


def arrivals(rows: pd.DataFrame, target: float) -> pd.DataFrame:
    """What each run of a cell spent until the target: index seed; columns steps, queries, forwards, hit.

    `rows` are in order. A run that never arrived stands at what it spent (hit False); one that diverged could
    not have arrived with more, and stands at the most that a run of the cell spent.
    """
    spent = rows[list(UNITS.values())].to_numpy(dtype=float)  # [evaluations of all runs, units]
    steps, accuracies = rows["step"].to_numpy(), rows["validation_accuracy"].to_numpy()
    seeds, starts = np.unique(rows["seed"].to_numpy(), return_index=True)
    costs, hits = np.empty((len(seeds), len(UNITS))), np.zeros(len(seeds), dtype=bool)
    for run, (start, stop) in enumerate(pairwise([*starts, len(rows)])):
        index = statistics.arrival(steps[start:stop], accuracies[start:stop], target)
        hits[run] = index is not None
        costs[run] = spent[stop - 1 if index is None else start + index]
        if index is None and rows["status"].iat[stop - 1] == "diverged":
            costs[run] = spent.max(axis=0)
    return pd.DataFrame(costs, index=seeds, columns=list(UNITS)).assign(hit=hits)


def _hidden_size(suite: Suite, experiment: str) -> int | None:
    """What the configuration gives (all of its experiments or none have one)."""
    return suite.experiments.get(experiment, {}).get("hidden_size")


def _word(number: float) -> str:
    return f"{number:.2f}" if round(number, 2) == number else f"{number:g}"
