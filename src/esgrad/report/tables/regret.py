"""What a rule for t costs against the best fixed t: the difference in final test accuracy, seed by seed.

The best fixed t of a method, N, K and B is the one with the highest mean *validation* accuracy at the end, so that the
test accuracies it is compared by did not choose it. The peer of a rule's method is its relative in the configuration; a
fixed t is compared with the best, too. `regret` is positive where the best fixed t does better; Student's t interval
over the seeds that both have. The learning rate is tuned for each.

A run that diverged counts as accuracy 0 in every number here, as it does in tuning (`diverged` says how many there
are): else a t at which one lucky seed survives could be the best. The table `accuracy` leaves such runs out. A rule
whose method has not been run at two fixed t or more, in that experiment, has nothing to be compared with: no `regret`.
"""

from typing import Any

import pandas as pd

from esgrad.report import markdown as md
from esgrad.report.runs import COLUMNS, cells, last_rows
from esgrad.statistics import mean_interval
from esgrad.suite.gathered import Suite

TASK = ["dataset", "model", "blackbox", "logit_dim", "batch_size"]
PEERS = [*TASK, "peer", "num_samples"]
"""What the cells of a method at fixed t and of its rules share."""
_COLUMNS = [
    *("experiment", *TASK, "peer", "num_samples", "method", "schedule", "noise_variance"),
    *("test_accuracy_mean", "best_fixed", "best_accuracy", "regret", "low", "high", "num_seeds", "diverged"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each cell whose method has been run at two fixed t or more, and for each cell of a rule."""
    found = ends(suite)
    rows: list[dict[str, Any]] = []
    for _, peers in found.groupby(["experiment", *PEERS], dropna=False, sort=False):
        fixed = peers[peers["schedule"] == "fixed"]
        if fixed["noise_variance"].nunique() > 1:
            rows += _compared(peers, fixed)
        else:
            rows += [_alone(row) for row in peers[peers["schedule"] != "fixed"].to_dict("records")]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.astype({"num_samples": "Int64"})


def alone(frame: pd.DataFrame) -> str:
    """`no fixed peer at two t or more: maxrl_spread`, of the rules that could not be compared; else ''."""
    methods = sorted(set(frame.loc[frame["best_fixed"].isna(), "method"]))
    return f"no fixed peer at two t or more: {', '.join(methods)}" if methods else ""


def markdown(frame: pd.DataFrame) -> str:
    """The table with the regret and its interval in one column, under it the rules that have none."""
    shown = frame.drop(columns=["low", "high"])
    shown["regret"] = list(map(md.interval, frame["regret"], frame["low"], frame["high"]))
    words = alone(frame)
    return md.markdown(shown) + (f"\n{words[0].upper()}{words[1:]}.\n" if words else "")


def ends(suite: Suite) -> pd.DataFrame:
    """A row for each cell that has a t: its words, `peer`, and the last rows of its runs by seed."""
    records = suite.reported[suite.reported["noise_variance"].notna()]
    rows = []
    for cell, runs in cells(suite, records):
        last = last_rows(runs).set_index("seed")
        rule = str(last["schedule"].iloc[0])
        peer = cell["method"] if rule == "fixed" else str(last["relative"].iloc[0]) or cell["method"]
        rows.append(cell | {"schedule": rule, "peer": peer, "last": last})
    return pd.DataFrame(rows, columns=[*COLUMNS, "schedule", "peer", "last"])


def _compared(peers: pd.DataFrame, fixed: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of one method, N and task."""
    best = max(fixed.to_dict("records"), key=lambda row: accuracy(row["last"], "validation").mean())
    reference = accuracy(best["last"], "test")
    rows = []
    for row in peers.to_dict("records"):
        regret = mean_interval((reference - accuracy(row["last"], "test")).dropna())  # of a seed, where both have it
        row = _alone(row) | dict(zip(["regret", "low", "high"], regret, strict=True))
        rows.append(row | {"best_fixed": best["noise_variance"], "best_accuracy": reference.mean()})
    return rows


def _alone(row: dict[str, Any]) -> dict[str, Any]:
    """What a cell's row says of the cell itself."""
    last = row["last"]
    own = {"test_accuracy_mean": accuracy(last, "test").mean(), "num_seeds": len(last)}
    return row | own | {"diverged": int((last["status"] == "diverged").sum())}


def accuracy(last: pd.DataFrame, part: str) -> pd.Series:
    """By seed, at the end; 0 of a run that diverged."""
    return last[f"{part}_accuracy"].mask(last["status"] == "diverged", 0.0)
