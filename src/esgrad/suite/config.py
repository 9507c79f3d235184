"""A validated configuration, unfolded into jobs: one for each data set, model, black box, method, K and B."""

import json
import math
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from esgrad import menu
from esgrad.measurement import specifications as measurements
from esgrad.tasks.data import describe, num_train
from esgrad.training.job import Job
from esgrad.training.method import LECTURE, SETTINGS, ExactMethod, Method

DEFAULTS = {key: word for key, word in LECTURE.items() if key != "shaping"}
"""What a method that samples has unless it says otherwise: the lecture's."""
SCHEMA = Path(__file__).with_name("config.schema.yaml")


def read(path: str | Path) -> dict[str, Any]:
    """The validated configuration in a YAML file; OSError or ValueError in one line."""
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    return validated(loaded)


def validated(config: Any) -> dict[str, Any]:
    """The configuration with every default filled in; ValueError naming the first value that is wrong."""
    validator = _Validator(schema())
    if error := jsonschema.exceptions.best_match(validator.iter_errors(config)):
        raise ValueError(_explain(error))
    config = json.loads(json.dumps(config))
    _fill(config, schema())
    for name, method in config["methods"].items():
        _check_method(name, method, config["methods"])
    for name, experiment in config["experiments"].items():
        _check_experiment(name, experiment, config)
    for section, lists in measurements.SECTIONS.items():
        if section in config:
            config[section] |= {key: listed(config[section][key]) for key in lists}
    measurements.check(config)
    for name in listed(config.get("noise_scale", {}).get("experiments", [])):
        if name not in config["experiments"]:
            raise menu.unknown("experiment in noise_scale", name, config["experiments"])
        methods = [config["methods"][method] for method in listed(config["experiments"][name]["methods"])]
        if any(job.variance_candidates for job in _experiment_jobs(name, config)):
            raise ValueError(
                f"noise_scale.experiments: {name} tunes t, and is asked about at one: noise_variance names it"
            )
        if not any(method.get("exact") == "backprop" for method in methods):
            raise ValueError(f"noise_scale.experiments: {name} has no backprop, whose networks are asked: add it there")
    return config


def jobs(config: dict[str, Any]) -> list[Job]:
    """Every job of a validated configuration, those without a runnable cell included."""
    return [job for name in config["experiments"] for job in _experiment_jobs(name, config)]


def runnable(job: Job) -> bool:
    """Whether a job has a cell that is not skipped."""
    return any(reason is None for *_, reason in job.cells())


def noise_tasks(config: dict[str, Any]) -> dict[str, list[Job]]:
    """The tasks whose gradient noise is measured: where it lies below results/<name>/, and the runnable jobs."""
    tasks: dict[str, list[Job]] = {}
    for name in listed(config.get("noise_scale", {}).get("experiments", [])):
        for job in filter(runnable, _experiment_jobs(name, config)):
            dims = f"logit_dim={job.logit_dim}/batch_size={job.batch_size}"
            path = f"noise_scale/{job.experiment}/{job.dataset}/{job.model}/{dims}.parquet"
            tasks.setdefault(path, []).append(job)
    return tasks


def backprop_job(dataset: str, logit_dim: int, max_steps: int, learning_rate: float, **words: Any) -> Job:
    """One run of backprop, for its networks and not for its records; `words` are other keys of an experiment."""
    section = {"dataset": dataset, "logit_dim": logit_dim, "max_steps": max_steps, "num_seeds": 1, **words}
    made = validated(
        {
            "name": "checkpoints",
            "tuning": {"learning_rates": [learning_rate]},
            "methods": {"backprop": {"exact": "backprop"}},
            "experiments": {"checkpoints": section | {"methods": "backprop"}},
        }
    )
    return jobs(made)[0]


def _experiment_jobs(name: str, config: dict[str, Any]) -> Iterator[Job]:
    experiment, tuning = config["experiments"][name], config["tuning"]
    own_rates = listed(experiment.get("learning_rates", []))
    rates = own_rates or tuning["learning_rates"]
    for method, dataset, model in product(*(listed(experiment[key]) for key in ("methods", "dataset", "model"))):
        spec = config["methods"][method]
        exact = spec.get("exact")
        climbed = Method.of({"space": "logits", **spec})
        arm = climbed.exact if isinstance(climbed, ExactMethod) else None
        for blackbox in listed(experiment.get("blackbox", spec.get("blackbox", arm.BLACKBOX if arm else "zero_one"))):
            _, classes = menu.load("blackboxes", blackbox).readings(describe(dataset)["num_classes"])
            variances, candidates = _variances(experiment, spec, climbed, tuning)
            for logit_dim, batch_size in product(
                listed(experiment.get("logit_dim", classes)), listed(experiment["batch_size"])
            ):
                yield Job(
                    experiment=name,
                    dataset=dataset,
                    model=model,
                    blackbox=blackbox,
                    method=method,
                    relative=spec.get("relative"),
                    logit_dim=logit_dim,
                    batch_size=batch_size,
                    space=spec.get("space", "logits"),
                    noise=spec.get("noise", ""),
                    credit=spec.get("credit", ""),
                    shaping=spec.get("shaping", ""),
                    schedule=spec["schedule"],
                    exact=exact,
                    control=spec.get("control"),
                    optimizer=spec["optimizer"],
                    **{key: spec[key] for key in ("rate_schedule", *SETTINGS) if key in spec},
                    weight_decay=spec["weight_decay"],
                    hidden_size=experiment["hidden_size"],
                    num_classes=classes,
                    num_samples=(None,) if exact else tuple(listed(experiment["num_samples"])),
                    noise_variance=tuple(None if t is None else float(t) for t in variances),
                    num_seeds=experiment["num_seeds"],
                    max_steps=experiment["max_steps"],
                    max_queries=experiment.get("max_queries"),
                    learning_rates=tuple(rates),
                    num_tuning_seeds=tuning["num_seeds"] if len(rates) > 1 or not own_rates else 0,
                    variance_candidates=tuple(map(float, candidates)),
                    max_widenings=tuning["max_widenings"],
                    evaluations_per_decade=config["evaluations_per_decade"],
                    draws_per_cell=config["draws_per_cell"],
                )


def _variances(
    experiment: dict[str, Any], spec: dict[str, Any], climbed: Method, tuning: dict[str, Any]
) -> tuple[list[float | None], list[float]]:
    """The values of t, and the candidates where it is tuned: at the parameters, unless somebody names it."""
    if isinstance(climbed, ExactMethod) and not climbed.exact.USES_VARIANCE:
        return [None], []
    named = experiment.get("noise_variance", spec.get("noise_variance"))
    if named is None and not isinstance(climbed, ExactMethod) and not climbed.space.TAKES_LOGITS:
        return [None], listed(tuning["parameter_variances"])
    return listed(1 if named is None else named), []


def _check_method(name: str, method: dict[str, Any], methods: dict[str, Any]) -> None:
    other = [key for key in (*LECTURE, "control") if key in method]
    if "exact" in method and other:
        raise ValueError(f"methods.{name} has both exact and {other[0]}; an exact gradient has no {other[0]}")
    known = schema()["properties"]["methods"]["additionalProperties"]["properties"]
    spoken = [key for key in SETTINGS if method[key] != known[key]["default"]]
    if "exact" in method and spoken:
        raise ValueError(f"methods.{name} has both exact and {spoken[0]}; an exact gradient draws no samples")
    if "exact" not in method and "shaping" not in method:
        raise ValueError(f"methods.{name} lacks shaping; a method has a shaping, or is exact alone")
    if "exact" not in method:
        method.update(DEFAULTS | method)
    resolved = Method.of({"space": "logits", **method})
    menu.path("optimizers", method["optimizer"])
    menu.path("rate_schedules", method["rate_schedule"])
    for blackbox in listed(method.get("blackbox", [])):
        menu.path("blackboxes", blackbox)
    if isinstance(resolved, ExactMethod) and not resolved.exact.USES_VARIANCE and method["schedule"] != "fixed":
        raise ValueError(
            f"methods.{name} has the rule {method['schedule']}, but {method['exact']} knows no t: it would do without"
        )
    _check_relative(name, method, methods)


def _check_relative(name: str, method: dict[str, Any], methods: dict[str, Any]) -> None:
    """The relative that a method stands beside in tables: with the same settings but for those that are to differ."""
    relative = method.get("relative")
    if relative is None:
        if "control" in method:
            raise ValueError(f"methods.{name} is a control and stands in for a method: relative: NAME says for which")
        return
    if relative not in methods:
        raise menu.unknown(f"method as the relative of methods.{name}", relative, methods)
    apart = {"relative", *(("control",) if "control" in method else ("schedule", "noise_variance"))}
    other = methods[relative]
    for key in sorted({*method, *other} - apart):
        own, theirs = ({**DEFAULTS, "blackbox": "zero_one", **each}.get(key) for each in (method, other))
        if own != theirs:
            raise ValueError(
                f"methods.{name} is {relative} but for its {' and '.join(sorted(apart - {'relative'}))}, and yet its "
                f"{key} is {own}, that of {relative} {theirs}: the same settings would do, or no relative"
            )


def _check_experiment(name: str, experiment: dict[str, Any], config: dict[str, Any]) -> None:
    for method in listed(experiment["methods"]):
        if method not in config["methods"]:
            raise menu.unknown(f"method in experiments.{name}", method, config["methods"])
    for model in listed(experiment["model"]):
        menu.path("models", model)
    for blackbox in listed(experiment.get("blackbox", [])):
        menu.path("blackboxes", blackbox)
    for job in _experiment_jobs(name, config):
        least = job.num_classes
        images = job.task.readings
        if job.logit_dim < least or (images > 1 and job.logit_dim != least):
            wanted = f"{least} exactly" if images > 1 else f"{least} or more"
            raise ValueError(
                f"experiments.{name}.logit_dim: {job.logit_dim} does not fit the {least} classes that "
                f"{job.dataset} has for {job.blackbox}: K = {wanted}"
            )
        if job.batch_size > (train := num_train(describe(job.dataset))):
            raise ValueError(
                f"experiments.{name}.batch_size: {job.batch_size} is more than the {train} training images "
                f"of {job.dataset}"
            )


def _explain(error: jsonschema.ValidationError) -> str:
    """One line for what the schema found."""
    where = ".".join(str(part) for part in error.absolute_path) or "the configuration"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        key = next(key for key in error.instance if key not in known)
        return str(menu.unknown(f"key in {where}", key, known))
    if error.validator == "required":
        return f"{where}: {error.message}"
    if error.validator == "type" and isinstance(error.instance, str) and _reads_as_number(error.instance):
        return f"{where}: YAML reads {error.instance} as text; write it with a point, as in 1.0e-3"
    wanted = error.schema.get("description") or (error.parent and error.parent.schema.get("description"))
    return f"{where}: {error.message}" + (f" ({wanted})" if wanted else "")


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole(_: Any, value: Any) -> bool:
    """JSON counts 60.0 as an integer; a path and a range do not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(_: Any, value: Any) -> bool:
    """YAML knows .nan and .inf; no key of a configuration does."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_Base = jsonschema.validators.validator_for({"$schema": "https://json-schema.org/draft/2020-12/schema"})
_Validator = jsonschema.validators.extend(
    _Base, type_checker=_Base.TYPE_CHECKER.redefine_many({"integer": _whole, "number": _finite})
)


@cache
def schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def _fill(value: Any, schema: dict[str, Any]) -> None:
    """Fill in the schema's defaults, all the way down."""
    if not isinstance(value, dict):
        return
    for key, below in schema.get("properties", {}).items():
        if "default" in below:
            value.setdefault(key, json.loads(json.dumps(below["default"])))
        if key in value:
            _fill(value[key], below)
    if isinstance(others := schema.get("additionalProperties"), dict):
        for item in value.values():
            _fill(item, others)


def listed(value: Any) -> list[Any]:
    """A single value will do for a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
