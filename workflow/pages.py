"""Write README.md and RESULTS.md from their templates in workflow/pages/ and the committed reference results.

The templates are Markdown with Jinja2's {{ … }} where a number or a table stands, so that nobody types one:
`make pages`.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from esgrad import menu
from esgrad.report import markdown as md
from esgrad.report import style
from esgrad.suite import label_search
from esgrad.tasks.data import describe, num_train

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "workflow" / "pages"
REFERENCE = ROOT / "results" / "reference"
NAMES = {"default": "digits", "mnist": "MNIST"}
MENUS = {
    "spaces": "where the noise q enters: at the logits, at those of a whole batch, or at the parameters",
    "noises": "how q is drawn",
    "credits": "what a sample is credited with, s: its noise, or the class that the noise led to",
    "shapings": "how fitness f becomes weights w",
}


# What tables say


def table(suite: str, name: str) -> pd.DataFrame:
    """A committed table."""
    return pd.read_csv(REFERENCE / suite / "tables" / f"{name}.csv")


def chosen(frame: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows with these values."""
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame


def one(frame: pd.DataFrame, **wanted: Any) -> pd.Series:
    """The only row with these values."""
    found = chosen(frame, **wanted)
    if len(found) != 1:
        raise SystemExit(f"{len(found)} rows of a table have {wanted}: expected one")
    return found.iloc[0]


def accuracies(suite: str, experiment: str) -> pd.DataFrame:
    """An experiment's final accuracies."""
    return chosen(table(suite, "accuracy"), experiment=experiment)


def accuracy(row: pd.Series) -> str:
    """A mean accuracy."""
    return f"{row['test_accuracy_mean']:.3f}"


def interval(row: pd.Series) -> str:
    """A mean accuracy with its interval, and a mark where runs lose a class."""
    lost = "\\*" if row["dead_class_rate"] > 0 else ""
    return f"{accuracy(row)} ({row['low']:.3f}–{row['high']:.3f}){lost}"


def two(value: float) -> str:
    """Two digits: N is known to a cell of a grid of eight a decade."""
    return f"{float(f'{value:.2g}'):,.0f}" if np.isfinite(value) else "∞"


def has(suite: str) -> bool:
    """Whether that suite's results are committed."""
    return (REFERENCE / suite).is_dir()


# Numbers in sentences


def needed(shaping: str, k: int, *, credit: str, suite: str = "default") -> str:
    """N for a cosine of one half, of one example at equal logits, measured."""
    row = one(
        table(suite, "samples_needed"), stage="level", credit=credit, shaping=shaping, logit_dim=k, cosine=0.5,
        noise="independent" if credit == "noise" else "gumbel",
    )  # fmt: skip
    return two(row["estimate"]) if np.isfinite(row["estimate"]) else f"more than {two(row['low'])}"


def trained(method: str, k: int, n: int) -> str:
    """Final accuracy at K logits and N samples."""
    return accuracy(one(accuracies("default", "logit_dim"), method=method, logit_dim=k, num_samples=n))


def digit_sum(method: str, n: int | None = None) -> str:
    """Final accuracy where only the sum of two digits is judged."""
    rows = chosen(accuracies("default", "digit_sum"), method=method)
    return accuracy(one(rows if n is None else chosen(rows, num_samples=n)))


def law(shaping: str, k: int, *, credit: str, blackbox: str = "zero_one") -> str:
    """N for a cosine of one half, of one example at equal logits of K for each of its readings, by its law."""
    noise = "independent" if credit == "noise" else "gumbel"
    wanted = {"noise": noise, "credit": credit, "shaping": shaping, "blackbox": blackbox, "logit_dim": k}
    rows = chosen(table("default", "how_many_samples"), **wanted)
    return f"{rows['num_samples_half'].iloc[0]:,.0f}"


def over_t(method: str, n: int, least: float = 0.0) -> str:
    """How far the final accuracies over all fixed t from `least` on lie apart."""
    frame = chosen(accuracies("default", "variance"), method=method, num_samples=n)
    means = frame[frame["noise_variance"] >= least]["test_accuracy_mean"]
    return f"{means.max() - means.min():.3f}"


def laws_inside() -> str:
    """In how many rows of the table of powers the law lies within the interval."""
    frame = _exponents("default", 0.5)
    inside = (frame["low"] <= frame["predicted"]) & (frame["predicted"] <= frame["high"])
    return f"In {inside.sum()} of {len(frame)} rows the law lies within the interval."


def worst_t() -> str:
    """The fixed t at which every method that samples ends worst, at each K and N; there may be none."""
    frame = pd.concat([accuracies("default", experiment) for experiment in ("variance", "variance_logit_dim")])
    frame = frame[frame["num_samples"].notna() & ~frame["method"].isin(table("default", "rules")["method"])]
    rows = frame.loc[frame.groupby(["experiment", "method", "num_samples"])["test_accuracy_mean"].idxmin()]
    if rows["noise_variance"].nunique() != 1:
        raise SystemExit("no single t is the worst for every method that samples: RESULTS.md needs other words")
    return f"{rows['noise_variance'].iloc[0]:g}"


def seeds(suite: str = "default", experiment: str = "headline") -> int:
    """Reported runs of a cell of an experiment."""
    return int(accuracies(suite, experiment)["num_seeds"].max())


def given_rate(experiment: str) -> str:
    """The one learning rate that an experiment's configuration gives all its methods."""
    config = json.loads((REFERENCE / "default" / "suite.json").read_text(encoding="utf-8"))
    return f"{config['experiments'][experiment]['learning_rates']:g}"


def per_label(k: int) -> str:
    """Queries that look one label of K up."""
    return f"{label_search.queries_per_label([1] * k):.1f}"


def per_sum(digits: int) -> str:
    """Queries that look the sum of so many digits up."""
    chances = label_search.chances("digit_sum", f"digit_strings-{digits}", 10)
    return f"{label_search.queries_per_label(chances):.1f}"


def covered(level: str) -> str:
    """With what probability an interval of N holds the median of such subjects."""
    rows = chosen(table("default", "samples_needed"), level=level, stage="trained")
    return f"{rows['coverage'].min():.3g}"


# Tables


def grid(rows: list[dict[str, str]]) -> str:
    """Rows as a Markdown table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row.values()) + " |" for row in rows)])


def menus() -> list[dict[str, str]]:
    """The menus of the formula."""
    return [
        {"menu": name, "says": says, "choices": ", ".join(f"`{word}`" for word in menu.names(name))}
        for name, says in MENUS.items()
    ]


def accuracy_table(samples: tuple[int, ...], suites: Iterable[str] = NAMES) -> str:
    """Final accuracies of the headline of these suites, for the methods of the first."""
    frames = {suite: accuracies(suite, "headline") for suite in suites if has(suite)}
    first, rows = next(iter(frames.values())), []
    for method in style.order(first["method"]):
        for box in sorted(set(chosen(first, method=method)["blackbox"])):
            cells = {
                f"{NAMES[suite]}, N = {n}": _cell(frame, method, box, n)
                for suite, frame in frames.items()
                for n in samples
            }
            rows.append({"method": f"`{method}`", "black box": style.label(box)} | cells)
    return grid(rows)


def _cell(frame: pd.DataFrame, method: str, blackbox: str, num_samples: int) -> str:
    rows = chosen(frame, method=method, blackbox=blackbox)
    rows = rows[(rows["num_samples"] == num_samples) | rows["num_samples"].isna()]
    return interval(rows.iloc[0]) if len(rows) else ""


def needed_table(suite: str = "default", cosine: float = 0.5, **wanted: Any) -> str:
    """N measured with its interval and the law's, for each K, noise, credit and shaping of one stage and level."""
    frame = chosen(table(suite, "samples_needed"), cosine=cosine, **wanted)
    rows = []
    for _, part in frame.groupby(["credit", "noise", "shaping"], sort=False):
        for row in part.sort_values("logit_dim").to_dict("records"):
            found = two(row["estimate"]) if np.isfinite(row["estimate"]) else f"> {two(row['low'])}"
            rows.append(
                {"credited with": _credited(row), "weights": f"`{row['shaping']}`", "K": f"{row['logit_dim']:,}"}
                | {"N": found, "interval": f"{two(row['low'])}–{two(row['high'])}", "law": two(row["law"])}
            )
    return grid(rows)


def _credited(row: dict[str, Any]) -> str:
    noise = {"independent": "Gaussian noise", "gumbel": "Gumbel noise"}[row["noise"]]
    return noise if row["credit"] == "noise" else f"the class ({noise})"


def _exponents(suite: str, cosine: float) -> pd.DataFrame:
    """The powers over all K from ten on; at equal logits, where they change with K, over each factor of ten."""
    frame = chosen(table(suite, "exponents"), cosine=cosine)
    frame = frame[(frame["logit_dim_low"] >= 10) & frame["exponent"].notna()]
    whole = frame["logit_dim_high"] / frame["logit_dim_low"]
    return frame[whole == whole.groupby(frame["stage"]).transform("max")]


def exponent_table(suite: str = "default", cosine: float = 0.5) -> str:
    """The power of K that N grows with."""
    return grid(
        [
            {"stage": row["stage"], "of one": row["level"], "credited with": _credited(row)}
            | {"weights": f"`{row['shaping']}`", "K": f"{row['logit_dim_low']:,}–{row['logit_dim_high']:,}"}
            | {"power": f"{row['exponent']:.2f} ({row['low']:.2f}–{row['high']:.2f})"}
            | {"law": f"{row['predicted']:.2f}", "reached": f"{100 * (1 - row['censored_share']):.0f} %"}
            for row in _exponents(suite, cosine).to_dict("records")
        ]
    )


def trained_table(experiment: str, column: str, suite: str = "default", **wanted: Any) -> str:
    """Final accuracies of an experiment, without rules for t; a row a method and N, a column a value of `column`."""
    frame = chosen(accuracies(suite, experiment), **wanted)
    frame = frame[~frame["method"].isin(table(suite, "rules")["method"])]
    frame = frame[frame["method"] != "label_search"]
    rows = []
    for method in style.order(frame["method"]):
        part = frame[frame["method"] == method]
        for n in sorted(part["num_samples"].unique(), key=lambda n: (pd.isna(n), n)):
            here = part[part["num_samples"].isna() if pd.isna(n) else part["num_samples"] == n]
            cells = {f"{column} = {value:g}": "" for value in sorted(frame[column].dropna().unique())}
            for row in here.to_dict("records"):
                key = f"{column} = {row[column]:g}"
                cells |= {name: interval(pd.Series(row)) for name in cells if name == key or pd.isna(row[column])}
            rows.append({"method": f"`{method}`", "N": "" if pd.isna(n) else f"{n:.0f}"} | cells)
    return grid(rows)


def range_table(least: float = 0.1) -> str:
    """How far a method's final accuracies over all fixed t from `least` on lie apart."""
    return grid(
        [
            {"method": f"`{method}`"} | {f"N = {n}": over_t(method, n, least) for n in (4, 100)}
            for method in ("lecture", "maxrl", "success_class")
        ]
    )


def ends_table(experiment: str) -> str:
    """Final accuracies of an experiment, a row a method, a column an N; without an N, the same in all."""
    frame = accuracies("default", experiment)
    samples = sorted(frame["num_samples"].dropna().astype(int).unique())
    return grid(
        [
            {"method": f"`{method}`"} | {f"N = {n}": _cell(frame, method, box, n) for n in samples}
            for method in style.order(frame["method"])
            for box in sorted(set(chosen(frame, method=method)["blackbox"]))
        ]
    )


def split(dataset: str) -> str:
    """How many images of a data set are for what."""
    about = describe(dataset)
    train, (total, *_) = num_train(about), about["counts"]
    rest = (total - train) // 2
    return f"{train:,} images for training, {rest:,} for validation and {rest:,} for the test"


def shapings_table() -> str:
    """The formula of each shaping, from its own first line."""
    rows = []
    for name in menu.names("shapings"):
        first = str(menu.load("shapings", name).__doc__).split("\n\n")[0]
        rows.append({"shaping": f"`{name}`", "is": " ".join(first.split()).rstrip(".")})
    return grid(rows)


def methods_table() -> str:
    """What each method of the default's configuration is, in the words of the menus."""
    config = json.loads((REFERENCE / "default" / "suite.json").read_text(encoding="utf-8"))
    methods = config["methods"]
    rows = [{"method": f"`{name}`", "is": _method(methods[name])} for name in style.order(methods)]
    found = "the exact gradient that knows the labels, with the queries that looked each of them up once"
    return grid([*rows, {"method": f"`{label_search.METHOD}`", "is": found}])


def _method(words: dict[str, Any]) -> str:
    if words.get("exact"):
        first = str(menu.load("exact", words["exact"]).__doc__).splitlines()[0]
        return first[0].lower() + first[1:].rstrip(".:")
    parts = " × ".join(words[key] for key in ("space", "noise", "credit", "shaping"))
    if words.get("control"):
        parts = f"{words['control']} control of {parts}"
    return parts if words["schedule"] == "fixed" else f"{parts}, t by the rule {words['schedule']}"


def verdicts_table() -> str:
    """The headline's methods by what the paired test says of them, at each N."""
    frame = chosen(table("default", "comparisons"), experiment="headline", measure="test accuracy")
    rows = []
    for n, part in frame.groupby("num_samples"):
        found = {
            verdict: ", ".join(f"`{method}`" for method in style.order(chosen(part, verdict=verdict)["method"]))
            for verdict in ("better", "cannot decide", "worse")
        }
        rows.append({"N": f"{n:.0f}"} | found)
    return grid(rows)


def ladder_table(suite: str) -> str:
    """Steps to 90 % of backprop's progress over those of the rung below, and what the gradient noise predicts."""
    rungs = chosen(table(suite, "ladder"), target="progress 0.90")
    rungs = rungs[rungs["method"] != "backprop"]
    return grid(
        [
            {"rung": f"`{row['method']}`", "stands on": f"`{row['stands_on']}`", "change": row["change"]}
            | {"arrived": f"{row['hits']} of {row['num_seeds']}"}
            | {"steps over that rung's": _over(row, "ratio")}
            | {"predicted": _predicted(row, ""), "verdict": _said(row["verdict"])}
            | {"steps over backprop's": _over(row, "ratio_to_backprop")}
            | {"predicted over backprop": _predicted(row, "_to_backprop")}
            | {"verdict over backprop": _said(row["verdict_to_backprop"])}
            for row in rungs.to_dict("records")
        ]
    )


def _over(row: dict[str, Any], ratio: str) -> str:
    return md.ratio(row[ratio], row[f"{ratio}_low"], row[f"{ratio}_high"])


def _predicted(row: dict[str, Any], end: str) -> str:
    ends = [row[f"predicted{end}{side}"] for side in ("", "_low", "_high")]
    return md.interval(*ends) if np.isfinite(ends).all() else ""


def _said(verdict: Any) -> str:
    return verdict if isinstance(verdict, str) else ""


def rules_table(suite: str) -> str:
    """What each rule for t costs against a fixed t, both at levels that other seeds chose."""
    return grid(
        [
            {"rule": f"`{row['method']}`", "N": f"{row['num_samples']:.0f}"}
            | {"levels chosen": row["levels"], "fixed t chosen": row["fixed"]}
            | {"regret": f"{row['regret']:.3f} ({row['low']:.3f} to {row['high']:.3f})"}
            for row in table(suite, "rules").to_dict("records")
        ]
    )


def slower_table() -> str:
    """How many times backprop's cost each method pays at its best N, to 90 % of backprop's progress."""
    frame = chosen(table("default", "slower_than_backprop"), target="progress 0.90")
    rows = []
    for method in style.order(frame["method"]):
        for box, part in chosen(frame, method=method).groupby("blackbox", sort=False):
            cells = {str(unit): _best_over_backprop(each) for unit, each in part.groupby("unit")}
            rows.append({"method": f"`{method}`", "black box": style.label(str(box))} | cells)
    return grid([{key: row[key] for key in ("method", "black box", "steps", "queries", "forwards")} for row in rows])


def _best_over_backprop(rows: pd.DataFrame) -> str:
    """The ratio at the best N, or the least bound where at no N half of the runs arrived."""
    best = rows[rows["best"]]
    return _over_backprop(best.iloc[0].to_dict()) if len(best) else f"> {md.number(rows['ratio_low'].min())}"


def _over_backprop(row: dict[str, Any]) -> str:
    ratio = md.ratio(row["ratio_to_backprop"], row["ratio_low"], row["ratio_high"])
    return ratio if pd.isna(row["num_samples"]) else f"{ratio} (N = {row['num_samples']:.0f})"


def plan(words: str) -> str:
    """What `esgrad plan` prints."""
    command = [str(Path(sys.executable).parent / "esgrad"), "plan", *words.split()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f"```\n$ esgrad plan {words}\n{said.rstrip()}\n```"


def rendered(name: str) -> str:
    """A page, from its template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    known = {word: thing for word, thing in globals().items() if callable(thing) and not word.startswith("_")}
    text = environment.get_template(name).render(**known)
    if "nan" in text.replace("|", " ").split():
        raise SystemExit(f"{name} would say nan: the records in results/reference/ do not answer it")
    return text


if __name__ == "__main__":
    for page in sorted(path.name for path in TEMPLATES.glob("*.md")):
        target = ROOT / page
        if "--check" in sys.argv:
            if target.read_text(encoding="utf-8") != rendered(page):
                sys.exit(f"{page} and results/reference/ disagree: run `make pages`")
        else:
            target.write_text(rendered(page), encoding="utf-8")
