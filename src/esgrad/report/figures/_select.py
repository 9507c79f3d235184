"""What a figure draws of a suite: the right experiment, one setting a panel, one N a line, names for the lines."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np
import pandas as pd

from esgrad.report import runs, style
from esgrad.statistics import mean_interval
from esgrad.suite.gathered import CELL, Suite

SETTING = ["dataset", "model", "logit_dim", "batch_size"]
VARIANT = ("blackbox", "noise_variance", "num_samples")


def experiment(suite: Suite, name: str, varies: str) -> str:
    """`name` if the suite has runs of it, else the first experiment in which a method's `varies` varies, else ''."""
    records = suite.reported
    present = set(records["experiment"])
    for other in [name, *runs.experiments(suite)]:
        if other in present and (other == name or _varies(records[records["experiment"] == other], varies)):
            return other
    return ""


def varying(suite: Suite, column: str, name: str) -> list[str]:
    """The experiments in which a method's `column` varies, those whose name begins with `name` if there are any."""
    records = suite.reported
    found = [e for e in runs.experiments(suite) if _varies(records[records["experiment"] == e], column)]
    return [e for e in found if e.startswith(name)] or found[:1]


def _varies(records: pd.DataFrame, column: str) -> bool:
    """Whether one cell's name differs from another's by `column` alone; a t that was tuned for each N does not vary."""
    apart = ["method", "blackbox", *(["num_samples"] if column == "noise_variance" else [])]
    groups = records if column == "method" else records.groupby(apart, dropna=False)
    return len(records) > 0 and bool(np.max(groups[column].nunique()) > 1)


def reported(suite: Suite, *experiments: str) -> pd.DataFrame:
    """The reported records of some experiments."""
    return suite.reported[suite.reported["experiment"].isin(experiments)]


def table(module: ModuleType, suite: Suite, *experiments: str) -> pd.DataFrame:
    """The rows of some experiments in a table (a module of `esgrad.report.tables`).

    Other experiments' records stay out of the work, but for the backprop it may be measured by.
    """
    kept = suite.records["experiment"].isin(experiments) | (suite.records["method"] == "backprop")
    tuned = suite.tuning["experiment"].isin(experiments)
    part = replace(suite, records=suite.records[kept], tuning=suite.tuning[tuned])
    frame = module.table(part)
    return frame[frame["experiment"].isin(experiments)].reset_index(drop=True)


def credited_with_gaussian_noise(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of what the lecture asks: independent Gaussian samples, each credited with its noise."""
    return frame[(frame["noise"] == "independent") & (frame["credit"] == "noise")]


def settings(frame: pd.DataFrame, columns: Sequence[str] = SETTING) -> list[tuple[str, pd.DataFrame]]:
    """The rows, one setting after another, each with a title of the words that tell it from the others."""
    differ = [column for column in columns if frame[column].nunique(dropna=False) > 1]
    if not differ:
        return [("", frame)]
    groups = frame.groupby(differ, dropna=False)
    return [(", ".join(map(phrase, differ, key)), group) for key, group in groups]


def phrase(column: str, value: object) -> str:
    """A setting in a title: `K = 100`, `digits`."""
    if column not in style.LETTERS:
        return style.label(str(value))
    return f"{style.LETTERS[column]} = {style.number(value)}"  # type: ignore[arg-type]


def nearest(values: pd.Series, wanted: float) -> float:
    """The value nearest to `wanted` on a log scale, the smaller of two as near; NaN where there is none."""
    known = np.unique(values.dropna().to_numpy(dtype=float))
    return float(known[np.abs(np.log(known / wanted)).argmin()]) if known.size else np.nan


def at_one_n(frame: pd.DataFrame, wanted: float = 10) -> pd.DataFrame:
    """Of each method the rows at its N nearest `wanted`, and those of methods that have no N."""
    chosen = frame["method"].map({m: nearest(rows, wanted) for m, rows in frame.groupby("method")["num_samples"]})
    return frame[frame["num_samples"].isna() | (frame["num_samples"].astype(float) == chosen)]


def labelled(frame: pd.DataFrame, by: Sequence[str] = VARIANT) -> pd.DataFrame:
    """The rows with a name for their line, `label`, and whether it is `dashed`.

    A line is a method; with its black box and t where it has several of them here, and with N where N differs.
    Dashed is a method's second black box (not the 0/1 that all methods share).
    """
    labels = frame["method"].map(style.label)
    for column in by:
        named = _count(frame, column) > 1
        if column == "num_samples" and frame[column].nunique() > 1:
            named = frame[column].notna()
        labels = labels.where(~named, labels + ", " + [phrase(column, value) for value in frame[column]])
    second = (_count(frame, "blackbox") > 1) & (frame["blackbox"] != "zero_one")
    return frame.assign(label=labels, dashed=second)


def _count(frame: pd.DataFrame, column: str) -> pd.Series:
    return frame.groupby("method")[column].transform("nunique")


def lines(frame: pd.DataFrame) -> Iterator[tuple[str, dict, pd.DataFrame]]:
    """The label, look and rows of each line of a `labelled` frame, in the order of the palette."""
    frame = frame.sort_values(["dashed", "num_samples", "noise_variance"], kind="stable")
    for method in style.order(frame["method"]):
        for (label, dashed), line in frame[frame["method"] == method].groupby(["label", "dashed"], sort=False):
            yield label, style.look(method, dashed), line


def samples(frame: pd.DataFrame) -> str:
    """The N of these rows in words: `N = 10`, or `N as labelled`."""
    known = frame["num_samples"].dropna().unique()
    return "no N" if not len(known) else f"N = {known[0]}" if len(known) == 1 else "N as labelled"


def diverged(records: pd.DataFrame) -> pd.Series:
    """Whether any run of a row's cell diverged."""
    return (records["status"] == "diverged").groupby([records[key] for key in CELL], dropna=False).transform("any")


def summary(records: pd.DataFrame, keys: Sequence[str], value: str) -> pd.DataFrame:
    """Per group: the mean of `value` under its own name, Student's t interval `low`, `high`, and `num_seeds`.

    A group in which a value is missing (a run diverged) has none of the three.
    """
    rows = [
        (*key, *mean_interval(group), len(group))
        for key, group in records.groupby(list(keys), dropna=False, sort=False)[value]
    ]
    return pd.DataFrame(rows, columns=[*keys, value, "low", "high", "num_seeds"])
