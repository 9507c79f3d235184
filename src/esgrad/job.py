"""A job: what one process trains, with every N and t in it; what of it is skipped, and why.

A *cell* is a job × N × t, a *run* a cell × learning rate × seed.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

from esgrad import costs, menu
from esgrad.data import describe

FIRST_TUNING_SEED = 1000  # seeds from here on tune and set target levels; what is reported comes from those below
NUM_LEVEL_SEEDS = 5  # of backprop's runs that set the target levels and are never reported


@dataclass(frozen=True)
class Job:
    """What one process trains, whole: it can be written as JSON and handed to another machine."""

    experiment: str
    dataset: str
    model: str
    blackbox: str
    method: str
    logit_dim: int
    batch_size: int
    space: str
    noise: str
    shaping: str
    variance: str
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
    tuning_fraction: float
    max_widenings: int
    evaluations_per_decade: int
    draws_per_cell: float

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

    def steps(self, num_samples: int | None) -> int:
        """How long a run is: the step that reaches max_queries, max_steps at the latest."""
        queries = costs.per_step(self.space, self.exact, self.batch_size, num_samples).queries
        if self.max_queries is None or math.isnan(queries):
            return self.max_steps
        return min(self.max_steps, math.ceil(self.max_queries / queries))

    def cells(self) -> Iterator[tuple[int | None, float | None, str | None]]:
        """Every (N, t) with the reason why it is skipped, or None."""
        for num_samples, variance in product(self.num_samples, self.noise_variance):
            yield num_samples, variance, self._refusal(num_samples)

    def draws(self, num_samples: int | None) -> float:
        """Random numbers drawn for the reported runs of a cell."""
        if num_samples is None:
            return 0.0
        samples = menu.load("noises", self.noise).DRAWS_PER_SAMPLE * num_samples if self.control is None else 1.0
        return samples * math.prod(self._point()) * self.num_seeds * self.steps(num_samples)

    def _point(self) -> tuple[int, int]:
        """Positions M and coordinates D of the point that the noise surrounds."""
        facts, model = describe(self.dataset), menu.load("models", self.model)
        images, _ = menu.load("blackboxes", self.blackbox).readings(facts["num_classes"])
        channels, height, width = facts["shape"]  # of all images of an example, side by side
        num_parameters = model.num_parameters((channels, height, width // images), self.logit_dim, self.hidden_size)
        return menu.load("spaces", self.space).shape(self.batch_size, self.logit_dim * images, num_parameters)

    def _refusal(self, num_samples: int | None) -> str | None:
        blackbox = menu.load("blackboxes", self.blackbox)
        if reason := blackbox.refuses(self.dataset):
            return reason
        if reason := menu.load("variances", self.variance).refuses(
            self.space, self.exact or self.control, self.blackbox
        ):
            return reason
        if self.exact is not None:
            own = menu.load("exact", self.exact).BLACKBOX
            return (
                None if own == self.blackbox else f"{self.exact} is the exact gradient of {own}, not of {self.blackbox}"
            )
        assert num_samples is not None
        noise, shaping = menu.load("noises", self.noise), menu.load("shapings", self.shaping)
        if shaping.NEEDS_NONNEGATIVE and not blackbox.NONNEGATIVE:
            return f"{self.shaping} descends on fitness that can be negative, as {self.blackbox}'s can"
        reason = noise.refuses(num_samples, self._point()[1]) or shaping.refuses(noise, num_samples)
        if reason is None and self.control is not None:
            control = menu.load("controls", self.control)
            reason = control.refuses(self.space, self.noise, self.shaping, self.blackbox, self.logit_dim)
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
