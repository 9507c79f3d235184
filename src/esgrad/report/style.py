"""How every picture looks: one colour, line and marker a method, the letters on the axes, the same bytes twice.

The hues are Okabe & Ito's ("Color Universal Design", 2008), but for one darker purple. Backprop and the two
exact arms are black and greys, so that hue means "estimated from queries". Line style and marker say the same
once more, for print and for eyes that see fewer colours.
"""

import functools
import textwrap
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from esgrad import files
from esgrad.suite.gathered import CELL

COLOURS = {
    "backprop": "#000000",
    "smoothed": "#3f4140",
    "log_smoothed": "#afa5af",
    "lecture": "#d55e00",
    "leave_one_out": "#e69f00",
    "success": "#56b4e9",
    "maxrl": "#0072b2",
    "mirrored": "#882277",
    "openai_es": "#009e73",
}
SPARE = ["#1717e6", "#593109", "#4560e6", "#a6a653", "#558040", "#a6326c"]
"""For methods new to the palette: far from its colours and each other, also under simulated deuteranopia."""
HUES = {
    "label_search": "backprop",
    "marginal": "backprop",
    "reinforce": "lecture",
    "lecture_gumbel": "lecture",
    "lecture_class_gauss": "lecture",
    "rloo": "leave_one_out",
    "success_class": "success",
    "success_gumbel": "success",
    "success_class_gauss": "success",
    "maxrl_class": "maxrl",
    "maxrl_gumbel": "maxrl",
}
"""Methods that share a hue, which says how fitness becomes weights; line style and marker say what is credited."""
CREDITED = (0, (4, 1.2, 1, 1.2))
LINES = {
    "smoothed": (0, (5, 2)),
    "log_smoothed": (0, (1, 1.2)),
    "label_search": (0, (1, 2)),
    "marginal": (0, (5, 2)),
    **dict.fromkeys(("reinforce", "rloo", "success_class", "maxrl_class"), CREDITED),
}
MARKERS = {
    "backprop": "o",
    "smoothed": "P",
    "log_smoothed": "X",
    "lecture": "s",
    "leave_one_out": "D",
    "success": "^",
    "maxrl": "v",
    "mirrored": "*",
    "openai_es": "p",
}
LABELS = {
    "backprop": "backprop",
    "smoothed": "exact ∇p",
    "log_smoothed": "exact ∇log p",
    "leave_one_out": "leave-one-out",
    "maxrl": "MaxRL",
    "maxrl_class": "MaxRL, class",
    "success_class": "success, class",
    "reinforce": "REINFORCE",
    "rloo": "RLOO",
    "label_search": "label search",
    "marginal": "exact, sum known",
    "openai_es": "OpenAI ES",
    "low_rank_es": "EGGROLL, rank 1",
    "pgpe": "PGPE",
    "snes": "SNES",
    "zero_one": "0/1",
    "cross_entropy": "−CE",
}
AXES = {
    "num_samples": "N, samples per example",
    "noise_variance": "t, variance of the noise",
    "logit_dim": "K, logits",
    "batch_size": "B, examples per batch",
    "learning_rate": "learning rate",
    "steps": "steps (updates of the network)",
    "queries": "queries (examples judged by the black box)",
    "forwards": "forward passes (examples through the network)",
    "validation_error": "validation error (1 − accuracy)",
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "final test accuracy",
    "cosine": "cosine to the exact gradient",
}
LETTERS = {"num_samples": "N", "noise_variance": "t", "logit_dim": "K", "batch_size": "B"}

# "path": glyphs are drawn as outlines, so an SVG looks the same wherever it is opened.
RC = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "svg.fonttype": "path",
    "svg.hashsalt": "esgrad",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.handlelength": 3.2,
    "legend.frameon": False,
    "legend.title_fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}
GREY = "#666666"
INTERVAL = "95 % Student t interval over seeds"
COUNTS = "costs are counts, the same on any machine"

Drawing = tuple[Figure, pd.DataFrame]


def styled(draw: Callable[..., Drawing]) -> Callable[..., Drawing]:
    """Draw in this style whatever the reader's own matplotlib settings are, and leave those as they were."""

    @functools.wraps(draw)
    def inside(*arguments: Any, **keywords: Any) -> Drawing:
        with matplotlib.style.context(["default", RC]):
            return draw(*arguments, **keywords)

    return inside


def colour(method: str) -> str:
    """The method's colour, the same in every picture; a new method takes a spare one, by its name."""
    method = HUES.get(method, method)
    return COLOURS.get(method) or SPARE[zlib.crc32(method.encode()) % len(SPARE)]


def look(method: str, dashed: bool = False) -> dict[str, Any]:
    """Keywords for a line of this method: colour, line style, marker; `dashed` marks a second black box."""
    marker = MARKERS.get(method) or "hd<8H"[zlib.crc32(method.encode()) // len(SPARE) % 5]
    return {
        "color": colour(method),
        "linestyle": (0, (2.5, 1.5)) if dashed else LINES.get(method, "-"),
        "marker": marker,
    }


def label(word: str) -> str:
    """A method's or black box's name as a reader would write it."""
    return LABELS.get(word, word.replace("_", " "))


def order(methods: Iterable[str]) -> list[str]:
    """Methods in the order of the palette (exact ones first), new ones after them by name."""
    known = list(COLOURS)

    def place(method: str) -> tuple[int, str]:
        hue = HUES.get(method, method)
        return known.index(hue) if hue in known else len(known), method

    return sorted(set(methods), key=place)


def number(value: float) -> str:
    """A number as people write it on an axis: 10,000 and 0.001, never 1e-03."""
    if pd.isna(value):
        return "none"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.0e}"


def canvas(rows: int, columns: int, width: float, height: float, title: str, **keywords: Any) -> tuple[Figure, Any]:
    """A figure of rows × columns panels, each width × height inches, and its axes [rows, columns]."""
    figure = Figure(figsize=(columns * width + 1.6, rows * height + 0.9), layout="constrained")
    figure.suptitle(textwrap.fill(title, int(9.5 * figure.get_figwidth())), x=0.012, ha="left")
    return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def trim(grid: Any, used: int) -> Axes | None:
    """Of a grid [rows, columns] filled row by row keep the panels in use, labelled at the outer ones only.

    Returns the first panel not in use, blank, where a legend may stand; None if all are.
    """
    columns = grid.shape[1]
    for place, axes in enumerate(grid.flat):
        if place >= used:
            axes.set_axis_off()
        elif place + columns >= used:
            axes.xaxis.set_tick_params(labelbottom=True)
        else:
            axes.set_xlabel("")
        if place % columns:
            axes.set_ylabel("")
    return grid.flat[used] if used < grid.size else None


def ticks(axes: Axes, which: str, values: Iterable[float]) -> None:
    """Put ticks on a (log) axis exactly where measurements are, written plainly."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(sorted(set(values)))
    axis.set_ticks([], minor=True)
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def bars(axes: Axes, frame: pd.DataFrame, x: str, colour: Any) -> None:
    """The interval `low` to `high` of each row at its `x`; where it is open, none."""
    known = frame[np.isfinite(frame[["low", "high"]].to_numpy(dtype=float)).all(1)]
    axes.vlines(known[x], known["low"].astype(float), known["high"].astype(float), color=colour, linewidth=1.1)


def decades(values: Iterable[float], digits: Iterable[int] = (1,)) -> list[float]:
    """The round numbers, `digits` times powers of ten, from the least of some values to the largest."""
    known = [value for value in values if np.isfinite(value) and value > 0]
    if not known:
        return []
    powers = range(int(np.floor(np.log10(min(known)))), int(np.log10(max(known))) + 1)
    return [
        digit * 10.0**power for power in powers for digit in digits if min(known) <= digit * 10.0**power <= max(known)
    ]


def legend(figure: Figure, title: str | None = None, order: Iterable[str] = (), blank: Axes | None = None) -> None:
    """One legend for all panels, at the right or in a `blank` one: each word once, in `order` if that is given."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, word in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(word, handle)
    words = [word for word in order if word in named] or list(named)
    handles = [named[word] for word in words]
    if blank is not None:
        blank.legend(handles, words, loc="center", title=title, alignment="left")
    elif words:
        figure.legend(handles, words, loc="outside right center", title=title, alignment="left")


def footnote(figure: Figure, frame: pd.DataFrame, band: str, more: str = "") -> None:
    """The line under every picture: n seeds, data set, model, the band; `frame` holds the runs drawn."""
    keys = ["experiment", "dataset", "model", "blackbox", "method"]
    cells = frame.groupby(keys, dropna=False)["seed"].nunique()
    counts = sorted(set(cells))
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    parts = [
        f"n = {seeds} seed{'s' if seeds != '1' else ''}",
        f"data: {', '.join(sorted(set(frame['dataset'])))}",
        f"model: {', '.join(sorted(set(frame['model'])))}",
        band,
    ]
    foot(figure, " · ".join([*parts, more] if more else parts))


def budget(records: pd.DataFrame) -> str:
    """How long the runs are, in words: `500 steps a run`."""
    steps = records.groupby(CELL, dropna=False)["step"].max()
    least, most = number(steps.min()), number(steps.max())
    return f"{least} steps a run" if least == most else f"{least}–{most} steps a run"


def foot(figure: Figure, text: str) -> None:
    """Write the footnote itself: small and grey in the bottom margin, which the layout keeps free."""
    text = textwrap.fill(text, int(18.3 * figure.get_figwidth()))  # characters that fit into the width
    figure.supxlabel(text, x=0.012, ha="left", fontsize=7.5, color=GREY, fontweight="normal")


def words(title: str, message: str, columns: list[str]) -> Drawing:
    """The picture of what is not there: it says why, and its frame has the right columns and no rows."""
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    figure.suptitle(title, x=0.012, ha="left")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(0.5, 0.5, message, ha="center", va="center", color=GREY, fontsize=10, wrap=True)
    return figure, pd.DataFrame(columns=columns)


def log_error(accuracy: Any) -> Any:
    """−log₁₀(1 − accuracy), so that .90 to .95 is as far as .98 to .99; ends at 4 (accuracy .9999)."""
    return -np.log10(1 - np.minimum(accuracy, 0.9999))


def log_error_inverse(value: Any) -> Any:
    """The accuracy whose `log_error` it is."""
    return 1 - 10.0 ** -np.asarray(value)


def error_norm(accuracies: Iterable[float]) -> FuncNorm:
    """Colours for accuracies, spaced by `log_error`; they span a factor of two in error at least."""
    known = [value for value in accuracies if np.isfinite(value)] or [0.5]
    high = min(max(known), 0.999)
    low = max(0.0, min(*known, 1 - 2 * (1 - high)))
    return FuncNorm((log_error, log_error_inverse), vmin=low, vmax=max(high, low + 1e-3))


def accuracy_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks for an axis of accuracies spaced by `log_error`, within [low, high]."""
    coarse = (0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
    fine = (0.1, 0.2, 0.4, 0.6, 0.75, 0.85, 0.88, 0.92, 0.94, 0.96, 0.97)
    inside = [tick for tick in coarse if low <= tick <= high]
    if len(inside) < 4:
        inside = sorted(tick for tick in coarse + fine if low <= tick <= high)
    axis.set_ticks(inside or [low, high])
    axis.set_ticks([], minor=True)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def sequential(share: float, name: str = "viridis") -> Any:
    """The colour at `share`, 0 to 1, of a sequential colour map: dark is little, light is much."""
    return matplotlib.colormaps[name](float(share))


def save(figure: Figure, frame: pd.DataFrame, stem: str | Path) -> None:
    """Write stem.png, stem.svg and stem.csv, each complete or not at all; equal pictures give equal bytes."""
    with matplotlib.style.context(["default", RC]):
        # The layout is solved once: solving it for each format would place things a hair differently.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        with files.written(f"{stem}.png") as path:
            figure.savefig(path, format="png", metadata={"Software": None})
        with files.written(f"{stem}.svg") as path:
            figure.savefig(path, format="svg", metadata={"Date": None})
    with files.written(f"{stem}.csv") as path:
        frame.to_csv(path, index=False, lineterminator="\n")
