"""How many samples do I need? N for a cosine to the exact gradient, by the laws: against K, and against d.

Lines are `esgrad.plan`'s answers and fitted to nothing. At the logits: raw weights on one example at equal logits, with
what this suite measured there (`measurement.samples_needed`) beside them; at the parameters: mirrored pairs on a linear
fitness, both signs counted, with what Zhang, Clune & Stanley (arXiv 1712.06564) measured on MNIST.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from esgrad.planning.plan import plan
from esgrad.report import style
from esgrad.report.figures import _select
from esgrad.report.tables.samples_needed import least_and_largest
from esgrad.suite.gathered import Suite

TITLE = "How many samples do I need?"
COLUMNS = ["space", "source", "noise", "shaping", "size", "cosine", "num_samples", "low", "high", "count"]
VALUE = "num_samples"
COSINES = {"logits": (0.5, 0.9), "parameters": (0.039, 0.2, 0.5, 0.9)}
LOGITS = (2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
PARAMETERS = (1000, 10_000, 100_000, 1_000_000, 10_000_000)
OF_THE_PAPER = [(3_274_634, 0.039, 10_000), (3_274_634, 0.2, 274_000)]
"""d, cosine and N of arXiv 1712.06564, who write 3.9 % and "approximately 274,000"."""
SIZES = {"logits": "K, logits", "parameters": "d, parameters of the network"}
COUNTS = {"logits": "N, samples per example", "parameters": "N, perturbed networks per step (both signs)"}
NAMES = {
    "logits": "Noise at the logits, independent × raw\none example, all logits equal: a network's start",
    "parameters": "Noise at the parameters, mirrored × raw\na step, where the fitness is linear",
}
COLOURS = {0.039: "#5ab4ac", 0.2: "#dfa23a", 0.5: "#0072b2", 0.9: "#882277"}
OTHERS = "#333333"
MEASURED, PUBLISHED = "measured here", "Zhang et al. 2017"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn; `low` and `high` bracket what was measured, `count` examples together."""
    if suite.records.empty and suite.samples_needed.empty:
        return style.words(TITLE, "This suite has no record to set beside the laws: ask `esgrad plan`.", COLUMNS)
    frame = pd.DataFrame([*_laws(), *_measured(suite.samples_needed), *_published()], columns=COLUMNS)
    figure, grid = style.canvas(1, 2, 4.4, 3.6, TITLE)
    for axes, (space, part) in zip(grid[0], frame.groupby("space", sort=True), strict=True):
        _panel(axes, str(space), part)
    style.legend(figure, order=[*map(_label, sorted(COLOURS)), MEASURED, PUBLISHED])
    measured = frame[frame["source"] == "measured"]
    examples = int(measured.groupby("cosine")["count"].sum().max()) if len(measured) else 0
    style.foot(
        figure,
        f"n = {examples} examples measured by this suite (dots) · data: none, equal logits (left), MNIST (crosses,"
        " arXiv 1712.06564) · model: none (left), one of 3,274,634 parameters (crosses) · line: law, nothing fitted,"
        " no band · bar: between the largest N below the cosine and the smallest above",
    )
    return figure, frame


def _laws() -> Iterator[dict[str, Any]]:
    for space, name, sizes in [("logits", "logit_dim", LOGITS), ("parameters", "parameters", PARAMETERS)]:
        for cosine in COSINES[space]:
            for size in sizes:
                asked: dict[str, Any] = {name: size, "cosine": cosine}
                found = plan(**asked)
                yield _row(space, "law", size, cosine, found["num_samples"], found["noise"])


def _measured(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Of all whole N in the brackets at one K the least and the largest, and their geometric middle."""
    frame = _select.credited_with_gaussian_noise(frame)
    wanted = (frame["kind"] == "needed") & (frame["stage"] == "level") & (frame["level"] == "example")
    named = (frame["shaping"] == "raw") & frame["cosine"].isin(COSINES["logits"])
    found = frame[wanted & named & frame["high"].lt(float("inf"))]
    for (size, cosine), part in found.groupby(["logit_dim", "cosine"]):
        least, largest = least_and_largest(part["low"].to_numpy(), part["high"].to_numpy())
        low, high = least.min(), largest.max()
        row = _row("logits", "measured", size, cosine, (low * high) ** 0.5, "independent")
        yield row | {"low": low, "high": high, "count": len(part)}


def _published() -> Iterator[dict[str, Any]]:
    for size, cosine, count in OF_THE_PAPER:
        yield _row("parameters", "published", size, cosine, count, "mirrored")


def _row(space: str, source: str, size: int, cosine: float, count: float, noise: str) -> dict[str, Any]:
    words = {"space": space, "source": source, "noise": noise, "shaping": "raw", "size": size, "cosine": cosine}
    return words | {"num_samples": float(count)}


def _panel(axes: Axes, space: str, frame: pd.DataFrame) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for cosine, part in frame.groupby("cosine"):
        colour = COLOURS[float(str(cosine))]
        law, measured, published = (part[part["source"] == source] for source in ("law", "measured", "published"))
        axes.plot(law["size"], law["num_samples"], color=colour, label=_label(float(str(cosine))))
        axes.vlines(measured["size"], measured["low"], measured["high"], color=colour, linewidth=3, alpha=0.5)
        axes.plot(measured["size"], measured["num_samples"], "o", color=colour)
        axes.plot(published["size"], published["num_samples"], "X", color=colour, markersize=8)
    if (frame["source"] == "measured").any():
        axes.plot([], [], "o", color=OTHERS, label=MEASURED)
    if (frame["source"] == "published").any():
        axes.plot([], [], "X", color=OTHERS, label=PUBLISHED)
    axes.set_title(NAMES[space])
    axes.set_xlabel(SIZES[space])
    axes.set_ylabel(COUNTS[space])
    sizes = frame.loc[frame["source"] == "law", "size"]
    apart = 1 if space == "logits" else 2  # decades between ticks, as 1,000,000 is wide
    style.ticks(axes, "x", [sizes.min(), *(10**k for k in range(1, 9, apart) if sizes.min() < 10**k <= sizes.max())])
    low, high = axes.get_ylim()
    style.ticks(axes, "y", [10**k for k in range(0, 12, 2) if low <= 10**k <= high])


def _label(cosine: float) -> str:
    return f"cosine {cosine:g}"
