"""What a rule for t costs: test accuracy lost against the best fixed t, at each level of each rule.

A column for each method and setting, a row for each N. At 0 lies the best fixed t, chosen by validation accuracy; the
level is t itself for `fixed`, t over the squared spread of the logits for `spread` and, at the start, for `annealed`,
and the first t for `hit_rate`. A run that diverged counts as accuracy 0.
"""

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes

from esgrad import menu
from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.tables import regret
from esgrad.suite.gathered import Suite

TITLE = "What does a rule for t cost against the best fixed t?"
COLUMNS = [
    *(*_select.SETTING, "blackbox", "peer", "num_samples", "method", "schedule", "noise_variance"),
    *("regret", "low", "high", "num_seeds", "best_fixed"),
]
VALUE = "regret"
LOOKS = {
    "fixed": ("#000000", "o"),
    "spread": ("#d55e00", "s"),
    "annealed": ("#0072b2", "^"),
    "hit_rate": ("#009e73", "D"),
}
"""The colours and markers of rules that are known here; `looks` gives one to every other."""


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn."""
    names = _select.varying(suite, "noise_variance", "variance")
    frame = _select.table(regret, suite, *names)
    alone = regret.alone(frame)
    frame = frame[frame["regret"].notna() & frame["num_samples"].notna()]  # exact arms: see the table
    if frame.empty:
        why = f"Nothing to compare: {alone}." if alone else "No experiment of this configuration varies t."
        return style.words(TITLE, why, COLUMNS)
    frame = _beside_a_rule(frame)
    columns = [
        (", ".join(filter(None, (style.label(peer), title))), part[part["peer"] == peer])
        for title, part in _select.settings(frame)
        for peer in style.order(part["peer"])
    ]
    sizes = sorted(frame["num_samples"].unique())
    figure, grid = style.canvas(len(sizes), len(columns), 2.5, 1.7, TITLE, sharex=True, sharey=True)
    rules = looks(frame["schedule"])
    for place, size in enumerate(sizes):
        for axes, (title, part) in zip(grid[place], columns, strict=True):
            _panel(axes, part[part["num_samples"] == size], rules)
            axes.set_title(title if place == 0 else "")
        grid[place][0].set_ylabel(f"N = {style.number(size)}\naccuracy lost")
    for axes in grid[-1]:
        axes.set_xlabel("level of the rule")
    style.legend(figure, order=[rule.replace("_", " ") for rule in rules])
    records = _select.reported(suite, *names)
    drawn = records["method"].isin(frame["method"]) & records["logit_dim"].isin(frame["logit_dim"])
    records = records[drawn]
    more = " · ".join(filter(None, ("diverged: accuracy 0", alone, style.budget(records))))
    style.footnote(figure, records, f"mark: mean, bar: {style.INTERVAL}, paired by seed", more)
    return figure, frame[COLUMNS]


def _beside_a_rule(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the tasks and peers that have a rule; all where nobody has, as fixed t alone is a figure too."""
    ruled = frame.assign(ruled=frame["schedule"] != "fixed").groupby([*_select.SETTING, "peer"])["ruled"]
    kept = ruled.transform("any")
    return frame[kept].reset_index(drop=True) if kept.any() else frame


def looks(rules: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each of these rules, `fixed` first; those of the menu keep theirs in every picture."""
    new = sorted({*menu.names("schedules"), *rules} - set(LOOKS))
    spare = {
        rule: (style.SPARE[-1 - place % len(style.SPARE)], "vPX*hp<>"[place % 8]) for place, rule in enumerate(new)
    }
    present = set(rules)
    return {rule: look for rule, look in (LOOKS | spare).items() if rule in present}


def _panel(axes: Axes, part: pd.DataFrame, rules: dict[str, tuple[str, str]]) -> None:
    if part.empty:
        axes.set_axis_off()
        return
    axes.set_xscale("log")
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    for place, (rule, (colour, marker)) in enumerate(rules.items()):
        line = part[part["schedule"] == rule].sort_values("noise_variance")
        if line.empty:
            continue
        x = line["noise_variance"] * 1.12 ** (place - (len(rules) - 1) / 2)  # aside, so that no bar hides another
        axes.plot(x, line["regret"], marker=marker, color=colour, label=rule.replace("_", " "))
        axes.vlines(x, line["low"], line["high"], color=colour, linewidth=1)
    style.ticks(axes, "x", sorted(part["noise_variance"].unique()))
