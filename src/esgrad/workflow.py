"""The commands of the workflow: a step each, from data to records, tables and figures, as its rules call them.

As in `esgrad.cli`, nothing heavy is imported before it is needed.
"""

import argparse
import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

from esgrad import menu


def add_to(command: Callable[[str, Any, str], argparse.ArgumentParser]) -> None:
    """Add every command and its options; `command(name, function, help)` makes a parser."""
    made = command("decode", decode, "(workflow) Decode a data set into one file that is safe to load.")
    made.add_argument("dataset")
    made.add_argument("--data-root", default="data")
    made.add_argument("--out", required=True, type=Path)

    made = command("job", job, "(workflow) Train one job: every N, t and seed of it.")
    made.add_argument("job", help="the job as JSON")
    made.add_argument("--data", required=True, type=Path)
    made.add_argument("--device", default="auto")
    made.add_argument("--out", required=True, type=Path, help="folder for its records")

    for name, function, what in [
        ("quality", quality, "Measure gradient quality at the checkpoints of one K."),
        ("samples", samples, "Measure how large N must be, for one K."),
    ]:
        made = command(name, function, f"(workflow) {what}")
        made.add_argument("spec", help="the configuration's section for this K as JSON (measurements.py)")
        made.add_argument("--data", type=Path, help="the decoded data set of the checkpoints")
        made.add_argument("--out", required=True, type=Path)

    made = command("noise", noise, "(workflow) Measure the gradient noise of a task's methods.")
    made.add_argument("spec", help="the task's jobs and num_draws as JSON")
    made.add_argument("--data", required=True, type=Path, help="the decoded data set")
    made.add_argument("--records", required=True, type=Path, help="backprop's records, for its learning rate")
    made.add_argument("--out", required=True, type=Path)

    made = command("tables", tables, "(workflow) Write every table of a suite, as CSV, Markdown and HTML.")
    made.add_argument("folder", type=Path, help="results/<name>")
    made.add_argument("--out", type=Path, help="instead of <folder>/tables")
    made.add_argument("--partial", action="store_true", help="make do with the records there are")

    made = command("figure", figure, "(workflow) Draw figures of a suite, as PNG, SVG and CSV.")
    made.add_argument("folder", type=Path, help="results/<name>")
    made.add_argument("names", nargs="+", help="files of figures/, or 'all'")
    made.add_argument("--out", type=Path, help="instead of <folder>/figures")
    made.add_argument("--partial", action="store_true", help="make do with the records there are")

    made = command("timings", timings, "(workflow) Gather seconds and versions of every job.")
    made.add_argument("folder", type=Path, help="results/<name>")


def decode(given: argparse.Namespace) -> None:
    """Decode one data set."""
    from esgrad.tasks import data

    data.save(data.decode(given.dataset, given.data_root), given.out)


def job(given: argparse.Namespace) -> None:
    """Train one job."""
    from esgrad.suite import worker
    from esgrad.training.job import Job

    worker.run(Job.from_json(given.job), given.data, given.out, given.device)


def quality(given: argparse.Namespace) -> None:
    """Measure gradient quality."""
    from esgrad.measurement import quality

    _measure(given, "gradient_quality", quality.measure)


def samples(given: argparse.Namespace) -> None:
    """Measure how large N must be."""
    from esgrad.measurement import samples_needed

    _measure(given, "samples_needed", samples_needed.measure)


def _measure(given: argparse.Namespace, section: str, measure: Any) -> None:
    """Make the checkpoints a specification asks for, measure at them, write the table."""
    from esgrad.measurement import checkpoints
    from esgrad.suite import config as configuration
    from esgrad.suite import records
    from esgrad.tasks import data
    from esgrad.training import loop as training

    try:
        spec = json.loads(given.spec)
        training_run = spec.pop("checkpoints")
        signature(measure).bind([], **spec)
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"'{given.spec}' is no section {section} in JSON: {error}") from None
    training.settle()
    made = []
    if training_run:
        stages = training_run.pop("stages")
        job = configuration.backprop_job(**training_run)
        count = max(checkpoints.enough(job.logit_dim), spec["num_examples"], *configuration.listed(spec["batch_size"]))
        made = checkpoints.make(job, data.load(given.data), count, stages)
    records.write(measure(made, **spec), given.out)


def noise(given: argparse.Namespace) -> None:
    """Measure the gradient noise of a task's methods."""
    from esgrad.measurement import noise_scale
    from esgrad.suite import records
    from esgrad.tasks import data
    from esgrad.training import loop as training
    from esgrad.training.job import Job

    try:
        spec = json.loads(given.spec)
        jobs, num_draws = [Job.from_json(json.dumps(job)) for job in spec["jobs"]], int(spec["num_draws"])
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"'{given.spec}' is no task with jobs and num_draws in JSON: {error}") from None
    training.settle()
    (learning_rate,) = records.read(given.records)["learning_rate"].unique()
    images = menu.load("blackboxes", jobs[0].blackbox).prepare(data.load(given.data))
    records.write(noise_scale.measure(jobs, float(learning_rate), images, num_draws), given.out)


def tables(given: argparse.Namespace) -> None:
    """Write every table."""
    from esgrad.files import written
    from esgrad.report import markdown

    gathered = _gathered(given)
    for name in menu.names("tables"):
        made = menu.load("tables", name)
        frame = made.table(gathered)
        words = getattr(made, "markdown", markdown.markdown)(frame)
        kinds = {
            "csv": frame.to_csv(index=False),
            "md": words,
            "html": markdown.page(name.replace("_", " "), menu.summary("tables", name), words),
        }
        for kind, text in kinds.items():
            with written((given.out or given.folder / "tables") / f"{name}.{kind}") as path:
                path.write_text(text, encoding="utf-8", newline="\n")


def figure(given: argparse.Namespace) -> None:
    """Draw figures."""
    from esgrad.report import style

    gathered = _gathered(given)
    for name in menu.names("figures") if given.names == ["all"] else given.names:
        drawn, frame = menu.load("figures", name).draw(gathered)
        style.save(drawn, frame, (given.out or given.folder / "figures") / name)


def _gathered(given: argparse.Namespace) -> Any:
    """The suite in a folder; a reference's records may be those of other sources."""
    from esgrad.suite import gathered

    return gathered.load(given.folder, partial=given.partial, current="reference" not in given.folder.parts)


def timings(given: argparse.Namespace) -> None:
    """Gather seconds and versions."""
    import pandas as pd

    from esgrad.files import written

    runs = given.folder / "runs"
    if not any(runs.rglob("timing.parquet")):
        raise ValueError(f"{runs} holds no timing.parquet: run the suite first")
    seconds = pd.concat([pd.read_parquet(path) for path in sorted(runs.rglob("timing.parquet"))])
    made_by = [
        json.loads(path.read_text()) | {"path": str(path.parent.relative_to(runs))}
        for path in sorted(runs.rglob("provenance.json"))
    ]
    for name, frame in [("seconds", seconds), ("provenance", pd.DataFrame(made_by))]:
        with written(given.folder / "timings" / f"{name}.csv") as path:
            frame.to_csv(path, index=False)
