"""A method: what a training climbs. An exact gradient, an estimator at a space, or a control in its place.

Resolved once from the words of a configuration; from there on modules are passed around and not names. All here is
light: the workflow asks what is refused and what it costs before torch is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from esgrad import menu
from esgrad.gradients.costs import Costs
from esgrad.gradients.estimator import Estimate, Estimator
from esgrad.gradients.exact import Exact
from esgrad.gradients.key import Key, too_many
from esgrad.gradients.schedules import Rule
from esgrad.gradients.spaces import Perturbation, Place, Space
from esgrad.tasks.task import Task
from esgrad.training.controls import Control
from esgrad.types import Tensor

SETTINGS = ("break_ties", "sigma_power", "subset", "own_batches", "table_size", "table_seed")
"""Further words of a method that samples; those that are left out have their defaults."""
MENUS = {
    "space": "spaces",
    "noise": "noises",
    "credit": "credits",
    "shaping": "shapings",
    "exact": "exact",
    "control": "controls",
    "schedule": "schedules",
}
"""The words of a method, and the menus they stand on."""
LECTURE = {"space": "logits", "noise": "independent", "credit": "noise", "shaping": "raw"}
"""The lecture's method in words."""


@dataclass(frozen=True)
class Method:
    """What all methods have: where their gradient lives, and the rule for t."""

    space: Space
    rule: Rule

    @staticmethod
    def of(words: Mapping[str, Any]) -> "Method":
        """The method of some words (`MENUS`; others are passed over); ValueError for an unknown word."""
        found: dict[str, Any] = {key: menu.load(MENUS[key], words[key]) for key in MENUS if words.get(key)}
        space, rule = found["space"], found["schedule"]
        if "exact" in found:
            return ExactMethod(space, rule, found["exact"])
        parts = (found["noise"], found["credit"], found["shaping"])
        space = _configured(space, words)
        own = {key: words[key] for key in ("break_ties", "sigma_power") if key in words}
        if "control" in found:
            return ControlledMethod(space, rule, *parts, **own, control=found["control"])
        return SampledMethod(space, rule, *parts, **own)

    def refuses(self, task: Task, num_samples: int | None) -> str | None:
        """Why it cannot be trained on a task with N samples, or None."""
        samples = type(self) is SampledMethod
        facts = self.space.facts(task.blackbox)
        return task.refuses() or self.rule.refuses(facts, self.space, samples)

    def costs(self, batch_size: int, num_samples: int | None) -> Costs:
        """Of a step of one run."""
        raise NotImplementedError

    def draws(self, task: Task, num_samples: int | None) -> float:
        """Random numbers drawn for a step of one run."""
        raise NotImplementedError

    def batches(self, num_samples: int | None) -> int | None:
        """Mini-batches of a step, where it has more than the one that all share; else None."""
        return None

    def direction(self, at: Place, num_samples: int | None, variance: Tensor, key: Key) -> Estimate:
        """What to ascend at a place under noise of variance t, [R], [R, M] or [R, M, D]."""
        raise NotImplementedError

    def expects(self, at: Place, num_samples: int | None, variance: Tensor) -> Tensor | None:
        """The mean of the direction [R, M, D] where it is known exactly, else None."""
        return None


@dataclass(frozen=True)
class ExactMethod(Method):
    """An exact gradient at the logits; nothing is drawn."""

    exact: Exact

    def refuses(self, task: Task, num_samples: int | None) -> str | None:
        own, other = self.exact.BLACKBOX, menu.name(task.blackbox)
        reason = super().refuses(task, num_samples)
        if reason or own == other:
            return reason
        return f"{menu.name(self.exact)} is the exact gradient of {own}, not of {other}"

    def costs(self, batch_size: int, num_samples: int | None) -> Costs:
        return self.exact.costs(batch_size)

    def draws(self, task: Task, num_samples: int | None) -> float:
        return 0.0

    def direction(self, at: Place, num_samples: int | None, variance: Tensor, key: Key) -> Estimate:
        gradient = self.exact.gradient(at.point, at.targets, variance)
        return Estimate(gradient, gradient.new_full((len(gradient),), float("nan")), at.targets.shape[-1])

    def expects(self, at: Place, num_samples: int | None, variance: Tensor) -> Tensor | None:
        return self.exact.gradient(at.point, at.targets, variance)


@dataclass(frozen=True)
class SampledMethod(Method):
    """An estimator at a space."""

    noise: Any
    credit: Any
    shaping: Any
    break_ties: bool = False
    sigma_power: int = -1

    def estimator(self, num_samples: int | None) -> Estimator:
        """With N samples."""
        assert num_samples is not None
        parts = self.noise, self.credit, self.shaping
        return Estimator(*parts, num_samples, self.break_ties, self.sigma_power)

    def refuses(self, task: Task, num_samples: int | None) -> str | None:
        facts, (_, dimension) = self.space.facts(task.blackbox), self._shape(task)
        estimator = self.estimator(num_samples)
        if self.rule.LEARNS and not self.noise.PLAIN:
            return f"{menu.name(self.rule)} learns σ from plain noise: independent or mirrored would do"
        own = self.space.refuses(self.noise, dimension) if hasattr(self.space, "refuses") else None
        own = own or too_many(estimator.num_samples) or super().refuses(task, num_samples)
        return own or estimator.refuses(facts, dimension)

    def batches(self, num_samples: int | None) -> int | None:
        """Mini-batches of a step, where each direction has its own; else None."""
        if not getattr(self.space, "own_batches", False):
            return None
        return self.estimator(num_samples).num_samples // (2 if self.noise.PAIRS else 1)

    def costs(self, batch_size: int, num_samples: int | None) -> Costs:
        costs = self.space.costs(batch_size, self.estimator(num_samples).num_samples)
        return costs._replace(examples=costs.examples * (self.batches(num_samples) or 1))

    def draws(self, task: Task, num_samples: int | None) -> float:
        positions, dimension = self._shape(task)
        readings = dimension // task.logit_dim if self.space.TAKES_LOGITS else 1
        return self.credit.draws(self.noise, self.estimator(num_samples).num_samples, positions, dimension, readings)

    def direction(self, at: Place, num_samples: int | None, variance: Tensor, key: Key) -> Estimate:
        return self.estimator(num_samples).gradient(at.fitness, at.point, variance, key, self.rule.LEARNS)

    def expects(self, at: Place, num_samples: int | None, variance: Tensor) -> Tensor | None:
        if not self.space.PER_EXAMPLE or at.fitness.facts.name != self.noise.EXACT.p.BLACKBOX:
            return None
        return self.estimator(num_samples).expects(at.point, at.targets, variance)

    def _shape(self, task: Task) -> tuple[int, int]:
        return self.space.shape(task.batch_size, task.logits_per_example, task.num_parameters)


@dataclass(frozen=True, kw_only=True)
class ControlledMethod(SampledMethod):
    """A control in the place of an estimator, which it shares one cause with."""

    control: Control

    def refuses(self, task: Task, num_samples: int | None) -> str | None:
        estimator, facts = self.estimator(num_samples), self.space.facts(task.blackbox)
        own = self.control.refuses(estimator, facts, self.space.PER_EXAMPLE, task.logit_dim)
        return super().refuses(task, num_samples) or own

    def draws(self, task: Task, num_samples: int | None) -> float:
        return float(prod(self._shape(task)))

    def direction(self, at: Place, num_samples: int | None, variance: Tensor, key: Key) -> Estimate:
        """Its random numbers are those of the sample after the estimator's own."""
        from esgrad.kernels import streams

        estimator, (runs, positions, dimension) = self.estimator(num_samples), at.point.shape
        after = estimator.num_samples
        size, device = (after, after + 1, positions, dimension), at.point.device
        drawn = streams.normals(key.seeds, key.role, key.step, *size, offset=key.offset, device=device)[:, 0]
        drawn = drawn.repeat_interleave(runs // len(key.seeds), 0)  # [R, M, D]
        gradient = self.control.gradient(estimator, at.point, at.targets, variance, drawn)
        nothing = gradient.new_full((runs,), float("nan"))
        return Estimate(gradient, nothing, estimator.num_samples * at.targets.shape[-1])

    def expects(self, at: Place, num_samples: int | None, variance: Tensor) -> Tensor | None:
        return None


def _configured(space: Any, words: Mapping[str, Any]) -> Any:
    """A space with the settings that some words give it; ValueError for one that it does not have."""
    settings = {key: words[key] for key in ("subset", "own_batches") if key in words}
    if words.get("table_size") is not None:
        settings["table"] = (words["table_size"], words.get("table_seed", 0))
    if Perturbation(**settings) == Perturbation():
        return space
    if not hasattr(space, "configured"):
        raise ValueError(f"{', '.join(settings)}: these are of noise at the parameters, not at the {menu.name(space)}")
    return space.configured(**settings)
