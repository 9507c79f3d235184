"""What the committed reference results say: their tables, and numbers as the pages write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

REFERENCE = Path(__file__).parents[1] / "results" / "reference"
BENCHMARKS = REFERENCE.parent / "benchmarks"
NAMES = {"default": "digits", "mnist": "MNIST"}


def table(suite: str, name: str) -> pd.DataFrame:
    """A committed table."""
    return pd.read_csv(REFERENCE / suite / "tables" / f"{name}.csv")


def chosen(frame: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows with these values."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def one(frame: pd.DataFrame, **wanted: Any) -> pd.Series:
    """The only row with these values."""
    found = chosen(frame, **wanted)
    if len(found) != 1:
        raise SystemExit(f"{len(found)} rows of a table have {wanted}: expected one")
    return found.iloc[0]


def accuracies(suite: str, experiment: str) -> pd.DataFrame:
    """An experiment's final accuracies."""
    return chosen(table(suite, "accuracy"), experiment=experiment)


def accuracy(row: pd.Series) -> str:
    """A mean accuracy."""
    return f"{row['test_accuracy_mean']:.3f}"


def interval(row: pd.Series) -> str:
    """A mean accuracy with its interval, and a mark where runs lose a class."""
    lost = "\\*" if row["dead_class_rate"] > 0 else ""
    return f"{accuracy(row)} ({row['low']:.3f}–{row['high']:.3f}){lost}"


def two(value: float) -> str:
    """Two digits: N is known to a cell of a grid of eight a decade."""
    return f"{float(f'{value:.2g}'):,.0f}" if np.isfinite(value) else "∞"


def has(suite: str) -> bool:
    """Whether that suite's results are committed."""
    return (REFERENCE / suite).is_dir()


def config() -> dict[str, Any]:
    """The default's configuration."""
    found: dict[str, Any] = json.loads((REFERENCE / "default" / "suite.json").read_text(encoding="utf-8"))
    return found


def over_t(method: str, n: int, least: float = 0.0) -> str:
    """How far the final accuracies over all fixed t from `least` on lie apart."""
    frame = chosen(accuracies("default", "variance"), method=method, num_samples=n)
    means = frame[frame["noise_variance"] >= least]["test_accuracy_mean"]
    return f"{means.max() - means.min():.3f}"


def exponents(suite: str, cosine: float) -> pd.DataFrame:
    """The powers over all K from ten on; at equal logits, where they change with K, over each factor of ten."""
    frame = chosen(table(suite, "exponents"), cosine=cosine)
    frame = frame[(frame["logit_dim_low"] >= 10) & frame["exponent"].notna()]
    factor = frame["logit_dim_high"] / frame["logit_dim_low"]
    return frame[factor == factor.groupby(frame["stage"]).transform("max").where(frame["stage"] != "level", 10)]
