"""How N* grows with K: the exponent b of N* ∝ K^b, by censored log-normal regression, beside the law's own.

Over all K measured of a task, and decade by decade: the law is no pure power. At level logits it comes near 2 from
below. In a trained network N* is affine in K, as a logit that no label uses, and that cannot win, adds p/(t|∇p|²) and
no more: over a range the exponent lies below 1, nearer to 1 the more of N* is such logits' share, that is the larger K.
That local exponent at the largest K is the last decade's: `last_exponent` with its interval and `last_law` stand in the
row of all K, too. After the same steps a network of more logits is less trained, which is part of any slope.

Each example (or batch) at each K is an observation, its N* known to lie in an interval or above what was drawn
(`statistics.regression`). All K are asked about the same images, so each has an intercept of its own, and the interval
is one over images. It does not contain the variation between networks: there is one for each K. Where at some K nobody
arrived there is no exponent: `reason` says so. `predicted` is what the same regression makes of the law's N* of the
same examples, put into the same cells of the grid and censored at the same N: a law without error has `predicted` =
`exponent`. `law` is the exponent of all of the law's N* as they are, by least squares within images; NaN where it has
none (inf).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from esgrad.report import markdown as md
from esgrad.report.tables.samples_needed import KEY, cells, fewest, needs, reached
from esgrad.statistics.regression import exponent
from esgrad.suite.gathered import Suite

LINE = [word for word in KEY if word != "logit_dim"]
LAST = ["last_exponent", "last_low", "last_high", "last_law"]
COLUMNS = [
    *(*LINE, "logit_dim_low", "logit_dim_high", "num_dims", "num_observations", "censored_share"),
    *("exponent", "low", "high", "predicted", "law", *LAST, "reason"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each stage, level, shaping, wanted cosine and range of K; a line of a single K has none."""
    rows: list[dict[str, Any]] = []
    for key, needed in needs(suite.samples_needed).groupby(LINE, dropna=False, sort=False):
        ranges = list(_ranges(needed["logit_dim"]))
        fits = [_fit(needed[needed["logit_dim"].between(*ends)]) for ends in ranges]
        if len(fits) > 1:  # all K come first, and the largest last
            last = [fits[-1][word] for word in ("exponent", "low", "high", "law")]
            fits[0] |= dict(zip(LAST, last, strict=True))
        rows += [dict(zip(LINE, key, strict=True)) | fit for fit in fits]
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"batch_size": "Int64"})
    return frame.round(6)  # the last bits of a fit depend on the machine's linear algebra


def markdown(frame: pd.DataFrame) -> str:
    """The table with each range and each interval in one column."""
    shown = frame.drop(columns=["low", "high", "logit_dim_low", "logit_dim_high", "last_low", "last_high"])
    dims = [
        f"{md.number(low)}–{md.number(high)}"
        for low, high in zip(frame["logit_dim_low"], frame["logit_dim_high"], strict=True)
    ]
    shown.insert(shown.columns.get_loc("num_dims"), "K", dims)
    shown["exponent"] = list(map(md.interval, frame["exponent"], frame["low"], frame["high"]))
    shown["last_exponent"] = list(map(md.interval, frame["last_exponent"], frame["last_low"], frame["last_high"]))
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
    images = needed["example"].fillna(0)
    found = exponent(sizes, needed["low"], needed["high"], images)
    low, high = _cells(needed)
    by_law = exponent(sizes, low, high, images)
    return {
        "logit_dim_low": sizes.min(),
        "logit_dim_high": sizes.max(),
        "num_dims": sizes.nunique(),
        "num_observations": len(needed),
        "censored_share": found.censored_share,
        "exponent": found.estimate,
        "low": found.low,
        "high": found.high,
        "predicted": by_law.estimate,
        "law": _slope(sizes, law, images),
        "reason": found.refusal,
    }


def _cells(needed: pd.DataFrame) -> NDArray:
    """The law's N* in the cells of what was measured, K by K, as each had a budget of its own: low and high, [2, n]."""
    found = np.empty((2, len(needed)))
    for _, at in needed.reset_index(drop=True).groupby("logit_dim"):
        low, high, law = (at[word].to_numpy(dtype=float) for word in ("low", "high", "predicted"))
        found[:, at.index] = cells(law, fewest(needed), reached(low, high))
    return found


def _slope(sizes: pd.Series, values: pd.Series, images: pd.Series) -> float:
    """Least squares on the logs, an intercept for each image; NaN unless all are finite."""
    if not np.isfinite(values).all():
        return np.nan
    frame = pd.DataFrame({"x": np.log(sizes.astype(float)), "y": np.log(values), "image": images})
    within = frame[["x", "y"]] - frame.groupby("image")[["x", "y"]].transform("mean")
    square = (within["x"] ** 2).sum()
    return float((within["x"] * within["y"]).sum() / square) if square else np.nan
