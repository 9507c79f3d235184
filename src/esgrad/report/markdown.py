"""Tables as Markdown, and Markdown as a page: numbers of three digits, empty cells where there is nothing to say."""

import html
import numbers

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt
from tabulate import tabulate

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; margin: 2rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }}
h1::first-letter {{ text-transform: uppercase; }}
h3 {{ margin-top: 2rem; }}
p, li, blockquote {{ max-width: 50rem; }}
blockquote {{ margin-left: 0; padding-left: 1rem; border-left: 3px solid #bbb; font-style: italic; }}
table {{ border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .45rem; border-bottom: 1px solid #ddd; white-space: nowrap; }}
td:last-child {{ min-width: 9rem; white-space: normal; }}
th {{ position: sticky; top: 0; background: #f2f2f2; }}
tr:hover td {{ background: #f7f7f7; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
{body}
"""


def markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table: NaN is an empty cell, inf is ∞, three significant digits."""
    if frame.empty:
        return "_No rows._\n"
    align = ["right" if pd.api.types.is_numeric_dtype(kind) else "left" for kind in frame.dtypes]
    rows = [[text(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return tabulate(rows, list(frame.columns), "pipe", disable_numparse=True, colalign=align) + "\n"


def page(title: str, summary: str, words: str) -> str:
    """Markdown as an HTML page that needs nothing from elsewhere, under a title and a sentence that says what it is."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(words)
    return _PAGE.format(title=html.escape(title), summary=html.escape(summary), body=body)


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
    """`12.3 (8–19)`; `12.3 (8–∞)` where censored runs leave it open; `> 8` for estimate inf; nothing for NaN."""
    if np.isnan(estimate):
        return ""
    if np.isinf(estimate):
        return f"> {number(low)}"
    return number(estimate) if np.isnan(low) else f"{number(estimate)} ({number(low)}–{number(high)})"


def ratio(estimate: float, low: float, high: float) -> str:
    """A paired ratio: as `interval`, but `< 0.4` for estimate 0, and nothing where no end is known."""
    if estimate == 0:
        return f"< {number(high)}" if np.isfinite(high) else ""
    return "" if np.isinf(estimate) and low == 0 else interval(estimate, low, high)
