"""A job: what one process trains, with every N and t in it; what of it is skipped, and why.

A *cell* is a job × N × t, a *run* a cell × learning rate × seed.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import product
from typing import Any

from esgrad import menu
from esgrad.gradients.spaces import Perturbation
from esgrad.tasks.task import Task
from esgrad.training.method import Method
from esgrad.training.optimizers import Optimizer
from esgrad.training.rate_schedules import RateSchedule

FIRST_TUNING_SEED = 1000  # seeds from here on tune and set target levels; what is reported comes from those below
NUM_LEVEL_SEEDS = 5  # of backprop's runs that set the target levels and are never reported


@dataclass(frozen=True)
class Job:
    """What one process trains, in words: it can be written as JSON and handed to another machine."""

    experiment: str
    dataset: str
    model: str
    blackbox: str
    method: str
    relative: str | None
    logit_dim: int
    batch_size: int
    space: str
    noise: str
    credit: str
    shaping: str
    schedule: str
    exact: str | None
    control: str | None
    optimizer: str
    weight_decay: float
    hidden_size: int
    num_classes: int
    num_samples: tuple[int | None, ...]
    noise_variance: tuple[float | None, ...]
    num_seeds: int
    max_steps: int
    max_queries: int | None
    learning_rates: tuple[float, ...]
    num_tuning_seeds: int
    variance_candidates: tuple[float, ...]
    max_widenings: int
    evaluations_per_decade: int
    draws_per_cell: float
    rate_schedule: str = "constant"
    break_ties: bool = False
    sigma_power: int = -1
    subset: float = Perturbation.subset
    own_batches: bool = Perturbation.own_batches
    table_size: int | None = None
    table_seed: int = 0

    @cached_property
    def task(self) -> Task:
        """What is learnt, resolved."""
        return Task.of(self.dataset, self.model, self.blackbox, self.logit_dim, self.batch_size, self.hidden_size)

    @cached_property
    def resolved_method(self) -> Method:
        """What follows from the words of its method: what is climbed, and what it costs."""
        return Method.of(asdict(self))

    @cached_property
    def rule_of_steps(self) -> Optimizer:
        """How parameters follow the gradient, resolved."""
        return menu.load("optimizers", self.optimizer)

    @cached_property
    def rates(self) -> RateSchedule:
        """How the learning rate follows the run, resolved."""
        return menu.load("rate_schedules", self.rate_schedule)

    @property
    def path(self) -> str:
        """Where its records lie, below results/<name>/runs/; no two jobs of a configuration share it."""
        dims = f"logit_dim={self.logit_dim}/batch_size={self.batch_size}"
        return "/".join([self.experiment, self.dataset, self.model, self.blackbox, self.method, dims])

    @property
    def seeds(self) -> list[int]:
        """The reported seeds, and for backprop those that set the target levels."""
        levels = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + NUM_LEVEL_SEEDS)
        return [*range(self.num_seeds), *(levels if self.exact == "backprop" else ())]

    @property
    def tuning_seeds(self) -> list[int]:
        """The seeds that choose the learning rate."""
        return [FIRST_TUNING_SEED + number for number in range(self.num_tuning_seeds)]

    @property
    def tuning_runs(self) -> int:
        """Runs that choose the rate of one cell, and t where it is tuned, without those of a widened grid."""
        return len(self.learning_rates) * max(1, len(self.variance_candidates)) * self.num_tuning_seeds

    def steps(self, num_samples: int | None) -> int:
        """How long a run is: the step that reaches max_queries, max_steps at the latest."""
        queries = self.resolved_method.costs(self.batch_size, num_samples).queries
        if self.max_queries is None or math.isnan(queries):
            return self.max_steps
        return min(self.max_steps, math.ceil(self.max_queries / queries))

    def cells(self) -> Iterator[tuple[int | None, float | None, str | None]]:
        """Every (N, t) with the reason why it is skipped, or None."""
        for num_samples, variance in product(self.num_samples, self.noise_variance):
            yield num_samples, variance, self._refusal(num_samples)

    def draws(self, num_samples: int | None) -> float:
        """Random numbers drawn for the reported runs of a cell."""
        return self.resolved_method.draws(self.task, num_samples) * self.num_seeds * self.steps(num_samples)

    def _refusal(self, num_samples: int | None) -> str | None:
        reason = self.resolved_method.refuses(self.task, num_samples)
        if reason is None and (draws := self.draws(num_samples)) > self.draws_per_cell:
            return f"{draws:.2g} draws are more than draws_per_cell = {self.draws_per_cell:.2g}"
        return reason

    def json(self) -> str:
        """The job as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "Job":
        """The job that `json` wrote; ValueError for anything else."""
        try:
            loaded = json.loads(text)
            if not isinstance(loaded, dict):
                raise TypeError(f"a {type(loaded).__name__}, not an object")
            whole: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in loaded.items()
            }
            return Job(**whole)
        except (TypeError, json.JSONDecodeError) as error:
            known = ", ".join(field.name for field in fields(Job))
            raise ValueError(f"not a job in JSON ({error}); its keys are {known}") from None
