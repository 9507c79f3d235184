"""What a rule for t costs against the best fixed t: the difference in final test accuracy, seed by seed.

The best fixed t of a method, N, K and B is the one with the highest mean *validation* accuracy at the end, so that the
test accuracies it is compared by did not choose it. A rule's method is named as its fixed peer plus the rule:
`maxrl_spread` is the rule `spread` under `maxrl`; a fixed t is compared with the best, too. `regret` is positive where
the best fixed t does better; Student's t interval over the seeds that finished in both. The learning rate is tuned for
each.
"""

from typing import Any

import numpy as np
import pandas as pd

from esgrad import markdown as md
from esgrad.runs import COLUMNS, cells, last_rows
from esgrad.statistics import mean_interval
from esgrad.suite import Suite

TASK = ["dataset", "model", "blackbox", "logit_dim", "batch_size"]
_PEERS = [*TASK, "peer", "num_samples"]
_COLUMNS = [
    *("experiment", *TASK, "peer", "num_samples", "method", "variance", "noise_variance"),
    *("test_accuracy_mean", "best_fixed", "best_accuracy", "regret", "low", "high", "num_seeds", "diverged"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each cell whose method has been run at two fixed t or more."""
    ends = _ends(suite)
    rows: list[dict[str, Any]] = []
    for _, peers in ends.groupby(["experiment", *_PEERS], dropna=False, sort=False):
        fixed = peers[peers["variance"] == "fixed"]
        if fixed["noise_variance"].nunique() > 1:
            rows += _compared(peers, fixed)
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.astype({"num_samples": "Int64"})


def markdown(frame: pd.DataFrame) -> str:
    """The table with the regret and its interval in one column."""
    shown = frame.drop(columns=["low", "high"])
    shown["regret"] = list(map(md.interval, frame["regret"], frame["low"], frame["high"]))
    return md.markdown(shown)


def _ends(suite: Suite) -> pd.DataFrame:
    """A row for each cell that has a t: its words, `peer`, and the last rows of its runs by seed."""
    records = suite.reported[suite.reported["noise_variance"].notna()]
    rows = []
    for cell, runs in cells(suite, records):
        last = last_rows(runs).set_index("seed")
        rule = str(last["variance"].iloc[0])
        peer = cell["method"] if rule == "fixed" else cell["method"].removesuffix(f"_{rule}")
        rows.append(cell | {"variance": rule, "peer": peer, "last": last})
    return pd.DataFrame(rows, columns=[*COLUMNS, "variance", "peer", "last"])


def _compared(peers: pd.DataFrame, fixed: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of one method, N and task."""
    validation = [_finished(last)["validation_accuracy"].mean() for last in fixed["last"]]
    best = list(fixed.itertuples())[max(range(len(fixed)), key=lambda place: np.nan_to_num(validation[place], nan=-1))]
    reference = _finished(best.last)["test_accuracy"]
    rows = []
    for row in peers.to_dict("records"):
        accuracy = _finished(row["last"])["test_accuracy"]
        regret = mean_interval((reference - accuracy).dropna())
        row |= dict(zip(["regret", "low", "high"], regret, strict=True))
        row |= {"test_accuracy_mean": accuracy.mean(), "best_fixed": best.noise_variance}
        row |= {"best_accuracy": reference.mean(), "num_seeds": len(row["last"])}
        rows.append(row | {"diverged": len(row["last"]) - len(accuracy)})
    return rows


def _finished(last: pd.DataFrame) -> pd.DataFrame:
    return last[last["status"] != "diverged"]
