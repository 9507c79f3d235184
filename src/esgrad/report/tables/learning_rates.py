"""How each cell's learning rate was chosen: the rates tried, their validation accuracies, the one taken.

The accuracies are means over the tuning seeds at the end of their runs, and empty where one diverged. `num_seeds` is
half of the tuning seeds where a rate was clearly worse than the best by then.
`at_edge` says that the rate taken was the smallest or largest tried, so that a better one may lie beyond.
"""

from typing import Any

import pandas as pd

from esgrad.report import markdown as md
from esgrad.report.runs import COLUMNS, cells
from esgrad.suite.gathered import CELL, Suite

_COLUMNS = [
    *(*COLUMNS, "learning_rate", "validation_accuracy", "num_seeds", "diverged", "chosen", "at_edge"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each cell and rate tried."""
    taken = set(suite.reported[[*CELL, "learning_rate"]].drop_duplicates().itertuples(index=False, name=None))
    taken = {_key(row) for row in taken}
    rows: list[dict[str, Any]] = []
    for cell, runs in cells(suite, suite.tuning):
        tried = _tried(runs)
        edges = {tried[0]["learning_rate"], tried[-1]["learning_rate"]}
        for row in tried:
            rate = row["learning_rate"]
            chosen = _key((*(cell[column] for column in CELL), rate)) in taken
            rows.append(cell | row | {"chosen": chosen, "at_edge": chosen and rate in edges})
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"num_samples": "Int64", "chosen": bool, "at_edge": bool})


def markdown(frame: pd.DataFrame) -> str:
    """One line for each cell: the rate taken, whether it lay at the edge, and `rate: accuracy` of all."""
    rows = []
    for _, tried in frame.groupby(COLUMNS, dropna=False, sort=False):
        chosen = tried[tried["chosen"]]
        rows.append(
            {column: tried[column].iloc[0] for column in COLUMNS}
            | {
                "learning_rate": ", ".join(map(md.number, chosen["learning_rate"])),
                "at_edge": bool(chosen["at_edge"].any()),
                "validation_accuracy": ", ".join(map(_pair, tried["learning_rate"], tried["validation_accuracy"])),
            }
        )
    return md.markdown(pd.DataFrame(rows, columns=[*COLUMNS, "learning_rate", "at_edge", "validation_accuracy"]))


def _tried(runs: pd.DataFrame) -> list[dict[str, Any]]:
    last = runs.groupby(["learning_rate", "seed"], sort=True).tail(1)
    return [
        {
            "learning_rate": rate,
            "validation_accuracy": ends["validation_accuracy"].mean(skipna=False),
            "num_seeds": len(ends),
            "diverged": int((ends["status"] == "diverged").sum()),
        }
        for rate, ends in last.groupby("learning_rate", sort=True)
    ]


def _key(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values that compare equal where they are missing, as NaN does not."""
    return tuple(None if pd.isna(value) else value for value in values)


def _pair(rate: float, accuracy: float) -> str:
    return f"{md.number(rate)}: {'diverged' if pd.isna(accuracy) else md.number(accuracy)}"
