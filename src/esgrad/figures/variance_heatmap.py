"""How to choose t: final test accuracy over N and t, a panel for each method, with the share of seeds on target.

The second line of a cell is the hit rate at the highest absolute target that any run of the experiment reached.
"""

from typing import Any

import pandas as pd

from esgrad import runs, style
from esgrad.figures import _heatmap, _select
from esgrad.suite import Suite
from esgrad.tables import accuracy

TITLE = "How to choose t?"
COLUMNS = [
    *(*_select.SETTING, "blackbox", "method", "num_samples", "noise_variance", "label"),
    *("test_accuracy_mean", "diverged", "num_seeds", "target", "hits"),
]
VALUE = "test_accuracy_mean"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per cell of a heat map; `target` is the accuracy that `hits` of num_seeds reached."""
    name = _select.experiment(suite, "variance", "noise_variance")
    records = _select.reported(suite, name)
    records = records[records["noise_variance"].notna() & records["num_samples"].notna()]
    if records.empty:
        return style.words(TITLE, "No experiment of this configuration varies t.", COLUMNS)
    hits = _hits(suite, records)
    frame = _select.table(accuracy, suite, name).merge(hits, how="inner")
    frame = _select.labelled(frame, by=["blackbox"])
    figure = _heatmap.draw(frame, "noise_variance", TITLE, _second_line)
    target = frame["target"].max()
    second = f"hit: a seed whose validation accuracy reached {target:g}" if target > 0 else "no absolute targets"
    style.footnote(figure, records, "number: mean over the seeds that finished, no band", second)
    return figure, frame[COLUMNS]


def _hits(suite: Suite, records: pd.DataFrame) -> pd.DataFrame:
    """How many seeds of each cell hit the highest absolute target that any run reached; the lowest if none did."""
    rows: list[dict[str, Any]] = [cell for cell, _ in runs.cells(suite, records)]
    for target in sorted(suite.targets.get("accuracy", []), reverse=True):
        counts = [int(runs.arrivals(runs_of, target)["hit"].sum()) for _, runs_of in runs.cells(suite, records)]
        rows = [row | {"target": target, "hits": hits} for row, hits in zip(rows, counts, strict=True)]
        if any(counts):
            break
    frame = pd.DataFrame(rows, columns=[*runs.COLUMNS, "target", "hits"])
    return frame.astype({"num_samples": "Int64", "target": float, "hits": float})


def _second_line(row: Any) -> str:
    return "" if pd.isna(row.hits) else f"{row.hits:.0f}/{row.num_seeds} hit"
