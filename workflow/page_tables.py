"""The tables of README.md and RESULTS.md, each of committed results or of the menus."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from committed import BENCHMARKS, NAMES, accuracies, chosen, config, exponents, has, interval, over_t, table, two

from esgrad import menu
from esgrad.report import markdown as md
from esgrad.report import style
from esgrad.suite import label_search

MENUS = {
    "spaces": "where the noise q enters: at the logits, at those of a whole batch, or at the parameters",
    "noises": "how q is drawn",
    "credits": "what a sample is credited with, s: its noise, or the class that the noise led to",
    "shapings": "how fitness f becomes weights w",
}


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


def cards_table() -> str:
    """What `esgrad check` found of other libraries' estimators."""
    cards = pd.read_csv(BENCHMARKS / "cards.csv", dtype=str, keep_default_na=False)
    rows = [
        {
            "estimator": f"{card['estimator']} ({card['version']})",
            "its mean is": card["unbiased for"].partition(" within")[0],
            "its scale": card["scale"],
            "its variance": card["variance"],
            "does not hold": card["fails"] or "—",
        }
        for card in cards.to_dict("records")
    ]
    return grid(rows)


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


def exponent_table(suite: str = "default", cosine: float = 0.5) -> str:
    """The power of K that N grows with."""
    return grid(
        [
            {"stage": row["stage"], "of one": row["level"], "credited with": _credited(row)}
            | {"weights": f"`{row['shaping']}`", "K": f"{row['logit_dim_low']:,}–{row['logit_dim_high']:,}"}
            | {"power": f"{row['exponent']:.2f} ({row['low']:.2f}–{row['high']:.2f})"}
            | {"law": f"{row['predicted']:.2f}", "reached": f"{100 * (1 - row['censored_share']):.0f} %"}
            for row in exponents(suite, cosine).to_dict("records")
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


def shapings_table() -> str:
    """The formula of each shaping, from its own first line."""
    rows = []
    for name in menu.names("shapings"):
        first = str(menu.load("shapings", name).__doc__).split("\n\n")[0]
        rows.append({"shaping": f"`{name}`", "is": " ".join(first.split()).rstrip(".")})
    return grid(rows)


def methods_table() -> str:
    """What each method of the default's configuration is, in the words of the menus."""
    methods = config()["methods"]
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


def full_es_table(suite: str, experiments: Iterable[str], levels: Iterable[float]) -> str:
    """Noise at the parameters at each N: final accuracy, what was chosen, queries to some accuracies. Below it what
    knows the exact gradient."""
    frame, targets = pd.concat([accuracies(suite, name) for name in experiments]), table(suite, "targets")
    rows: list[dict[str, str]] = []
    for row in (
        frame[frame["num_samples"].notna()].sort_values(["blackbox", "num_samples"], kind="stable").to_dict("records")
    ):
        same = {key: row[key] for key in ("method", "blackbox", "num_samples", "noise_variance")}
        cells = {f"queries to {level:g}": _queries(targets, level, same) for level in levels}
        rows.append(
            {
                "method": f"`{row['method']}`",
                "black box": style.label(row["blackbox"]),
                "N": f"{row['num_samples']:,.0f}",
            }
            | {"t": f"{row['noise_variance']:g}", "learning rate": f"{row['learning_rate']:g}"}
            | {"accuracy": interval(pd.Series(row))}
            | cells
        )
    exact = frame[frame["num_samples"].isna()].drop_duplicates(["method", "blackbox"])
    for row in exact.to_dict("records"):
        own = {"method": f"`{row['method']}`", "black box": style.label(row["blackbox"])}
        told = {"learning rate": f"{row['learning_rate']:g}", "accuracy": interval(pd.Series(row))}
        rows.append(dict.fromkeys(rows[0], "") | own | told)
    return grid(rows)


def fewer_queries(suite: str, blackbox: str, level: float) -> str:
    """How many times fewer queries to an accuracy SNES takes than OpenAI's arm, at N = 10."""
    rows = chosen(table(suite, "targets"), unit="queries", blackbox=blackbox, num_samples=10, target_accuracy=level)
    rows = rows[rows["target"].str.startswith("accuracy")].set_index("method")["estimate"]
    return f"{rows['openai_es'] / rows['snes']:.2f}"


def edge_of_t(suite: str) -> str:
    """Which cells' t is the smallest or the largest that was tried, as the grid was not widened further."""
    tried = table(suite, "learning_rates").dropna(subset="num_samples")
    cells = tried.groupby(["method", "blackbox", "num_samples"])["noise_variance"]
    ends = (cells.transform("max") == tried["noise_variance"]) | (cells.transform("min") == tried["noise_variance"])
    found = [
        f"t = {row['noise_variance']:g} of `{row['method']}` ({style.label(row['blackbox'])}, N = {row['num_samples']})"
        for row in tried[ends & tried["chosen"]].astype({"num_samples": int}).to_dict("records")
    ]
    return (
        f"at the edge of the t that were tried {'lies' if len(found) == 1 else 'lie'} {' and '.join(found) or 'none'}"
    )


def _queries(targets: pd.DataFrame, level: float, same: dict[str, Any]) -> str:
    """The median of the queries to an accuracy with its interval, and how many of the runs arrived."""
    rows = chosen(targets, unit="queries", **same)
    row = rows[rows["target"].str.startswith("accuracy") & (rows["target_accuracy"] == level)].iloc[0]
    found = md.interval(row["estimate"], row["low"], row["high"])
    return found if row["hits"] == row["num_seeds"] else f"{found}, {row['hits']} of {row['num_seeds']} runs"


def speed_table(bench: str, **columns: str) -> str:
    """How many times as long as its reference each contestant of a bench takes, a column for each setting.

    `columns` are the bench's own with what a reader is told of each value, such as "K = {:,}".
    """
    frame = pd.read_csv(BENCHMARKS / f"speed_{bench}.csv")
    frame = frame[frame["contestant"] != frame["reference"]]
    cells: dict[str, dict[str, str]] = {}
    for row in frame.to_dict("records"):
        setting = ", ".join(told.format(row[name]) for name, told in columns.items())
        cells.setdefault(row["contestant"], {})[setting] = md.number(row["ratio"])
    settings = dict.fromkeys(setting for each in cells.values() for setting in each)
    return grid([{"contestant": name} | {key: each.get(key, "") for key in settings} for name, each in cells.items()])


def times_as_long_as(contestant: str, bench: str, **at: Any) -> str:
    """How many times as long as a contestant the reference of a bench takes, at a place."""
    frame = pd.read_csv(BENCHMARKS / f"speed_{bench}.csv")
    (ratio,) = chosen(frame, contestant=contestant, **at)["ratio"]
    return md.number(1 / ratio)


def speed_on() -> str:
    """What the ratios of the benches hold for: hardware and versions, in the order in which a bench tells them."""
    told = [str(pd.read_csv(path)["machine"].iloc[0]).split("; ") for path in BENCHMARKS.glob("speed_*.csv")]
    return "; ".join(dict.fromkeys(fact for facts in sorted(told, key=len, reverse=True) for fact in facts))


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
