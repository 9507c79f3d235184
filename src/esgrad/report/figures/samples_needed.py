"""How large must N be, and how fast does that grow with K? N* against K, points measured, lines the law's.

A column for each stage of a training, single examples above and mini-batches below; a colour for each shaping, full
points for the smallest cosine that was wanted, hollow ones for the largest. Samples are credited with their noise,
which is Gaussian, or with the class. A shaping is named with the gradient that its estimates are to point along, as N*
for the one says nothing of the other's. The law's line is the median of what it says of the same examples, and goes on
where the points are censored.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from esgrad import menu
from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.tables import samples_needed
from esgrad.suite.gathered import Suite

TITLE = "How large must N be? Points are measured, lines are the law's"
COLUMNS = [*samples_needed.COLUMNS, "line", "dot"]
VALUE = "dot"
STAGES = {"level": "equal logits", "start": "at the start", "half": "half-way", "trained": "trained"}
LEVELS = {"example": "per example", "batch": "per batch"}
LOWEST = 0.5  # N that the axis begins at
LINES = {
    ("independent", "noise", "raw"): "lecture",
    ("independent", "noise", "leave_one_out"): "leave_one_out",
    ("independent", "noise", "maxrl"): "maxrl",
    ("gumbel", "class", "success"): "success_class",
}
"""What is drawn, by noise, credit and shaping, under the name of a method whose colour it has."""
MARKERS = {"lecture": "s", "leave_one_out": "D", "maxrl": "v", "success_class": "o"}


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn; `dot` is the estimate, or the bound where it is one."""
    frame = samples_needed.table(suite)
    names = [LINES.get(key) for key in zip(frame["noise"], frame["credit"], frame["shaping"], strict=True)]
    frame = chosen(frame.assign(line=pd.Series(names, index=frame.index, dtype=object)).dropna(subset="line"))
    if frame.empty:
        return style.words(TITLE, "This configuration does not ask how large N must be (samples_needed).", COLUMNS)
    ends = frame["cosine"].isin([frame["cosine"].min(), frame["cosine"].max()])
    bound = np.isinf(frame["estimate"])
    frame = frame.assign(dot=frame["estimate"].where(~bound, frame["low"]))[ends].reset_index(drop=True)
    stages = [stage for stage in STAGES if stage in set(frame["stage"])]
    levels = [level for level in LEVELS if level in set(frame["level"])]
    figure, grid = style.canvas(len(levels), len(stages), 2.5, 2.6, TITLE, sharex=True, sharey=True)
    for row, level in zip(grid, levels, strict=True):
        for axes, stage in zip(row, stages, strict=True):
            here = frame[(frame["stage"] == stage) & (frame["level"] == level)]
            if here.empty:
                axes.set_axis_off()
                continue
            _panel(axes, here, frame)
            axes.set_title(f"{STAGES[stage]}, {LEVELS[level]}", fontsize=8.5)
    _scales(grid, frame)
    style.legend(figure, title="shaping to the gradient aimed at, wanted cosine")
    _foot(figure, frame)
    return figure, frame


def chosen(frame: pd.DataFrame) -> pd.DataFrame:
    """One t, and of the networks those of the data set with most K: where it has too few classes others stand in."""
    frame = frame[frame["noise_variance"] == _select.nearest(frame["noise_variance"], 1)]
    dims = frame[frame["stage"] != "level"].groupby("dataset")["logit_dim"].nunique()
    known = ["", dims.sort_index().idxmax()] if len(dims) else [""]
    return frame[frame["dataset"].isin(known)].reset_index(drop=True)


def _panel(axes: Axes, here: pd.DataFrame, frame: pd.DataFrame) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for name in (name for name in MARKERS if name in set(here["line"])):
        colour = style.colour(name)
        for cosine in sorted(here["cosine"].unique()):
            line = here[(here["line"] == name) & (here["cosine"] == cosine)].sort_values("logit_dim")
            least = cosine == frame["cosine"].min()
            look: dict[str, Any] = {"color": colour, "linestyle": "-" if least else (0, (4, 2))}
            known = line[np.isfinite(line["law"])]
            axes.plot(known["logit_dim"], known["law"], **look, linewidth=1)
            face = {"markerfacecolor": colour if least else "white"}
            aim = menu.load("shapings", line["shaping"].iloc[0]).ASCENDS  # of one example ∇p and ∇log p point alike
            label = f"{style.label(name)} to ∇{aim}, {style.number(cosine)}"
            dots: dict[str, Any] = {"color": colour, "marker": MARKERS[name], "linestyle": "", **face}
            bound = np.isinf(line["estimate"])
            axes.plot(line["logit_dim"][~bound], line["dot"][~bound], **dots, label=label)
            axes.plot(line["logit_dim"][bound], line["dot"][bound], **dots, alpha=0.35)
            for row in line.itertuples():
                _bar(axes, row, colour)
    _guide(axes, frame, 1, "K")
    _guide(axes, frame, 2, "K²")


def _bar(axes: Axes, row: Any, colour: str) -> None:
    """The interval; an arrow where it is open above."""
    if np.isfinite(row.high):
        axes.plot([row.logit_dim] * 2, [max(row.low, LOWEST), row.high], color=colour, linewidth=1)
    else:
        arrow = {"arrowstyle": "<-", "color": colour, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (row.logit_dim, row.dot), (0, 13), textcoords="offset points", arrowprops=arrow)


def _guide(axes: Axes, frame: pd.DataFrame, slope: int, power: str) -> None:
    dims = np.array([frame["logit_dim"].min(), frame["logit_dim"].max()], dtype=float)
    line = LOWEST * (dims / dims[0]) ** slope
    axes.plot(dims, line, color="#bbbbbb", linestyle=":", linewidth=1.2, zorder=0)
    look: dict[str, Any] = {"ha": "left", "va": "center", "color": style.GREY, "fontsize": 7.5, "annotation_clip": True}
    axes.annotate(power, (dims[1], line[1]), (4, 0), textcoords="offset points", **look)


def _scales(grid: Any, frame: pd.DataFrame) -> None:
    dims = sorted(frame["logit_dim"].unique())
    top = frame[["dot", "law"]].where(np.isfinite(frame[["dot", "law"]])).max(axis=None)
    for axes in grid.flat:
        style.ticks(axes, "x", style.decades(dims) or dims)
        axes.set_xlim(0.7 * dims[0], 3 * dims[-1])
        axes.set_ylim(LOWEST, 3 * min(top, 1e3 * frame["dot"].max()))
    for axes in grid[-1]:
        axes.set_xlabel(style.AXES["logit_dim"])
    for axes in grid[:, 0]:
        axes.set_ylabel("N*, samples per example")
    if not grid[-1][0].axison:  # no batch at level logits: the panel above it and the one beside it carry the labels
        grid[0][0].set_xlabel(style.AXES["logit_dim"])
        grid[0][0].xaxis.set_tick_params(labelbottom=True)
        if grid.shape[1] > 1:
            grid[-1][1].set_ylabel("N*, samples per example")
            grid[-1][1].yaxis.set_tick_params(labelleft=True)


def _foot(figure: Figure, frame: pd.DataFrame) -> None:
    data, models = (", ".join(sorted(set(frame[word]) - {""})) or "none" for word in ("dataset", "model"))
    counts, spans = [], []
    for level, word in (("example", "examples"), ("batch", f"batches of {frame['batch_size'].max()}")):
        here = frame[frame["level"] == level]
        if len(here):
            fewest, most = int(here["num_observations"].min()), int(here["num_observations"].max())
            counts.append(f"{_to(fewest, most)} {word}")
            spans.append(_span(fewest, most, word.split()[0]))
    style.foot(
        figure,
        f"n = {', '.join(counts)} · data: {data} · model: {models}, trained by backprop, one seed, so one network for "
        f"each K · t = {style.number(frame['noise_variance'].iloc[0])} · N*: where the mean cosine to the exact "
        f"gradient reaches the wanted one · point: median; bar: {'; '.join(spans)}; arrow: open above; pale: a bound · "
        "lines: the same median of the law's N*, nothing fitted, dashed for the larger cosine",
    )


def _span(fewest: int, most: int, word: str) -> str:
    """What a bar says of n, and how surely."""
    if most == 1:
        return f"the grid's cells around the crossings of one of the {word}"
    covered = _to(*(round(100 * samples_needed.coverage(count)) for count in (fewest, most)))
    return f"interval of the median over {word}, {covered} % with n = {_to(fewest, most)}, whole cells of the grid of N"


def _to(fewest: int, most: int) -> str:
    """Of numbers that differ between the K, from where to where."""
    return str(most) if fewest == most else f"{fewest}–{most}"
