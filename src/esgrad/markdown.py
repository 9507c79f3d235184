"""Tables as Markdown: numbers of three digits, empty cells where there is nothing to say."""

import numbers

import numpy as np
import pandas as pd
from tabulate import tabulate


def markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table: NaN is an empty cell, inf is ∞, three significant digits."""
    if frame.empty:
        return "_No rows._\n"
    align = ["right" if pd.api.types.is_numeric_dtype(kind) else "left" for kind in frame.dtypes]
    rows = [[text(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return tabulate(rows, list(frame.columns), "pipe", disable_numparse=True, colalign=align) + "\n"


def text(value: object) -> str:
    """One cell: numbers to three digits (thousands in full), truth as yes or no, NaN as nothing."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or value is pd.NA or value != value:
        return ""
    return number(float(value)) if isinstance(value, numbers.Real) else str(value).replace("|", "\\|")


def number(value: float) -> str:
    """12345.6 → 12,346; 0.12345 → 0.123; 1e-5 → 1e-05; inf → ∞."""
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def interval(estimate: float, low: float, high: float) -> str:
    """`estimate (low–high)`; `> low` for an estimate beyond all that was spent; nothing for NaN."""
    if np.isnan(estimate):
        return ""
    if np.isinf(estimate):
        return f"> {number(low)}"
    return number(estimate) if np.isnan(low) else f"{number(estimate)} ({number(low)}–{number(high)})"


def ratio(estimate: float, low: float, high: float) -> str:
    """Like `interval`, but with runs that never arrived (high = inf) a lower bound, `> estimate`."""
    return f"> {number(estimate)}" if np.isinf(high) else interval(estimate, low, high)
