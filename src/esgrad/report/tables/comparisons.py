"""Which methods beat the lecture's, seed by seed: paired tests, Holm's correction, and what so many seeds can tell.

The reference is the lecture's method of the same experiment, at the same black box, K, B, N and t: independent noise
at the logits, each sample credited with its noise, fitness as it is. A method whose t the reference does not have
(another space, another noise) is compared with the reference's only t, if it has one. Exact arms, which have no N,
methods with a rule for t and controls are not compared.

Two measures: the difference of final test accuracies (`mean_interval`; seeds in which either diverged are left out and
counted), and the ratio of steps to 90 % (`ratio_interval`; `estimate` is 0 where only an upper bound is known and inf
where only a lower; the target is "progress 0.90", or "accuracy 0.90" where there is no backprop). At the same N and B
it is the ratio of queries too.

`p` is that of the exact sign-flip test on the paired differences, or log ratios (`statistics.comparisons`; a run that
never arrived loses to one that did). `censored` counts the pairs in which one or both never arrived, `diverged` those
left out of an accuracy because one had none at the end (in steps they are censored): where it is not 0 the accuracy is
of what survived, and flatters who diverged. A family is a measure in an experiment at one N, a question of its own, and
`p_holm` is adjusted for its `family_size` tests. `smallest_p` is what so many differing pairs could give at best.
`smallest_detectable` is the true difference (ratio, above 1) that so many pairs of this spread find with 80 %
probability at 5 % / family_size, Holm's hardest level; ∞ where no p could be small enough, empty where runs are
censored. The verdict is "better" or "worse" where p_holm ≤ 5 %, else "cannot decide", which is not "equal".

Whoever leaves a method out changes no number of another, but for what belongs to the family: `family_size`, `p_holm`,
`smallest_detectable` and `verdict`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from esgrad.report import markdown as md
from esgrad.report.runs import COLUMNS, arrivals, backprop, cells, last_rows, targets
from esgrad.statistics import Interval, mean_interval, ratio_interval
from esgrad.statistics.comparisons import LEVEL, holm, log_ratios, sign_flip, smallest_detectable
from esgrad.suite.gathered import Suite
from esgrad.training.method import LECTURE

ACCURACY, STEPS = "test accuracy", "steps"
REFERENCE = tuple(LECTURE.values())
TARGETS = ("progress 0.90", "accuracy 0.90")
FAMILY = ["experiment", "measure", "num_samples"]
_COLUMNS = [
    *(*COLUMNS, "reference", "reference_noise_variance", "measure", "target", "num_pairs", "censored", "diverged"),
    *("estimate", "low", "high", "p", "smallest_p", "family_size", "p_holm", "smallest_detectable", "verdict"),
]
_SAME = ["experiment", "dataset", "model", "blackbox", "logit_dim", "batch_size", "num_samples"]
_WORDS = {
    ACCURACY: "Final test accuracy, method minus reference",
    STEPS: "Steps (and so queries, at the same N and B) to {target}, method over reference",
}


def table(suite: Suite) -> pd.DataFrame:
    """One row for each cell that has a reference, and measure."""
    rows = [row for pair in _pairs(suite) for row in _measures(suite, *pair)]
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, "spread"])
    judged = [_judged(family) for _, family in frame.groupby(FAMILY, sort=False)]
    frame = pd.concat(judged) if judged else frame
    return frame[_COLUMNS].reset_index(drop=True).astype({"num_samples": "Int64"})


def markdown(frame: pd.DataFrame) -> str:
    """A paragraph and a table for each family."""
    if frame.empty:
        return "_No rows: no experiment has the lecture's method (logits, independent, noise, raw) and another._\n"
    return "\n".join(_family(rows) for _, rows in frame.groupby(FAMILY, sort=False))


def _pairs(suite: Suite) -> Iterator[tuple[dict[str, Any], pd.DataFrame, dict[str, Any], pd.DataFrame]]:
    """Each cell that draws noise with its runs, and the reference's cell with its runs."""
    reported = suite.reported
    noisy = reported[(reported["noise"].fillna("") != "") & (reported["schedule"] == "fixed")]
    noisy = noisy[noisy["control"].fillna("") == ""]
    found = list(cells(suite, noisy))
    references = [(cell, runs) for cell, runs in found if _named(runs) == REFERENCE]
    for cell, runs in found:
        alike = [(other, rows) for other, rows in references if all(other[key] == cell[key] for key in _SAME)]
        same = [pair for pair in alike if pair[0]["noise_variance"] == cell["noise_variance"]]
        if _named(runs) != REFERENCE and len(same or alike) == 1:
            yield cell, runs, *(same or alike)[0]


def _named(runs: pd.DataFrame) -> tuple[str, ...]:
    return tuple(runs[["space", "noise", "credit", "shaping"]].iloc[0])


def _measures(
    suite: Suite, cell: dict[str, Any], runs: pd.DataFrame, other: dict[str, Any], reference: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    named = {"reference": other["method"], "reference_noise_variance": other["noise_variance"]}
    yield cell | named | {"measure": ACCURACY, "target": ""} | _accuracy(runs, reference)
    levels = targets(suite, backprop(suite, cell))
    target = next((target for target in TARGETS if target in levels), None)
    if target is not None:
        other_arrivals = arrivals(reference, levels[target]).add_suffix("_other")
        costs = arrivals(runs, levels[target]).join(other_arrivals, how="inner")
        yield cell | named | {"measure": STEPS, "target": target} | _steps(costs)


def _accuracy(runs: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    own, other = (last_rows(rows).set_index("seed")["test_accuracy"].astype(float) for rows in (runs, reference))
    pairs = pd.concat([own, other], axis=1, join="inner")
    difference = (pairs.iloc[:, 0] - pairs.iloc[:, 1]).dropna().to_numpy()
    lost = len(pairs) - len(difference)
    return {"censored": 0, "diverged": lost, **_tested(difference, mean_interval(difference))}


def _steps(costs: pd.DataFrame) -> dict[str, Any]:
    pairs = (costs["steps"], costs["hit"], costs["steps_other"], costs["hit_other"])
    censored = int((~(costs["hit"] & costs["hit_other"])).sum())
    tested = _tested(log_ratios(*pairs), ratio_interval(*pairs))
    return {"censored": censored, "diverged": 0} | tested | ({"spread": np.nan} if censored else {})


def _tested(differences: NDArray, interval: Interval) -> dict[str, Any]:
    p, smallest = sign_flip(differences)
    spread = differences.std(ddof=1) if len(differences) > 1 else np.nan
    found = {"num_pairs": len(differences), **interval._asdict(), "p": p, "smallest_p": smallest}
    return found | {"spread": spread, "verdict": np.sign(differences.sum())}


def _judged(family: pd.DataFrame) -> pd.DataFrame:
    """The rows of a family with what belongs to the family."""
    m, cost = len(family), family["measure"].iloc[0] == STEPS
    adjusted = holm(family["p"])
    words = {1.0: "worse", -1.0: "better"} if cost else {1.0: "better", -1.0: "worse"}
    detectable = [
        np.nan if np.isnan(spread) else smallest_detectable(spread, pairs, LEVEL / m)
        for spread, pairs in zip(family["spread"], family["num_pairs"], strict=True)
    ]
    return family.assign(
        family_size=m,
        p_holm=adjusted,
        smallest_detectable=np.exp(detectable) if cost else detectable,
        verdict=family["verdict"].map(words).where(adjusted <= LEVEL, "cannot decide"),
    )


def _family(rows: pd.DataFrame) -> str:
    experiment, measure, num_samples = rows.iloc[0][FAMILY]
    counts = rows["verdict"].value_counts()
    verdicts = ", ".join(f"{counts.get(word, 0)} {word}" for word in ("better", "worse", "cannot decide"))
    what = _WORDS[measure].format(target=" or ".join(sorted(rows["target"].dropna().unique())))
    title = f"**{experiment}, N = {num_samples}.** {what} ({', '.join(rows['reference'].unique())}), paired by seed."
    hopeless = int((rows["smallest_p"] * rows["family_size"] > LEVEL).sum())
    alone = f" In {hopeless} too few pairs differ to reach 5 % unless others do first." if hopeless else ""
    hidden = ["experiment", "measure", "num_samples", "target", "reference", "family_size", "low", "high"]
    hidden += [column for column in COLUMNS[1:6] if rows[column].nunique() == 1]
    hidden += [column for column in ("censored", "diverged") if not rows[column].any()]
    hidden += [] if (rows["reference_noise_variance"] != rows["noise_variance"]).any() else ["reference_noise_variance"]
    cell = md.ratio if measure == STEPS else md.interval
    shown = rows.assign(estimate=list(map(cell, rows["estimate"], rows["low"], rows["high"])))
    lost = int(rows["diverged"].sum())
    left = f" {lost} of {rows['num_pairs'].sum() + lost} pairs are left out, because one diverged." if lost else ""
    return (
        f"{title} A family of {len(rows)} tests: {verdicts}.{alone}{left}\n\n{md.markdown(shown.drop(columns=hidden))}"
    )
