"""The table of a bench as a picture: how many times as long as its reference each contestant takes.

python benchmarks/picture.py results/benchmarks
"""

import sys
from pathlib import Path

import growth
import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib import ticker

from esgrad.report import style

FACETS = {
    "noise": ["shape"],
    "logits": ["K", "place"],
    "exact": ["K", "B"],
    "parameters": ["model", "threads"],
    "training": ["dataset", "arm"],
    "gpu": ["part", "K"],
}
TITLES = {
    "noise": "Making standard normals",
    "logits": "One estimate at the logits, 64 examples, N = 1,000",
    "exact": "The exact gradient of log p",
    "parameters": "One generation of noise at the parameters: 256 members (mlp) or 16 (cnn), 128 examples each",
    "training": "A step of training a stack of runs",
    "gpu": "On a card",
}
OURS, THEIRS = "#0a5a8a", "#606060"


def draw(path: Path) -> plt.Figure:
    """A panel for each setting of a bench, a row for each contestant."""
    table = pd.read_csv(path)
    bench = str(table["bench"].iloc[0])
    if bench == "growth":
        return growth.draw(table)
    table = table[table["ratio"].notna()] if "ratio" in table else table
    keys = [key for key in FACETS[bench] if key in table]
    panels = list(table.groupby(keys, sort=False, dropna=False))
    columns = min(4, len(panels), table[keys[-1]].nunique(dropna=False))
    lines = -(-len(panels) // columns)
    tallest = max(panel["contestant"].nunique() for _, panel in panels)
    size = ((4.6 if columns < 4 else 3.7) * columns, (0.27 * tallest + 0.9) * lines + 0.6)
    with matplotlib.rc_context(style.RC):
        figure, grid = plt.subplots(lines, columns, figsize=size, sharex=True, squeeze=False, layout="constrained")
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes, (key, panel) in zip(grid.flat, panels, strict=False):
            panel = panel.iloc[::-1]
            for row, (_, line) in enumerate(panel.iterrows()):
                colour = OURS if str(line["contestant"]).startswith("esgrad") else THEIRS
                axes.plot([line["low"], line["high"]], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
                axes.plot(line["ratio"], row, "o" if colour == OURS else "s", color=colour, markersize=5)
                axes.annotate(
                    f"{line['ratio']:.3g}", (max(line["high"], line["ratio"]), row), (5, 0), textcoords="offset points",
                    va="center", fontsize=7, color=colour, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                )  # fmt: skip
            axes.set_yticks(range(len(panel)), panel["contestant"], fontsize=7)
            axes.set_ylim(-0.7, len(panel) - 0.3)
            axes.set_xscale("log")
            if table["ratio"].max() < 30 * table["ratio"].min():
                axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
                axes.xaxis.set_minor_formatter(ticker.NullFormatter())
            axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
            axes.margins(x=0.15)
            axes.axvline(1, color=style.GREY, linewidth=0.8, zorder=0)
            named = [
                f"{name} = {value}" if name in ("K", "B") else str(value) for name, value in zip(keys, key, strict=True)
            ]
            if bench == "parameters":
                named[-1] += " threads" if named[-1] != "1" else " thread"
            axes.set_title(", ".join(named), fontsize=8)
        reference = ", ".join(dict.fromkeys(table["reference"]))
        figure.supxlabel(f"times as long as {reference} (log scale, less is faster)", fontsize=8)
        figure.suptitle(TITLES[bench], fontsize=10)
        machine = str(table["machine"].iloc[0])
        note = f"median of the ratios in {table['rounds'].max()} interleaved rounds, bars: quartiles; {machine}"
        figure.text(0.5, -0.01, note, ha="center", va="top", fontsize=6, color=style.GREY, wrap=True)
    return figure


def main() -> None:
    """Draw every table of a folder beside it."""
    folder = Path(sys.argv[1])
    for path in sorted(folder.glob("speed_*.csv")):
        figure = draw(path)
        for kind in ("svg", "png"):
            figure.savefig(path.with_suffix(f".{kind}"), bbox_inches="tight", dpi=150)
        plt.close(figure)
        print(path.with_suffix(".png"))


if __name__ == "__main__":
    main()
