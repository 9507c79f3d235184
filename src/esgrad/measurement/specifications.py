"""What a configuration measures at checkpoints: for each K one specification, JSON that is handed to a process.

It holds the training that the checkpoints come from (`checkpoints`: the arguments of `config.backprop_job`, and
`stages`), and the arguments of `quality.measure` or `samples_needed.measure`. All here is light: the Snakefile asks.
"""

from pathlib import Path
from typing import Any

from esgrad import menu
from esgrad.tasks.data import describe, num_train

SECTIONS = {
    "gradient_quality": ("methods", "logit_dim", "num_samples", "noise_variance", "batch_size"),
    "samples_needed": ("logit_dim", "cosine"),
}
"""The sections that measure, and their keys that are lists; results lie in folders of these names, a file a K."""
SAMPLED = [
    {"noise": "independent", "credit": "noise", "shapings": ["raw", "leave_one_out", "maxrl"]},
    {"noise": "gumbel", "credit": "noise", "shapings": ["raw"]},
    {"noise": "gumbel", "credit": "class", "shapings": ["success", "maxrl"]},
]
"""What `samples_needed` measures: estimators whose shapings share what is asked."""


def path(section: str, logit_dim: int) -> str:
    """Where a section's results for one K lie, below results/<name>/."""
    return f"{section}/logit_dim={logit_dim}.parquet"


def files(section: str, spec: dict[str, Any]) -> list[str | Path]:
    """The package's files that a measurement names, beside those of its training; where a walk of imports starts."""
    asked = spec.get("estimators", SAMPLED)
    return [
        {"gradient_quality": "measurement/quality.py", "samples_needed": "measurement/samples_needed.py"}[section],
        *(menu.path("noises", each["noise"]) for each in asked),
        *(menu.path("credits", each["credit"]) for each in asked),
        *(menu.path("shapings", name) for each in asked for name in each["shapings"]),
    ]


def check(config: dict[str, Any]) -> None:
    """ValueError for the first value of these sections that is wrong, beyond what the schema sees."""
    if "checkpoints" in config:
        menu.path("models", config["checkpoints"]["model"])
        _check_size("checkpoints", "batch_size", config["checkpoints"]["batch_size"], config["checkpoints"]["dataset"])
    elif "gradient_quality" in config:
        raise ValueError("gradient_quality measures at checkpoints: add the section checkpoints")
    if "gradient_quality" in config:
        _check_methods(config)
    for section in SECTIONS:
        for made in specifications(config, section).values():
            wanted = made["batch_size"] if section == "gradient_quality" else [made["batch_size"]]
            if made["checkpoints"]:
                dataset = made["checkpoints"]["dataset"]
                _check_size(section, "num_examples", made["num_examples"], dataset)
                _check_size(section, "batch_size", max(wanted), dataset)
            if section == "gradient_quality" and max(wanted) > made["num_examples"]:
                raise ValueError(
                    f"gradient_quality.batch_size: {max(wanted)} is more than the num_examples = "
                    f"{made['num_examples']} that mini-batches are made of"
                )


def specifications(config: dict[str, Any], section: str) -> dict[int, dict[str, Any]]:
    """For each K the section's specification; none without the section."""
    make = {"gradient_quality": _quality, "samples_needed": _samples}[section]
    return {k: make(config, k) for k in config.get(section, {}).get("logit_dim", ())}


def _quality(config: dict[str, Any], logit_dim: int) -> dict[str, Any]:
    section = config["gradient_quality"]
    asked: dict[tuple[str, str], list[str]] = {}
    for name in section["methods"]:
        method = config["methods"][name]
        shapings = asked.setdefault((method["noise"], method["credit"]), [])
        shapings += [method["shaping"]] if method["shaping"] not in shapings else []
    estimators = [{"noise": noise, "credit": credit, "shapings": each} for (noise, credit), each in asked.items()]
    keys = ("num_samples", "noise_variance", "num_examples", "batch_size", "num_draws")
    return {
        "checkpoints": _checkpoints(config, logit_dim),
        "estimators": estimators,
        **{key: section[key] for key in keys},
    }


def _samples(config: dict[str, Any], logit_dim: int) -> dict[str, Any]:
    section = config["samples_needed"]
    keys = ("noise_variance", "num_examples", "batch_size", "num_draws", "budget")
    words = {"logit_dim": logit_dim, "cosines": section["cosine"], **{key: section[key] for key in keys}}
    return {"checkpoints": _checkpoints(config, logit_dim), **words}


def _checkpoints(config: dict[str, Any], logit_dim: int) -> dict[str, Any] | None:
    """The training with K logits; for K below the number of classes, on the first K. None without the section."""
    if "checkpoints" not in config:
        return None
    section = config["checkpoints"]
    dataset, classes = section["dataset"], describe(section["dataset"])["num_classes"]
    if logit_dim < classes:
        dataset = f"{dataset}-{logit_dim}"
        try:
            describe(dataset)
        except ValueError:
            raise ValueError(
                f"logit_dim: {logit_dim} is less than the {classes} classes of checkpoints.dataset, of which the first "
                f"{logit_dim} cannot be had: K = {classes} or more would do"
            ) from None
    return {**section, "dataset": dataset, "logit_dim": logit_dim}


def _check_methods(config: dict[str, Any]) -> None:
    for name in config["gradient_quality"]["methods"]:
        if name not in config["methods"]:
            raise menu.unknown("method in gradient_quality", name, config["methods"])
        method = config["methods"][name]
        if method.get("space") != "logits":
            raise ValueError(f"gradient_quality.methods: {name} has no noise at the logits; name one that has")
        blackboxes = method.get("blackbox", "zero_one")
        if "zero_one" not in (blackboxes if isinstance(blackboxes, list) else [blackboxes]):
            raise ValueError(f"gradient_quality.methods: {name} is not for zero_one, the black box measured there")


def _check_size(section: str, key: str, value: int, dataset: str) -> None:
    if value > (train := num_train(describe(dataset))):
        raise ValueError(f"{section}.{key}: {value} is more than the {train} training images of {dataset}")
