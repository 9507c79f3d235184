"""How N* grows with K: the exponent b of N* ∝ K^b, by censored log-normal regression, beside the law's own.

Over all K measured of a task, and decade by decade, as the law is no pure power. Each example (or the batch) at each K
is an observation, its N* known to lie in an interval or above what was drawn (`statistics.regression`). Where at some K
nobody arrived there is no exponent: `reason` says so. `law` is the exponent of the law's N* for the same examples, all
of which it knows; `law_of_hits` of those alone that arrived.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from esgrad import markdown as md
from esgrad.statistics.regression import exponent
from esgrad.suite import Suite
from esgrad.tables.samples_needed import KEY, needs

LINE = [word for word in KEY if word != "logit_dim"]
COLUMNS = [
    *(*LINE, "logit_dim_low", "logit_dim_high", "num_dims", "num_observations", "censored_share", "never_share"),
    *("exponent", "low", "high", "law", "law_of_hits", "reason"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each stage, level, shaping, wanted cosine and range of K; a line of a single K has none."""
    rows: list[dict[str, Any]] = []
    for key, needed in needs(suite.samples_needed).groupby(LINE, dropna=False, sort=False):
        for first, last in _ranges(needed["logit_dim"]):
            part = needed[needed["logit_dim"].between(first, last)]
            rows.append(dict(zip(LINE, key, strict=True)) | _fit(part))
    return pd.DataFrame(rows, columns=COLUMNS).astype({"batch_size": "Int64"})


def markdown(frame: pd.DataFrame) -> str:
    """The table with each range and each interval in one column."""
    shown = frame.drop(columns=["low", "high", "logit_dim_low", "logit_dim_high"])
    dims = [
        f"{md.number(low)}–{md.number(high)}"
        for low, high in zip(frame["logit_dim_low"], frame["logit_dim_high"], strict=True)
    ]
    shown.insert(shown.columns.get_loc("num_dims"), "K", dims)
    shown["exponent"] = list(map(md.interval, frame["exponent"], frame["low"], frame["high"]))
    return md.markdown(shown)


def _ranges(logit_dims: pd.Series) -> Iterator[tuple[int, int]]:
    """All K, and the decades with two K or more that are not all; from the first to the last K of each."""
    known = sorted(logit_dims.unique())
    whole = (int(known[0]), int(known[-1]))
    decades = [[k for k in known if 10**i <= k <= 10 ** (i + 1)] for i in range(int(np.log10(known[-1])) + 1)]
    found = [(int(part[0]), int(part[-1])) for part in decades if len(part) > 1]
    yield from [] if len(known) < 2 else [whole, *(part for part in found if part != whole)]


def _fit(needed: pd.DataFrame) -> dict[str, Any]:
    sizes, law = needed["logit_dim"], needed["predicted"].astype(float)
    found = exponent(sizes, needed["low"], needed["high"])
    return {
        "logit_dim_low": sizes.min(),
        "logit_dim_high": sizes.max(),
        "num_dims": sizes.nunique(),
        "num_observations": len(needed),
        "censored_share": found.censored_share,
        "never_share": found.never_share,
        "exponent": found.estimate,
        "low": found.low,
        "high": found.high,
        "law": _slope(sizes, law),
        "law_of_hits": _slope(sizes, law.where(np.isfinite(needed["high"].astype(float)))),
        "reason": found.refusal,
    }


def _slope(sizes: pd.Series, values: pd.Series) -> float:
    """Least squares on the logs of what is finite; NaN unless every K has some."""
    known = np.isfinite(values)
    if set(sizes[known]) != set(sizes):
        return np.nan
    return float(np.polyfit(np.log(sizes[known].astype(float)), np.log(values[known]), 1)[0])
