"""Are evolution strategies "as much as 1,000 times slower than using backpropagation"?

The sentence is OpenAI's, on MNIST, without a protocol, so the answer is given in each unit, at each level of backprop's
progress, for each N. A large enough N makes any method slow in queries, so a verdict is about the best N there may be
for a method on a black box to a target. Which N that is the runs may not tell: they end after a number of steps, so a
small N is censored at few queries. Its ratio is at least the smallest `ratio_low` of all N tried, and at most the
smallest `ratio_high` (a ratio of which nothing is known lies between 0 and ∞): `supported` if for some method, black
box and target no N's interval reaches below 1,000, `contradicted` if for each of them some N's whole interval lies
below, else `undecided`.

`best` marks, for a method on a black box, a target and a unit, the setting with the smallest ratio of those that have
one (half of the runs arrived, and of backprop's), within the budget of the runs; none where no setting has. The best is
picked on the runs it is reported on, which flatters it. Ratios and intervals are those of
`esgrad.statistics.ratio_interval`, with no allowance for how many of them a verdict looks at.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import starmap
from typing import Any

import numpy as np
import pandas as pd

from esgrad.report import markdown as md
from esgrad.report.runs import TASK, experiments
from esgrad.report.tables import targets
from esgrad.suite import label_search
from esgrad.suite.gathered import Suite

CLAIM = 1000

_QUOTATION = """\
> [...] using ES to estimate the gradient on the MNIST digit recognition task can be as much as 1,000 times \
slower than using backpropagation.

OpenAI, *Evolution strategies as a scalable alternative to reinforcement learning* (2017), the announcement \
of arXiv 1703.03864. It names no protocol: neither N, σ, network nor the unit of slowness.

**How many times backprop's steps, queries and forward passes does an evolution strategy need?**
"""
_WORDS = f"""\
Levels are shares of backprop's progress; brackets hold 95 % intervals, open ("∞", "more than") where runs ended \
before they arrived. *Supported*: some method needs, to some level, {CLAIM:,} times or more at every N \
tried; *contradicted*: each needs less, to each level, at some N; *undecided*: neither is sure.

"Best" is best within the budget of the runs. Where every run had the same number of steps, a small N had few \
queries: one that did not arrive might, with more, be the better.
"""
_RESTS_ON = {"supported": "Shown by", "contradicted": "Dearest:", "undecided": "Left open by"}
_METHOD = ["method", "blackbox"]
_SETTING = [*_METHOD, "num_samples", "noise_variance"]
_COLUMNS = [
    *("experiment", "dataset", "model", "blackbox", "logit_dim", "batch_size"),
    *("method", "space", "num_samples", "noise_variance"),
    *("target", "target_accuracy", "unit", "num_seeds", "hits", "censored", "num_pairs"),
    *(*targets.RATIO, "best"),
]
_COUNTED = {"steps": "steps", "queries": "queries", "forwards": "forward passes"}


def table(suite: Suite) -> pd.DataFrame:
    """One row for each method that asks the box, num_samples, noise_variance, level of progress and unit, where pairs
    exist: evolution strategies, and label search beside them.

    From `headline`, else the first experiment with backprop runs. `num_pairs` are the seeds behind a ratio.
    """
    headline = suite.records[suite.records["experiment"] == _experiment(suite)]
    frame = targets.compared(replace(suite, records=headline))
    frame = frame[frame["target"].str.startswith("progress ") & (frame["num_pairs"] > 0)]
    frame = frame.merge(_spaces(suite), on="method")  # keeps the order of `frame`; the exact arms fall out
    frame["best"] = frame.index.isin(_cheapest(frame, [*TASK, *_METHOD, "target", "unit"]).index)
    return frame[_COLUMNS]


def markdown(frame: pd.DataFrame) -> str:
    """The quotation, the verdicts, a sentence for each method at its best, and a table of all settings."""
    if not (frame["method"] != label_search.METHOD).any():
        return f"{_QUOTATION}\nUnanswered: no evolution strategy ran beside backprop on the same task.\n"
    parts = [_QUOTATION]
    for task, rows in frame.groupby(TASK, sort=False):
        strategies = rows[rows["method"] != label_search.METHOD]
        if len(strategies):
            parts += [_verdict(dict(zip(TASK, task, strict=True)), strategies), *_sections(rows), _all_settings(rows)]
    return "\n".join(parts)


def verdict(rows: pd.DataFrame) -> str:
    """What one unit's intervals say about "as much as 1,000 times" (see the module)."""
    bounds = _bounds(rows)
    if (bounds["ratio_low"] >= CLAIM).any():
        return "supported"
    return "contradicted" if (bounds["ratio_high"] < CLAIM).all() else "undecided"


def _experiment(suite: Suite) -> str:
    held = set(suite.records.loc[suite.records["method"] == "backprop", "experiment"].unique())
    return next((e for e in ["headline", *experiments(suite)] if e in held), "")


def _spaces(suite: Suite) -> pd.DataFrame:
    """The methods that ask the box, and where their noise is; exact arms name no noise."""
    asks = (suite.records["noise"].fillna("") != "") | (suite.records["method"] == label_search.METHOD)
    return suite.records.loc[asks, ["method", "space"]].drop_duplicates("method")


def _cheapest(frame: pd.DataFrame, per: list[str]) -> pd.DataFrame:
    """For each of `per` the row with the smallest ratio, where one is known."""
    known = frame[(frame["ratio_to_backprop"] > 0) & (frame["ratio_to_backprop"] < np.inf)]
    return known.sort_values(["ratio_to_backprop", "ratio_low"], kind="stable").drop_duplicates(per)


def _bounds(rows: pd.DataFrame) -> pd.DataFrame:
    """Between what the best setting there may be lies, in one unit, for a method on a black box to a target.

    A setting whose lower bound is not known (one seed) may be as cheap as it likes.
    """
    groups = rows.groupby([*_METHOD, "target"], sort=False)
    low = groups["ratio_low"].agg(lambda column: column.min(skipna=False))
    return pd.DataFrame({"ratio_low": low, "ratio_high": groups["ratio_high"].min()}).reset_index()


def _verdict(task: dict[str, Any], rows: pd.DataFrame) -> str:
    where = "{dataset}, {model}, K = {logit_dim}, B = {batch_size}".format(**task)
    lines = [
        f"- Noise at the {space}, {_COUNTED[str(unit)]}: **{verdict(group)}**. {_range(group)}"
        for space, there in rows.groupby("space", sort=False)
        for unit, group in there.groupby("unit", sort=False)
    ]
    title = f"**Verdict** ({where}), in times backprop's, each method at its best N:\n"
    return "\n".join([f"{_WORDS}{_untuned(rows)}", title, *lines, ""])


def _untuned(rows: pd.DataFrame) -> str:
    """The sentence on σ where noise at a space was tried at one variance alone."""
    variances = {space: there["noise_variance"].unique() for space, there in rows.groupby("space", sort=False)}
    tried = [f"{md.text(t[0])} at the {space}" for space, t in variances.items() if len(t) == 1]
    return f"The variance t = σ² of the noise is one untuned value, {' and '.join(tried)}.\n" if tried else ""


def _range(rows: pd.DataFrame) -> str:
    """In one unit: the cheapest way to the hardest target, and the bounds on which the verdict rests."""
    hardest = rows[rows["target_accuracy"] == rows["target_accuracy"].max()]
    goal = _goal(hardest.iloc[0])
    cheapest = "".join(
        f"Cheapest to {goal}: {_setting(row)}, {_times(row)}." for _, row in _cheapest(hardest, ["unit"]).iterrows()
    )
    return f"{cheapest or f'At no N did half of the runs arrive at {goal}.'} {_witness(rows)}"


def _witness(rows: pd.DataFrame) -> str:
    """The method and target that support the claim most clearly, come nearest to it, or are left open."""
    answer, bounds = verdict(rows), _bounds(rows)
    if answer == "undecided":
        bounds = bounds[~(bounds["ratio_high"] < CLAIM)]
    ends = ["ratio_low", "ratio_high"] if answer == "supported" else ["ratio_high", "ratio_low"]
    row = bounds.sort_values(ends, kind="stable", na_position="first").iloc[-1]
    return f"{_RESTS_ON[answer]} {row['method']} on {row['blackbox']} to {_goal(row)}, {_between(row)} at its best N."


def _between(row: Any) -> str:
    low, high = row["ratio_low"], row["ratio_high"]
    if np.isfinite(high):
        return f"{md.number(low)}–{md.number(high)} times" if low > 0 else f"less than {md.number(high)} times"
    return f"{md.number(low)} times or more" if low > 0 else "an unknown number of times"


def _sections(rows: pd.DataFrame) -> Iterator[str]:
    for _, of_target in sorted(rows.groupby("target"), reverse=True):
        first = of_target.iloc[0]
        yield f"### {_goal(first)} of backprop's progress: accuracy {md.number(first['target_accuracy'])}\n"
        for _, of_method in of_target.groupby(_METHOD, sort=False):
            if not of_method["best"].any():
                yield _nobody(of_method)
            for _, units in of_method.groupby(_SETTING, sort=False):
                if units["best"].any():
                    yield _sentence(units)
        yield ""


def _nobody(rows: pd.DataFrame) -> str:
    """The sentence for a method that has no ratio at any N: what its best N needs is at least the least bound."""
    first, sizes = rows.iloc[0], ", ".join(md.text(size) for size in rows["num_samples"].unique())
    who = "fewer than half of the runs" if rows["hits"].any() else "no run"
    if not np.isinf(rows["ratio_to_backprop"]).all():
        who = "too few runs, of it or of backprop,"
    least = rows.groupby("unit", sort=False)["ratio_low"].min()
    needs = ", ".join(
        f"{md.number(low)} times {whose} {_COUNTED[str(unit)]}"
        for whose, (unit, low) in zip(["backprop's", "its", "its"], least.items(), strict=False)
    )
    bound = f"The best N needs more than {needs}." if (least > 0).all() else "What the best N needs is not known."
    return (
        f"- {first['method']} on {first['blackbox']}: {who} arrived, whatever N ({sizes}; n = {first['num_seeds']}). "
        f"{bound}"
    )


def _sentence(units: pd.DataFrame) -> str:
    row, best = units.iloc[0], units.loc[units["best"], "unit"].map(_COUNTED)
    needs = ", ".join(
        f"{_times(unit)} {whose} {_COUNTED[unit['unit']]}"
        for whose, (_, unit) in zip(["backprop's", "its", "its"], units.iterrows(), strict=False)
    )
    lost = f"; {row['censored']} of {row['num_seeds']} runs never arrived" if row["censored"] else ""
    praise = f" Its best N in {', '.join(best)}." if len(best) else ""
    goal = f"{_goal(row)} of its progress (n = {row['num_pairs']})"
    return f"- {_setting(row)} needs {needs} to {goal}{lost}.{praise}"


def _all_settings(rows: pd.DataFrame) -> str:
    """A line for each setting and target, a column for each unit."""
    ratios = list(starmap(md.ratio, rows[targets.RATIO].to_numpy()))
    keys = [*_SETTING, "target", "num_pairs", "censored"]
    lines = [
        dict(zip(keys, key, strict=True)) | dict(zip(group["unit"].map(_COUNTED), group["ratio"], strict=True))
        for key, group in rows.assign(ratio=ratios).groupby(keys, sort=False, dropna=False)
    ]
    return f"### Every setting, in times backprop's\n\n{md.markdown(pd.DataFrame(lines))}"


def _times(row: Any) -> str:
    return f"{md.ratio(*row[targets.RATIO]).replace('> ', 'more than ')} times"


def _setting(row: Any) -> str:
    if pd.isna(row["num_samples"]):
        return f"{row['method']} on {row['blackbox']}"
    size, variance = md.text(row["num_samples"]), md.text(row["noise_variance"])
    return f"{row['method']} on {row['blackbox']} (N = {size}, t = {variance})"


def _goal(row: Any) -> str:
    return f"{100 * float(row['target'].removeprefix('progress ')):.3g} %"
