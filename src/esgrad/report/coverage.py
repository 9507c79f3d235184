"""How often the intervals hold the truth, on planted data: `make coverage`, which runs this module.

Each suite holds n seeds; the table says in what share of the suites an interval held the planted truth, at a nominal
95 %, and how often the tests raise an alarm, at a nominal 5 %. Every cell of the study has random numbers of its own:
no number depends on which others are asked for.
"""

import sys
import zlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from esgrad.files import written
from esgrad.report import markdown
from esgrad.statistics import CONFIDENCE
from esgrad.statistics.comparisons import LEVEL
from esgrad.statistics.coverage_trials import ALARM, FAMILY, TRIALS, Condition

SEEDS = (5, 10, 20)
LATE, NEVER = (0.0, 0.25, 0.5), (0.0, 0.2)
SUITES = 1000
_WORDS = """\
# What the intervals cover

Made by `make coverage`: {suites:,} planted suites a cell. Of the runs that would arrive a share `late` needs more \
than its budget; a share `never` would not arrive whatever the budget (coverage_trials.py). n seeds a cell; for \
the exponents, at each of four sizes K.

**Intervals**, nominal 95 %: in how many of 100 suites the interval held the truth. *Low* marks a coverage below 95 % \
by more than three standard errors: read such an interval as one of the level that stands here. In brackets the \
percentage of suites that had an interval, where some had none; those do not count.

{intervals}
**Alarms**, nominal 5 %: in how many of 100 suites something was found. Sign flips and Holm: any of {family} methods \
told from a reference that is like themselves, so all of these are false; what a seed does it does to all.

{alarms}"""


def study(suites: int = SUITES, names: Sequence[str] = ()) -> pd.DataFrame:
    """The table [interval × condition]: nominal and actual coverage, its standard error, the share of suites counted.

    `names` picks from TRIALS, all by default. `given` is the share of suites that had an interval at all: an exponent
    is refused where a size has no hit.
    """
    rows: list[dict[str, Any]] = []
    for name, condition in cases():
        if names and name not in names:
            continue
        rng = np.random.default_rng([zlib.crc32(name.encode()), *(round(100 * value) for value in condition)])
        trials = pd.DataFrame([TRIALS[name](rng, condition) for _ in range(suites)])
        for interval, held in trials.items():
            given, share = held.count(), float(held.mean())
            counted = {"suites": suites, "given": given / suites, "nominal": LEVEL if name == ALARM else CONFIDENCE}
            measured = {"coverage": share, "standard_error": np.sqrt(share * (1 - share) / given)}
            rows.append({"interval": interval, **condition._asdict(), **counted, **measured})
    return pd.DataFrame(rows)


def cases() -> Iterator[tuple[str, Condition]]:
    """Every interval under every condition that concerns it."""
    for name, never, late, seeds in product(TRIALS, NEVER, LATE, SEEDS):
        if not (
            (name == "mean_interval" and late)
            or (name == "geometric_mean_interval" and late + never)
            or (name == "exponent" and never)
            or (name == "exponent, same subjects" and (never or late > 0.25 or seeds > 10))
        ):
            yield name, Condition(seeds, late, never)


def words(frame: pd.DataFrame) -> str:
    """The study as Markdown: a line for each interval and condition, a column for each n, in percent."""
    intervals = frame[frame["nominal"] > 0.5]
    return _WORDS.format(
        suites=int(frame["suites"].max()),
        family=FAMILY,
        intervals=_wide(intervals),
        alarms=_wide(frame.drop(intervals.index)),
    )


def _wide(frame: pd.DataFrame) -> str:
    shown = frame.assign(text=[_percent(row) for row in frame.to_dict("records")])
    key = ["interval", "late", "never"]
    table = shown.pivot_table(index=key, columns="seeds", values="text", aggfunc="first", sort=False)
    return markdown.markdown(table.rename(columns=lambda n: f"n = {n}").reset_index().rename_axis(columns=None))


def _percent(row: dict[str, Any]) -> str:
    """`94.8`, `83.1 low`, `96.2 (64)`."""
    level, count = row["nominal"], row["suites"] * row["given"]
    low = level > 0.5 and row["coverage"] < level - 3 * np.sqrt(level * (1 - level) / count)
    given = f" ({100 * row['given']:.0f})" if round(100 * row["given"]) < 100 else ""
    return f"{100 * row['coverage']:.1f}{' low' if low else ''}{given}"


def main(folder: str) -> None:
    """Write coverage.csv and coverage.md into a folder and print the latter."""
    frame = study()
    for kind, text in (("csv", frame.to_csv(index=False, float_format="%.6g")), ("md", words(frame))):
        with written(Path(folder) / f"coverage.{kind}") as path:
            path.write_text(text, encoding="utf-8", newline="\n")
    print(words(frame))


if __name__ == "__main__":
    main(sys.argv[1])
