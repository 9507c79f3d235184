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

from esgrad import markdown
from esgrad.files import written
from esgrad.statistics.coverage_trials import FAMILY, NOMINAL, TRIALS, Condition

SEEDS = (5, 10, 20)
LATE, NEVER = (0.0, 0.25, 0.5), (0.0, 0.2)
SUITES = 1000
COLUMNS = [
    *("interval", "seeds", "late", "never"),
    *("suites", "given", "nominal", "coverage", "standard_error"),
]
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
told from a reference that is like themselves, so all of these are false; what a seed does it does to all. \
Cure check: runs that never arrive told from late ones; false where `never` is 0, its power where it is not.

{alarms}"""


def study(suites: int = SUITES, names: Sequence[str] = ()) -> pd.DataFrame:
    """The table [interval × condition]: nominal and actual coverage, its standard error, the share of suites counted.

    `names` picks from TRIALS, all by default. `given` is the share of suites that had an interval at all: an exponent
    is refused where a size has no hit.
    """
    rows: list[dict[str, Any]] = []
    for name, condition in cases():
        if not names or name in names:
            rng = np.random.default_rng([zlib.crc32(name.encode()), *(round(100 * value) for value in condition)])
            rows += _rows([TRIALS[name](rng, condition) for _ in range(suites)], condition)
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(trials: list[dict[str, bool]], condition: Condition) -> Iterator[dict[str, Any]]:
    for name in sorted({name for trial in trials for name in trial}, key=list(NOMINAL).index):
        found = [trial[name] for trial in trials if name in trial]
        share = float(np.mean(found))
        error = float(np.sqrt(share * (1 - share) / len(found)))
        counted = {"suites": len(trials), "given": len(found) / len(trials)}
        level = {"nominal": NOMINAL[name], "coverage": share, "standard_error": error}
        yield {"interval": name, **condition._asdict(), **counted, **level}


def cases() -> Iterator[tuple[str, Condition]]:
    """Every interval under every condition that concerns it."""
    for name, never, late, seeds in product(TRIALS, NEVER, LATE, SEEDS):
        if not (
            (name == "mean_interval" and late)
            or (name == "geometric_mean_interval" and late + never)
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
    table = shown.pivot_table(
        index=["interval", "never", "late"], columns="seeds", values="text", aggfunc="first", sort=False
    )
    table = table.rename(columns=lambda n: f"n = {n}").reset_index().rename_axis(columns=None)
    return markdown.markdown(table[["interval", "late", "never", *table.columns[3:]]])


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
