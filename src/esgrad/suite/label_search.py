"""Label search: ask the box answer by answer until it says yes, once for every example; then train without asking.

A box that says right or wrong of one class tells the label after (K + 1)/2 − 1/K queries on average, K classes being
alike before anything is asked, the last of which need not be asked about. A box that adds digits tells the sum in the
same way, the commonest sum asked first; no digit can be found so, but the sum is what the box judges by. Once the label
is known, an exact gradient trains by it (`TRAINED_BY`), whose runs are this baseline's with queries of their own: as
many as the examples seen so far have cost, each once. Nothing is trained again. It is the price that every estimate
from such a box is to be measured by; where a box judges a batch as a whole, there is no such baseline.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from esgrad import menu
from esgrad.tasks.data import describe, num_train

METHOD = "label_search"
TRAINED_BY = {"zero_one": "backprop", "digit_sum": "marginal"}
"""The boxes whose labels can be found, and the exact gradient that trains by them."""
TASK = ["experiment", "dataset", "model", "logit_dim", "batch_size"]


def queries_per_label(chances: ArrayLike) -> float:
    """The mean number of queries that tell a label, [labels] of such chances (or counts): the likeliest is asked first.

    The last one left need not be asked about.
    """
    shares = np.sort(np.asarray(chances, dtype=float))[::-1]
    asked = np.minimum(np.arange(1, len(shares) + 1), len(shares) - 1)
    return float(asked @ shares / shares.sum())


def chances(blackbox: str, dataset: str, logit_dim: int) -> NDArray:
    """How common each label of a box is, [labels], while nothing is known of an example."""
    readings, classes = menu.load("blackboxes", blackbox).readings(describe(dataset)["num_classes"])
    alike = np.ones(max(classes, logit_dim))  # classes that no label uses may be right, too
    found = alike
    for _ in range(readings - 1):
        found = np.convolve(found, alike)
    return found


def runs(records: pd.DataFrame) -> pd.DataFrame:
    """The exact gradients' rows as label search's, on the tasks of an experiment where somebody asks such a box."""
    parts = [_runs(records, box, trained_by) for box, trained_by in TRAINED_BY.items()]
    return pd.concat(parts, ignore_index=True)


def _runs(records: pd.DataFrame, box: str, trained_by: str) -> pd.DataFrame:
    exact = records[records["method"] == trained_by]
    asked = records.loc[(records["blackbox"] == box) & (records["method"] != trained_by), TASK].drop_duplicates()
    found = exact.merge(asked, on=TASK).astype(records.dtypes.to_dict())
    tasks = found[["dataset", "logit_dim"]].drop_duplicates().itertuples(index=False)
    price = {task: queries_per_label(chances(box, *task)) for task in map(tuple, tasks)}
    labels = {dataset: num_train(describe(dataset)) for dataset in found["dataset"].unique()}
    asked_once = found["examples"].clip(upper=found["dataset"].map(labels))
    each = [price[task] for task in zip(found["dataset"], found["logit_dim"], strict=True)]
    queries = asked_once * pd.Series(each, index=found.index, dtype=float)
    return found.assign(method=METHOD, blackbox=box, queries=queries).astype(records.dtypes.to_dict())
