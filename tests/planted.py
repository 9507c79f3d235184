"""A planted suite: records shaped like real ones, with known causes, to test statistics, tables and figures.

Every run's numbers come from its own name alone, so leaving out an experiment, a method or seeds changes no
other run. Planted on purpose: runs that never arrive (most of `openai_es`), two that diverge, raw shaping
losing a class, backprop at seeds from 1000 on, skipped cells, an optimum at the edge of the rates tried.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from esgrad.measurement.columns import QUALITY_COLUMNS, SAMPLES_COLUMNS
from esgrad.suite.gathered import CELL, FIRST_TUNING_SEED, Suite
from esgrad.suite.records import COLUMNS

MAX_STEPS, MAX_QUERIES = 3_000, 2_560_000
VALIDATION_EXAMPLES = 360
LEARNING_RATES = (0.003, 0.01, 0.03, 0.1)
DIVERGED = {("headline", "openai_es", 10, 2), ("variance", "lecture", 10, 3)}  # experiment, method, N, seed


class Method(NamedTuple):
    """A method and how it learns: `tau` steps at N → ∞, (1 + `noisy`/N) times as many at N, up to `final`."""

    space: str
    noise: str
    shaping: str
    tau: float
    noisy: float
    final: float
    loses_a_class: float = 0.0
    schedule: str = "fixed"
    relative: str = ""
    credit: str = "noise"


METHODS = {
    "backprop": Method("logits", "", "", 30, 0, 0.965),
    "smoothed": Method("logits", "", "", 45, 0, 0.95, 0.1),
    "log_smoothed": Method("logits", "", "", 30, 0, 0.96),
    "lecture": Method("logits", "independent", "raw", 60, 40, 0.95, 0.3),
    "leave_one_out": Method("logits", "independent", "leave_one_out", 50, 15, 0.955, 0.1),
    "success": Method("logits", "independent", "success", 40, 20, 0.96),
    "maxrl": Method("logits", "independent", "maxrl", 35, 10, 0.965),
    "maxrl_spread": Method("logits", "independent", "maxrl", 35, 10, 0.94, schedule="spread", relative="maxrl"),
    "maxrl_annealed": Method("logits", "independent", "maxrl", 35, 10, 0.965, schedule="annealed", relative="maxrl"),
    "mirrored": Method("logits", "mirrored", "raw", 55, 25, 0.95, 0.2),
    "openai_es": Method("parameters", "mirrored", "centered_ranks", 250, 80, 0.9),
    "success_class": Method("logits", "gumbel", "success", 32, 5, 0.965, credit="class"),
}
BLACKBOXES = {"backprop": "cross_entropy", "openai_es": ["cross_entropy", "zero_one"]}  # of others: zero_one
VARIANCES = {"openai_es": 0.001}  # of others: 1
EXACT = ("backprop", "smoothed", "log_smoothed")
SECTIONS: dict[str, dict] = {
    "headline": {
        "dataset": "digits",
        "methods": [name for name, it in METHODS.items() if (it.schedule, it.credit) == ("fixed", "noise")],
        "num_samples": [1, 10, 100],
        "batch_size": 32,
    },
    "variance": {
        "dataset": "digits",
        "methods": ["lecture", "maxrl", "maxrl_spread", "maxrl_annealed", "smoothed", "log_smoothed"],
        "num_samples": [10, 100],
        "noise_variance": [0.01, 0.1, 1.0, 10.0, 100.0],
        "batch_size": 32,
    },
    "logit_dim": {
        "dataset": "digits",
        "methods": ["backprop", "lecture", "maxrl", "success_class"],
        "logit_dim": [10, 100, 1000],
        "num_samples": [10, 100],
        "batch_size": 32,
    },
    "batch_size": {
        "dataset": "digits",
        "methods": ["lecture", "maxrl"],
        "num_samples": [2, 10, 100],
        "batch_size": [8, 32, 128],
    },
    "digit_sum": {
        "dataset": "digit_strings-2",
        "blackbox": "digit_sum",
        "methods": ["lecture", "leave_one_out", "maxrl"],
        "num_samples": [10, 100],
        "batch_size": 32,
    },
}
"""The experiments as a configuration has them; a word or number may stand for a list of one."""
EXPERIMENTS = tuple(SECTIONS)
_NEEDS_A_PAIR = ("leave_one_out", "maxrl", "mirrored", "openai_es")


def planted_suite(
    experiments: Sequence[str] = EXPERIMENTS,
    seeds: int = 10,
    methods: Sequence[str] | None = None,
    name: str = "planted",
) -> Suite:
    """A suite of the experiments and methods named (all by default), `seeds` reported runs a cell."""
    cells = [c for e in experiments for c in _cells(e) if methods is None or c["method"] in methods]
    skipped = [cell | {"reason": reason} for cell in cells if (reason := _refusal(cell))]
    trained = [cell for cell in cells if not _refusal(cell)]
    return Suite(
        name=name,
        records=_frame(run for cell in trained for run in _reported_runs(cell, seeds)),
        tuning=_frame(run for cell in trained for run in _tuning_runs(cell)),
        gradient_quality=_gradient_quality(),
        samples_needed=_samples_needed(),
        skipped=pd.DataFrame(skipped, columns=[*CELL, "reason"]).astype({"num_samples": "Int64"}),
        targets={"progress": [0.5, 0.75, 0.9, 0.95], "accuracy": [0.5, 0.75, 0.9]},
        experiments={experiment: SECTIONS[experiment] for experiment in experiments},
    )


def _cells(experiment: str) -> Iterator[dict]:
    section = SECTIONS[experiment]
    for method in section["methods"]:
        samples = [pd.NA] if method in EXACT else section["num_samples"]
        variances = [np.nan] if method == "backprop" else section.get("noise_variance", [VARIANCES.get(method, 1.0)])
        blackboxes = section.get("blackbox", BLACKBOXES.get(method, "zero_one"))
        for logit_dim, batch_size, blackbox, num_samples, variance in product(
            section.get("logit_dim", [10]),
            _list(section["batch_size"]),
            _list(blackboxes),
            samples,
            variances,
        ):
            yield {
                "experiment": experiment,
                "dataset": section["dataset"],
                "model": "mlp",
                "blackbox": blackbox,
                "method": method,
                "logit_dim": logit_dim,
                "batch_size": batch_size,
                "num_samples": num_samples,
                "noise_variance": variance,
            }


def _list(words: object) -> list:
    return words if isinstance(words, list) else [words]


def _refusal(cell: dict) -> str:
    lonely = cell["method"] in _NEEDS_A_PAIR and cell["num_samples"] == 1
    return f"{cell['method']} needs num_samples ≥ 2, got 1" if lonely else ""


def _reported_runs(cell: dict, seeds: int) -> Iterator[dict]:
    level = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + 3) if cell["method"] == "backprop" else ()
    for seed in [*range(seeds), *level]:
        yield _run(cell, seed, _best_rate(cell))


def _tuning_runs(cell: dict) -> Iterator[dict]:
    for rate in LEARNING_RATES:
        distance = abs(np.log10(rate / _best_rate(cell)))
        for seed in (FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1):
            yield _rows(_run(cell, seed, rate, worse=0.05 * distance, budget=0.3), [0, -1])


def _best_rate(cell: dict) -> float:
    """The rate that serves best: inside the candidates, but at their edge for `openai_es`."""
    return LEARNING_RATES[-1] if cell["method"] == "openai_es" else LEARNING_RATES[1 + cell["batch_size"] % 7 % 2]


def _run(cell: dict, seed: int, rate: float, worse: float = 0.0, budget: float = 1.0) -> dict:
    """One run's columns: a saturating curve, evaluated on a geometric grid, judged on 360 examples."""
    method = METHODS[cell["method"]]
    samples = 1 if cell["method"] in EXACT else cell["num_samples"]
    steps = _evaluations(samples * cell["batch_size"], budget)
    curve = _curve(cell, method, seed, samples, steps, worse)
    per_forward = samples if method.space == "parameters" else 1
    run = {
        **cell,
        "relative": method.relative,
        "control": "",
        "space": method.space,
        "noise": method.noise,
        "credit": method.credit if method.noise else "",
        "shaping": method.shaping,
        "schedule": method.schedule,
        "optimizer": "adam",
        "num_classes": 19 if cell["experiment"] == "digit_sum" else 10,
        "learning_rate": rate,
        "seed": seed,
        "step": steps,
        "queries": steps * (np.nan if "smoothed" in cell["method"] else 1.0 * samples * cell["batch_size"]),
        "forwards": steps * cell["batch_size"] * per_forward,
        "backwards": steps * cell["batch_size"] * (method.space != "parameters"),
        "examples": steps * cell["batch_size"],
        **curve,
        "status": np.full(len(steps), "ok", dtype=object),
        "source_digest": "planted",
    }
    diverges = samples > 1 and (cell["experiment"], cell["method"], samples, seed) in DIVERGED
    return _diverged(run) if diverges else run


def _evaluations(queries_per_step: int, budget: float) -> np.ndarray:
    last = int(budget * min(MAX_STEPS, MAX_QUERIES // queries_per_step))
    grid = np.ceil(np.geomspace(1, last, 1 + round(10 * np.log10(last))))
    return np.unique([0, *grid, last]).astype(np.int64)


def _curve(cell: dict, method: Method, seed: int, samples: int, steps: np.ndarray, worse: float) -> dict:
    rng = np.random.default_rng([seed, zlib.crc32(repr(cell).encode())])
    common = np.random.default_rng(seed).normal()  # what a seed's split and start do to every method alike
    tau = method.tau * (1 + method.noisy / samples) * np.exp(0.2 * common + 0.1 * rng.normal())
    if cell["method"] not in EXACT:
        tau *= (cell["logit_dim"] / 10) ** (1.5 if method.shaping == "raw" else 0.8)
    lost = rng.random() < method.loses_a_class
    initial = 0.1 + 0.02 * rng.random()
    final = method.final - worse - 0.05 * (cell["experiment"] == "digit_sum") + 0.004 * common - 0.09 * lost
    accuracy = initial + (final - initial) * -np.expm1(-((steps / tau) ** 0.8)) + 0.004 * rng.normal(size=len(steps))
    test = np.full(len(steps), np.nan)
    test[-1] = accuracy[-1] - 0.01 + 0.004 * rng.normal()
    spread = 0.2 + 2 * -np.expm1(-steps / (10 * tau))
    falls = {"fixed": 1 / spread, "spread": np.ones(len(steps)), "annealed": 100 ** -(steps / steps[-1] / 2)}
    return {
        "spread": spread,
        "sigma": np.sqrt(cell["noise_variance"]) * spread * falls[method.schedule],
        "validation_accuracy": _on_examples(accuracy),
        "test_accuracy": _on_examples(test),
        "dead_classes": np.maximum(np.rint(9 * np.exp(-4 * steps / tau)), lost).astype(object),
    }


def _on_examples(accuracy: np.ndarray) -> np.ndarray:
    """Accuracies as so many of the validation examples."""
    return np.clip(np.rint(accuracy * VALIDATION_EXAMPLES) / VALIDATION_EXAMPLES, 0, 1)


def _rows(run: dict, index: list[int] | slice) -> dict:
    return {key: value[index] if isinstance(value, np.ndarray) else value for key, value in run.items()}


def _diverged(run: dict) -> dict:
    """The run cut off halfway through its evaluations: its last row has no accuracies."""
    run = {
        key: value.copy() if isinstance(value, np.ndarray) else value
        for key, value in _rows(run, slice(len(run["step"]) // 2)).items()
    }
    run["validation_accuracy"][-1] = run["test_accuracy"][-1] = np.nan
    run["dead_classes"][-1], run["status"][-1] = pd.NA, "diverged"
    return run


def _frame(runs: Iterable[dict]) -> pd.DataFrame:
    """The runs below one another, a column at a time: fast, and tests build many suites."""
    columns: dict[str, list] = {column: [] for column in COLUMNS}
    for run in runs:
        for column, values in columns.items():
            value = run[column]
            values.extend(value if isinstance(value, np.ndarray) else [value] * len(run["step"]))
    return pd.DataFrame(columns, columns=list(COLUMNS)).astype(COLUMNS)


def _gradient_quality() -> pd.DataFrame:
    rows = []
    for noise, shaping, reference, factor in [
        ("independent", "raw", "smoothed", 40.0),
        ("independent", "leave_one_out", "smoothed", 15.0),
        ("independent", "maxrl", "log_smoothed", 10.0),
        ("mirrored", "raw", "smoothed", 25.0),
        ("orthogonal", "raw", "smoothed", 30.0),  # no law is known
    ]:
        for (step, stage), (level, batch_size), logit_dim, num_samples in product(
            enumerate(["start", "half", "trained"]), [("example", 1), ("batch", 32)], (10, 100, 1000), (4, 32, 256)
        ):
            variance = factor * (logit_dim / 10) ** (1.6 - 0.3 * step) / num_samples / batch_size**0.1
            cosine, known = (1 + variance) ** -0.5, noise != "orthogonal"
            row = dict.fromkeys(QUALITY_COLUMNS, np.nan) | {
                "dataset": "digits",
                "model": "mlp",
                "stage": stage,
                "step": 250 * step,
                "level": level,
                "batch_size": batch_size,
                "logit_dim": logit_dim,
                "num_samples": num_samples,
                "noise_variance": 1.0,
                "space": "logits",
                "noise": noise,
                "credit": "noise",
                "shaping": shaping,
                "reference": reference,
                "cosine": cosine,
                "cosine_error": 0.02 * cosine,
                "median_cosine": 0.8 * cosine,
                "relative_bias": 0.01 / num_samples,
                "variance": variance,
                "predicted_cosine": 0.98 * cosine if known else np.nan,
                "predicted_variance": 1.05 * variance if known else np.nan,
                "num_draws": 200,
                "num_examples": 64,
            }
            rows.append(row)
    return pd.DataFrame(rows)


SLOPES = {"level": 1.7, "start": 1.6, "half": 1.2, "trained": 1.0}
"""The planted exponents of N* against K, the same for every shaping, per example and per batch."""
IMAGES = {"level": 0.0, "start": 0.3, "half": 3.0, "trained": 3.0}
"""How far the log N* of an image (or batch) lies from others', standard deviation: the same images at every K."""
MOST_SAMPLES = 200_000  # at which N* is censored; leave_one_out needs every number and is censored at a tenth of it


def _samples_needed() -> pd.DataFrame:
    """N*(c) = a·image·K^b·c²/(1−c²) to a tenth or so, its bracket on a grid; curves cos² = x/(1+x), x = N/N*(√½)."""
    rng, rows = np.random.default_rng(8), []
    grid = np.unique(np.ceil(10 ** (np.arange(57) / 8) - 1e-9))
    for (stage, slope), level in product(SLOPES.items(), ("example", "batch")):
        images = IMAGES[stage] * np.array([1.2, -0.3, -1.1, 0.2])  # of standard deviation 1, half of them above 0
        shapings = {"raw": 2.0, "leave_one_out": 1.0} | ({"maxrl": 1.5} if level == "batch" else {})
        by_class = {"success": 0.5} if stage == "level" and level == "example" else {}
        for (shaping, factor), logit_dim in product((shapings | by_class).items(), (10, 100, 1000)):
            for example in range(4 if level == "example" or stage != "level" else 0):
                law = factor * (1.0 if level == "example" else 0.2) * logit_dim**slope * np.exp(images[example])
                scale = law * np.exp(0.1 * rng.normal())
                most = MOST_SAMPLES / (1 if shaping == "raw" else 10)
                words = {
                    "dataset": "" if stage == "level" else "digits",
                    "model": "" if stage == "level" else "mlp",
                    "stage": stage,
                    "level": level,
                    "logit_dim": logit_dim,
                    "batch_size": 32 if level == "batch" else pd.NA,
                    "noise_variance": 1.0,
                    "space": "logits",
                    "noise": "gumbel" if shaping in by_class else "independent",
                    "credit": "class" if shaping in by_class else "noise",
                    "shaping": shaping,
                    "example": example,
                    "probability": 1 / logit_dim,
                    "num_draws": 4,
                }
                for cosine in (0.5, 0.9):
                    odds = cosine**2 / (1 - cosine**2)
                    place = min(np.searchsorted(grid, scale * odds), len(grid) - 1)
                    low, high = (grid[place - 1] if place else 0.0), grid[place]
                    found = {"low": min(low, most), "high": high if high <= most else np.inf, "predicted": law * odds}
                    rows.append(words | {"kind": "needed", "cosine": cosine} | found)
                for samples in grid[(grid <= most) & (grid <= 30 * law)]:
                    cosine = np.sqrt(samples / (samples + scale))
                    rows.append(words | {"kind": "curve", "num_samples": samples, "cosine": cosine, "predicted": law})
    return pd.DataFrame(rows, columns=SAMPLES_COLUMNS).astype({"batch_size": "Int64", "example": "Int64"})


def of(frame: pd.DataFrame, **words: object) -> pd.DataFrame:
    """The rows with these values."""
    return frame[np.logical_and.reduce([frame[column] == value for column, value in words.items()])]


def suite_of_samples(frame: pd.DataFrame) -> Suite:
    """A small suite that measured these N*."""
    return replace(planted_suite(["headline"], seeds=1, methods=["backprop"]), samples_needed=frame)


def small_suite() -> Suite:
    """Two experiments with four methods, of ten seeds: enough for what a table says of one cell."""
    return planted_suite(["headline", "digit_sum"], methods=["backprop", "smoothed", "lecture", "openai_es"])
