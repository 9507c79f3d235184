"""Noise at the parameters: the d parameters are the point, the batch's mean fitness its height (arXiv 1703.03864)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esgrad.gradients.costs import Costs
from esgrad.gradients.credits import Asked
from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.gradients.spaces import Perturbation
from esgrad.tasks.blackboxes import BlackBox
from esgrad.types import Stack, Tensor

if TYPE_CHECKING:
    from esgrad.gradients.directions import Source
    from esgrad.gradients.population import Judge
    from esgrad.tasks.members import Directions

PER_EXAMPLE = False
TAKES_LOGITS = False


@dataclass(frozen=True)
class Settings(Perturbation):
    """This space under a perturbation; under the usual one it is this file's own functions."""

    PER_EXAMPLE = PER_EXAMPLE
    TAKES_LOGITS = TAKES_LOGITS

    def place(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> "AtParameters":
        """The batch of images [R, B, ...] with targets [R, B], of own batches [R, directions, B, ...], at a stack."""
        return AtParameters(stack, images, targets, blackbox, self)

    def facts(self, blackbox: BlackBox) -> Facts:
        """Those of the black box's mean over the batch, which sees of the noise what the network makes of it."""
        return Facts.of(blackbox).of_mean()._replace(sees_classes=False)

    def costs(self, batch_size: int, num_samples: int) -> Costs:
        """Of a step: every query is a forward pass of a network of its own, and nothing goes backward."""
        queries = num_samples * batch_size
        return Costs(queries, queries, 0, batch_size)

    def refuses(self, noise: Noise, dimension: int) -> str | None:
        """Why a noise of d coordinates cannot be drawn with these settings, or None."""
        if self.subset * dimension < 1:
            return f"subset = {self.subset:g} of {dimension} parameters is less than one: {1 / dimension:.1g} would do"
        if self.table is not None and self.table[0] < dimension:
            return f"table_size = {self.table[0]} is less than the {dimension} parameters: a longer one would do"
        if self == Settings() or noise.PLAIN or (noise.RANK and self.subset == 1.0 and self.table is None):
            return None
        if noise.RANK:
            return "noise of low rank knows no subset and no table: mirrored would do"
        return "subset, own_batches and table_size are for independent and mirrored noise"

    def shape(self, batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
        """Positions M and coordinates D of the point."""
        return 1, num_parameters


class AtParameters:
    """The parameters of each run as one position, [R, 1, d], and the batch that judges them; its own fitness."""

    def __init__(
        self, stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox, settings: Settings | None = None
    ) -> None:
        self.stack, self.images, self.targets, self.blackbox = stack, images, targets, blackbox
        self.settings = settings or Settings()
        self.point = stack.flat()[:, None]  # [R, 1, d], without a gradient, as all that is made of it
        self.facts, self.examples = facts(blackbox), targets.shape[-1]

    @property
    def fitness(self) -> "AtParameters":
        return self

    def __call__(self, points: Any) -> Tensor:
        """The mean fitness of the batch under each perturbed network, [R, n, 1]."""
        from esgrad.tasks.members import Given

        seeds, members = points.directions.shape[:2]
        judge, _ = self._judge(seeds)
        steps = points.sigma.view(seeds, -1, 1)  # [S, G, 1]
        return judge(Given(points.directions[:, :, 0]), steps, slice(0, seeds), slice(0, members)).flatten(0, 1)

    def population(self, noise: Noise, num_samples: int, variance: Tensor, key: Key) -> Asked:
        """The same for N samples of a noise that is plain or of low rank, which are never all in memory."""
        from esgrad.gradients.directions import Full
        from esgrad.gradients.factors import LowRank
        from esgrad.gradients.population import Population
        from esgrad.kernels.noise_table import Table

        if noise.RANK is None:
            table = Table(*self.settings.table) if self.settings.table else None
            source: Source = Full(self.point.shape[-1], table, self.settings.subset)
        else:
            source = LowRank(tuple(tuple(each.shape[1:]) for each in self.stack.parameters), noise.RANK)
        groups = len(key.seeds) if variance.dim() == 1 else len(self.point)  # a σ for each coordinate is not shared
        judge, size = self._judge(groups)
        return Population(noise, num_samples, judge, size + source.numbers, self.point, variance, key, source)

    def _judge(self, seeds: int) -> tuple["Judge", int]:
        """What judges the networks around those of so many seeds, and how many numbers one of each makes."""
        from esgrad.tasks.chains import around

        members = around(self.stack, self.images, seeds, self.settings.own_batches)
        targets = self.targets.unflatten(0, (seeds, -1))  # [S, G, (directions,) B]

        def judge(directions: "Directions", steps: Tensor, of: slice, which: slice) -> Tensor:
            logits = members.logits(directions, steps, of, which)  # [s, G, n, steps, B, D]
            here = targets[of][:, :, which, None] if self.settings.own_batches else targets[of][:, :, None, None]
            return self.blackbox.fitness(logits, here).mean(-1)

        return judge, members.numbers

    def push(self, gradient: Tensor) -> list[Tensor]:
        """From a gradient [R, 1, d] to the parameters' own shapes; it is one of the batch's mean already."""
        return [each.contiguous() for each in self.stack.unflatten(gradient[:, 0])]


configured = Settings
place, facts, costs, shape = (getattr(Settings(), name) for name in ("place", "facts", "costs", "shape"))
