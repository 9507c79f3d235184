"""How the time of one estimate at the logits grows with N, K and p: 64 examples, one core, beside whole tensors.

The times of a round are compared with each other alone; the picture shows their medians, for the slopes.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import matplotlib
import pandas as pd
import torch
from logits import BATCH, WHOLE, whole_tensor
from matplotlib import pyplot as plt
from rounds import ratios

import esgrad
from esgrad.report import style

MOST = 2**26  # numbers of noise that the whole-tensor form is asked to hold
DENSE = "esgrad: maxrl"
SWEEPS: dict[str, list[tuple[int, int, float]]] = {
    "N": [(n, 10, 0.0) for n in (10, 100, 1000, 10_000, 100_000)],
    "K": [(1000, k, 0.0) for k in (3, 10, 30, 100, 300, 1000, 3000, 10_000)],
    "p": [(1000, 1000, ahead) for ahead in (0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)],
}
"""N, K, and how far ahead the target is, in σ."""
LABELS = {
    "N": "samples N, at K = 10 equal logits",
    "K": "logits K, all equal, at N = 1,000",
    "p": "success probability p, at K = N = 1,000",
}
LOOKS = {
    WHOLE: ("#8a8a8a", "s", "--"),
    DENSE: ("#0a5a8a", "o", "-"),
    "esgrad: raw": ("#d08a00", "^", "-"),
    "esgrad: success, class, gumbel": ("#3a8a5a", "D", "-"),
}


def contestants(logits: torch.Tensor, targets: torch.Tensor, num_samples: int) -> dict[str, Callable[[], Any]]:
    """Those that can be asked for N samples."""
    words = {"num_samples": num_samples, "noise_variance": 1.0, "seed": 0, "step": 0}
    ours = partial(esgrad.es_gradient, logits, targets, **words)
    found: dict[str, Callable[[], Any]] = {
        DENSE: partial(ours, shaping="maxrl"),
        "esgrad: raw": ours,
        "esgrad: success, class, gumbel": partial(ours, credit="class", noise="gumbel", shaping="success"),
    }
    if num_samples * logits.numel() <= MOST:
        found = {WHOLE: partial(whole_tensor, logits, targets, num_samples)} | found
    return found


def rows(num_rounds: int) -> Iterator[dict]:
    """Each contestant along each sweep; ratios are to maxrl, whose weights need every number."""
    torch.set_num_threads(1)
    for sweep, places in SWEEPS.items():
        for num_samples, num_logits, ahead in places:
            targets = torch.arange(BATCH) % num_logits
            logits = torch.zeros(BATCH, num_logits).scatter(1, targets[:, None], ahead)
            p = float(esgrad.exact_gradient(logits[:1], targets[:1], 1.0)[0])
            facts = {"bench": "growth", "sweep": sweep, "N": num_samples, "K": num_logits, "p": p, "B": BATCH}
            for row in ratios(contestants(logits, targets, num_samples), DENSE, num_rounds):
                yield facts | row


def draw(table: pd.DataFrame) -> plt.Figure:
    """A panel for each sweep, a line for each contestant."""
    with matplotlib.rc_context(style.RC):
        figure, panels = plt.subplots(1, len(SWEEPS), figsize=(11, 3.6), sharey=True, layout="constrained")
        for axes, sweep in zip(panels, SWEEPS, strict=True):
            here = table[table["sweep"] == sweep]
            for name, (colour, marker, line) in LOOKS.items():
                own = here[here["contestant"] == name].sort_values(sweep)
                axes.plot(
                    own[sweep],
                    own["seconds"] / BATCH * 1e6,
                    line,
                    color=colour,
                    marker=marker,
                    markersize=5,
                    label=name,
                )
            axes.set_xscale("logit" if sweep == "p" else "log")
            if sweep == "p":
                axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
            axes.set_yscale("log")
            axes.set_xlabel(LABELS[sweep])
        panels[0].set_ylabel("microseconds an example")
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=len(LOOKS),
            title=f"Time of one estimate at the logits, {BATCH} examples",
            title_fontproperties={"weight": "bold", "size": 10},
        )
        note = (
            f"median of {table['rounds'].max()} interleaved rounds, {BATCH} examples, one core; "
            f"{table['machine'].iloc[0]}"
        )
        figure.text(0.5, -0.02, note, ha="center", va="top", fontsize=6, color=style.GREY, wrap=True)
    return figure
