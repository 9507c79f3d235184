"""How to choose t: final test accuracy over N and t, a panel for each method, with the share of seeds on target.

The second line of a cell is the hit rate at the highest absolute target that any run of the experiment reached.
"""

from typing import Any

import pandas as pd

from esgrad import runs, style
from esgrad.figures import _heatmap, _select
from esgrad.suite import Suite
from esgrad.tables import accuracy, targets

TITLE = "How to choose t?"
COLUMNS = [
    *(*_select.SETTING, "blackbox", "method", "num_samples", "noise_variance", "label"),
    *("test_accuracy_mean", "diverged", "num_seeds", "target", "hits"),
]


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per cell of a heat map; `target` is the accuracy that `hits` of num_seeds reached."""
    name = _select.experiment(suite, "variance", "noise_variance")
    records = _select.reported(suite, name)
    records = records[records["noise_variance"].notna() & records["num_samples"].notna()]
    if records.empty:
        return style.words(TITLE, "No experiment of this configuration varies t.", COLUMNS)
    frame = _select.table(accuracy, suite, name).merge(_hits(suite, name), how="inner")
    frame = _select.labelled(frame, by=["blackbox"])
    figure = _heatmap.draw(frame, "noise_variance", TITLE, _second_line)
    target = frame["target"].max()
    second = f"hit: a seed whose validation accuracy reached {target:g}" if target > 0 else "no target was reached"
    style.footnote(figure, records, "number: mean over the seeds that finished, no band", second)
    return figure, frame[COLUMNS]


def _hits(suite: Suite, name: str) -> pd.DataFrame:
    """Each cell that has an N, with how many seeds hit the highest absolute target that any run reached."""
    frame = _select.table(targets, suite, name)
    frame = frame[frame["num_samples"].notna() & (frame["unit"] == "steps")]
    absolute = frame[frame["target"].str.startswith("accuracy")]
    cells = frame[runs.COLUMNS].drop_duplicates()
    target = absolute.loc[absolute["hits"] > 0, "target_accuracy"].max()
    reached = absolute.loc[absolute["target_accuracy"] == target, [*runs.COLUMNS, "hits"]]
    return cells.merge(reached, how="left").assign(target=target)


def _second_line(row: Any) -> str:
    return "" if pd.isna(row.hits) else f"{row.hits:.0f}/{row.num_seeds} hit"
