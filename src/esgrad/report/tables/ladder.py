"""From cross-entropy to ranked noise at the parameters, one change a rung: costs, and what gradient noise predicts.

A rung's `ratio` is of steps to the target, over those of the rung it `stands_on`, seed by seed, whichever of the two
never arrived (`ratio_interval`: 0 is an upper bound, inf a lower).
`predicted` is that of the gradient noise, nothing fitted (`measurement.step_law`), with an interval for the errors of
the noise, empty where none was measured; of two rungs, the quotient. A rung is `slower` or `faster` than predicted
where the measured interval and the prediction's have nothing in common, else `not contradicted`, which means little
where an interval is wide; so is its ratio to backprop, of which more is known where the rung it stands on did not
arrive. A prediction for noise whose mean had to be found in it is rather too small (`noise_scale.relative_noise`).
A control, the exact mean plus Gaussian noise of its twin's covariance, stands on its twin, and is `alike` or
`otherwise` by that ratio and by the paired difference of final test accuracies.

Where the configuration gives the experiment one learning rate it is that of all rungs, `given_rate`, and the best of
none in particular. The law of steps assumes the best rate for each noise: a rung that is slower than predicted may be
slower `at this rate` only, and the verdict says so.

Whoever leaves a rung out changes no cost and no ratio to backprop of another, but, by design, of those that stood on it
`stands_on`, `num_pairs`, `ratio`, `predicted`, `verdict` and `accuracy_difference`.
"""

from collections.abc import Iterator
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from esgrad.laws.steps import predicted_steps, quotient, verdict, verdict_on_control
from esgrad.report import markdown as md
from esgrad.report.runs import COLUMNS, TASK, UNITS, arrivals, backprop, cells, experiments, last_rows
from esgrad.report.runs import targets as levels
from esgrad.statistics import NOTHING, Interval, cost_interval, mean_interval, ratio_interval, wilson_interval
from esgrad.suite.config import listed
from esgrad.suite.gathered import FIRST_TUNING_SEED, Suite

TARGETS = ("progress 0.90", "progress 0.95")
RUNGS: dict[str, tuple[str, str]] = {
    "backprop": ("", "exact gradient of the cross-entropy"),
    "log_smoothed": ("backprop", "exact gradient of log p, p the smoothed accuracy"),
    "smoothed": ("log_smoothed", "exact gradient of p"),
    "logits independent class maxrl": ("log_smoothed", "log p from N samples, credited with the class: MaxRL"),
    "logits independent noise maxrl": ("logits independent class maxrl", "credited with the noise"),
    "logits independent class leave_one_out": ("smoothed", "p from N samples, credited with the class: leave-one-out"),
    "logits independent noise leave_one_out": ("logits independent class leave_one_out", "credited with the noise"),
    "logits independent noise raw": ("logits independent noise leave_one_out", "no baseline: the lecture"),
    "logits mirrored noise raw": ("logits independent noise raw", "samples in mirrored pairs"),
    "batch mirrored noise raw": ("logits mirrored noise raw", "one fitness a batch"),
    "parameters mirrored noise raw": ("batch mirrored noise raw", "noise at the parameters"),
    "parameters mirrored noise centered_ranks": ("parameters mirrored noise raw", "ranks of the fitness"),
}
"""From the top: each rung, named by an exact arm or by a method's parts; the nearest it stands on; what it changes."""
PARTS = ["space", "noise", "credit", "shaping"]
_ENDS = ("", "_low", "_high")
_AS_GIVEN = Interval(1.0, 1.0, 1.0)
_DEAD = ["dead_class_rate", "dead_class_low", "dead_class_high"]
_COLUMNS = [
    *(*COLUMNS, "stands_on", "control", "change", "target", "target_accuracy", "num_seeds", "hits", "censored"),
    *(f"{unit}{end}" for unit in UNITS for end in _ENDS),
    *_DEAD,
    *("num_pairs", *(f"ratio{end}" for end in _ENDS), *(f"predicted{end}" for end in _ENDS), "verdict"),
    *(f"ratio_to_backprop{end}" for end in _ENDS),
    *(*(f"predicted_to_backprop{end}" for end in _ENDS), "verdict_to_backprop"),
    *(*(f"accuracy_difference{end}" for end in _ENDS), "given_rate"),
]


class Rung(NamedTuple):
    """A cell on the ladder: its columns, its runs, what it is by RUNGS (a control: its twin), its control and twin."""

    cell: dict[str, Any]
    runs: pd.DataFrame
    key: str
    control: str
    twin: str


def table(suite: Suite) -> pd.DataFrame:
    """One row for each rung or control and target, from the top; of `ladder`, else `headline`, else the first there."""
    reported = suite.reported
    found = list(_rungs(suite, reported[reported["experiment"] == _experiment(suite)]))
    rows = [row for rung in found for row in _rows(suite, rung, found)]
    place = {key: index for index, key in enumerate(RUNGS)}
    order = [place[rung.key] for rung in found for _ in _targets(suite, rung)]
    frame = pd.DataFrame(rows, columns=_COLUMNS).assign(place=order)
    frame = frame.sort_values([*TASK, "num_samples", "place", "control"], kind="stable", na_position="first")
    return frame[_COLUMNS].reset_index(drop=True).astype({"num_samples": "Int64", "control": bool})


def markdown(frame: pd.DataFrame) -> str:
    """For each task and target the rungs and how much the verdicts rest on; then the controls, with what they say."""
    if frame.empty:
        return "_No rows: no experiment has backprop and a rung beside it._\n"
    parts = [_rate(frame["given_rate"].iloc[0])]
    for (*task, target), rows in frame.groupby([*TASK, "target"], sort=False):
        where = "{}, {}, K = {}, B = {}".format(*task)
        level = f"{100 * float(target.split()[1]):g} % of backprop's progress"
        parts.append(f"### {where}: {level}, accuracy {md.number(rows['target_accuracy'].iloc[0])}\n")
        parts += [_shown(rows[~rows["control"]]), _widths(rows[~rows["control"]])]
        if rows["control"].any():
            parts.append("Controls, over their twins:\n")
            parts.append(_shown(rows[rows["control"]]))
    return "\n".join(parts)


def _experiment(suite: Suite) -> str:
    held = set(suite.records.loc[suite.records["method"] == "backprop", "experiment"].unique())
    return next((name for name in ["ladder", "headline", *experiments(suite)] if name in held), "")


def given_rate(suite: Suite, experiment: str) -> float:
    """The one learning rate of all an experiment's methods, where its configuration gives one; else NaN."""
    rates = listed(suite.experiments.get(experiment, {}).get("learning_rates", []))
    return float(rates[0]) if len(rates) == 1 else np.nan


def _rungs(suite: Suite, reported: pd.DataFrame) -> Iterator[Rung]:
    for cell, runs in cells(suite, reported):
        first = runs.iloc[0]
        sampled = bool(first["noise"])
        key = " ".join(first[PARTS]) if sampled else cell["method"]
        judged = cell["method"] == "backprop" or cell["blackbox"] == "zero_one"
        if key in RUNGS and judged and first["schedule"] == "fixed":
            yield Rung(cell, runs, key, str(first["control"]), str(first["relative"]))


def _targets(suite: Suite, rung: Rung) -> dict[str, float]:
    found = levels(suite, backprop(suite, rung.cell))
    return {target: found[target] for target in TARGETS if target in found}


def _rows(suite: Suite, rung: Rung, found: list[Rung]) -> Iterator[dict[str, Any]]:
    below = _below(rung, found)
    reference = backprop(suite, rung.cell)
    start = reference[reference["seed"] < FIRST_TUNING_SEED]
    finished = last_rows(rung.runs).query("status != 'diverged'")
    dead = wilson_interval(int((finished["dead_classes"] > 0).sum()), len(finished))
    difference, rate = _accuracy_difference(rung, below), given_rate(suite, rung.cell["experiment"])
    for target, accuracy in _targets(suite, rung).items():
        arrived = arrivals(rung.runs, accuracy)
        hits, first = arrived["hit"], arrivals(start, accuracy)
        costs = [cost_interval(arrived[unit], hits) if arrived[unit].notna().all() else NOTHING for unit in UNITS]
        needed = cost_interval(first["steps"], first["hit"]).estimate
        predicted = _predicted(suite, rung, needed)
        ratio, pairs, expected = NOTHING, 0, NOTHING
        if below is not None:
            ratio, pairs = _ratio(arrived, arrivals(below.runs, accuracy))
            expected = _AS_GIVEN if rung.control else quotient(predicted, _predicted(suite, below, needed))
        to_backprop, _ = _ratio(arrived, first)
        change = f"control: {rung.control}"
        numbers = [
            *(
                below.cell["method"] if below else "",
                bool(rung.control),
                change if rung.control else RUNGS[rung.key][1],
            ),
            *(target, accuracy, len(arrived), int(hits.sum()), int((~hits).sum())),
            *(value for cost in costs for value in cost),
            *dead,
            *(pairs, *ratio, *expected),
            verdict_on_control(ratio, difference) if rung.control else _at(rate, verdict(ratio, expected)),
            *(*to_backprop, *predicted, "" if below is None else _at(rate, verdict(to_backprop, predicted))),
            *(*difference, rate),
        ]
        yield rung.cell | dict(zip(_COLUMNS[len(COLUMNS) :], numbers, strict=True))


def _below(rung: Rung, found: list[Rung]) -> Rung | None:
    """What a rung stands on, the nearest that was run: of its task, at its N or without one; at its t, if that is
    there; a control on its twin."""
    key = rung.key if rung.control else RUNGS[rung.key][0]
    while key:
        there = [other for other in found if other.key == key and not other.control and _beside(rung, other)]
        if there:
            return min(there, key=lambda other: other.cell["noise_variance"] != rung.cell["noise_variance"])
        key = RUNGS[key][0]
    return None


def _beside(rung: Rung, other: Rung) -> bool:
    same_task = all(rung.cell[column] == other.cell[column] for column in TASK)
    return same_task and (pd.isna(other.cell["num_samples"]) or other.cell["num_samples"] == rung.cell["num_samples"])


def _ratio(runs: pd.DataFrame, reference: pd.DataFrame) -> tuple[Interval, int]:
    """Steps over the reference's, seed by seed, and how many seeds both have."""
    pairs = runs.join(reference.add_suffix("_below"), how="inner")
    costs = (pairs["steps"], pairs["hit"], pairs["steps_below"], pairs["hit_below"])
    return ratio_interval(*costs), len(pairs)


def _accuracy_difference(rung: Rung, below: Rung | None) -> Interval:
    """Of final test accuracies, seed by seed; a seed in which either diverged is left out."""
    if below is None:
        return NOTHING
    ends = [last_rows(each.runs).set_index("seed")["test_accuracy"].astype(float) for each in (rung, below)]
    return mean_interval((ends[0] - ends[1]).dropna())


def _at(rate: float, said: str) -> str:
    return f"{said} at this rate" if said in ("slower", "faster") and not np.isnan(rate) else said


def _predicted(suite: Suite, rung: Rung, steps: float) -> Interval:
    """Steps over backprop's, as the gradient noise has it; of a control its twin's, of backprop 1."""
    noise = suite.noise_scale[(suite.noise_scale[TASK] == [rung.cell[column] for column in TASK]).all(axis=1)]
    noise = noise[noise["experiment"] == rung.cell["experiment"]]
    method = rung.twin if rung.control else rung.cell["method"]
    own = noise[(noise["method"] == method) & (noise["blackbox"] == rung.cell["blackbox"])]
    for column in ("num_samples", "noise_variance"):
        own = own[own[column].isna() if pd.isna(rung.cell[column]) else own[column] == rung.cell[column]]
    found = predicted_steps(own, noise[noise["method"] == "backprop"], steps)
    return _AS_GIVEN if method == "backprop" and not np.isnan(found.estimate) else found


def _rate(rate: float) -> str:
    """What the learning rate means for the verdicts."""
    law = "The law of steps behind *predicted* assumes the best rate for each noise"
    if np.isnan(rate):
        return f"Each rung at the learning rate its tuning chose. {law}; the grid has a few.\n"
    slower = "a rung that is slower than predicted may be slower at this rate only"
    return f"One learning rate, {md.number(rate)}, given, for all rungs. {law}: {slower}.\n"


def _widths(rows: pd.DataFrame) -> str:
    """How wide the intervals are that contradict one another in nothing."""
    held = []
    for of in ("", "_to_backprop"):
        ends = [f"{name}{of}{end}" for name in ("ratio", "predicted") for end in _ENDS[1:]]
        held.append(rows.loc[rows[f"verdict{of}"] == "not contradicted", ends])
    low, high, least, most = np.concatenate([frame.to_numpy(dtype=float) for frame in held]).T
    if not len(low):
        return ""
    closed = (low > 0) & np.isfinite(high)
    told = [f"{_apart(high[closed] / low[closed])} measured"] if closed.any() else []
    told += [f"{(~closed).sum()} measured open at one end"] if not closed.all() else []
    words = ", ".join([*told, f"{_apart(most / least)} predicted"])
    return f"*Not contradicted* says as much as the intervals are narrow; of {len(low)}, {words}.\n"


def _apart(widths: NDArray) -> str:
    return f"{len(widths)} with ends {md.number(widths.min())} to {md.number(widths.max())} times apart"


def _shown(frame: pd.DataFrame) -> str:
    """The rows with each interval in one column, without what the heading says."""
    shown = frame[["num_samples", "method", "stands_on", "change", "num_seeds", "hits"]].copy()
    shown["dead_class_rate"] = list(starmap(md.interval, frame[_DEAD].to_numpy(dtype=float)))
    for name in [*UNITS, "ratio", "ratio_to_backprop", "accuracy_difference"]:
        cell = md.ratio if name.startswith("ratio") else md.interval
        shown[name] = list(starmap(cell, frame[[f"{name}{end}" for end in _ENDS]].to_numpy(dtype=float)))
    for ratio, end in (("ratio", ""), ("ratio_to_backprop", "_to_backprop")):
        name, place = f"predicted{end}", shown.columns.get_loc(ratio)
        ends = frame[[f"{name}{side}" for side in _ENDS]].to_numpy(dtype=float)
        shown.insert(place + 1, name, list(starmap(md.interval, ends)))
        shown.insert(place + 2, f"verdict{end}", frame[f"verdict{end}"])
    return md.markdown(shown)
