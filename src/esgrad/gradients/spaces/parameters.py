"""Noise at the parameters: the d parameters are the point, the batch's mean fitness its height (arXiv 1703.03864)."""

from typing import TYPE_CHECKING, Any

from esgrad.gradients.costs import Costs
from esgrad.gradients.credits import Asked
from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.tasks.blackboxes import BlackBox
from esgrad.types import Stack, Tensor

if TYPE_CHECKING:
    from esgrad.gradients.population import Judge
    from esgrad.tasks.members import Directions

PER_EXAMPLE = False
TAKES_LOGITS = False


class AtParameters:
    """The parameters of each run as one position, [R, 1, d], and the batch that judges them; its own fitness."""

    def __init__(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> None:
        self.stack, self.images, self.targets, self.blackbox = stack, images, targets, blackbox
        self.point = stack.flat()[:, None]  # [R, 1, d], without a gradient, as all that is made of it
        self.facts, self.examples = facts(blackbox), targets.shape[-1]

    @property
    def fitness(self) -> "AtParameters":
        return self

    def __call__(self, points: Any) -> Tensor:
        """The mean fitness of the batch under each perturbed network, [R, n, 1]."""
        from esgrad.tasks.members import Given

        seeds = len(points.directions)
        judge, _ = self._judge(seeds)
        steps = points.sigma.view(seeds, -1, 1)  # [S, G, 1]
        return judge(Given(points.directions[:, :, 0]), steps, slice(0, seeds)).flatten(0, 1)

    def ask(self, noise: Noise, num_samples: int, variance: Tensor, key: Key) -> Asked:
        """The same for N samples of a plain noise, which are never all in memory."""
        from esgrad.gradients.population import Population

        return Population(noise, num_samples, *self._judge(len(key.seeds)), self.point, variance, key)

    def _judge(self, seeds: int) -> tuple["Judge", int]:
        """What judges the networks around those of so many seeds, and how many numbers one of each takes."""
        from esgrad.tasks.members import around

        members, targets = around(self.stack, self.images, seeds), self.targets.view(seeds, -1, self.examples)

        def judge(directions: "Directions", steps: Tensor, of: slice) -> Tensor:
            logits = members.logits(directions, steps, of)  # [s, G, n, steps, B, D]
            return self.blackbox.fitness(logits, targets[of][:, :, None, None]).mean(-1)

        return judge, members.numbers

    def push(self, gradient: Tensor) -> list[Tensor]:
        """From a gradient [R, 1, d] to the parameters' own shapes; it is one of the batch's mean already."""
        return [each.contiguous() for each in self.stack.unflatten(gradient[:, 0])]


def place(stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> AtParameters:
    """The batch of images [R, B, ...] with targets [R, B] at a stack of R networks."""
    return AtParameters(stack, images, targets, blackbox)


def facts(blackbox: BlackBox) -> Facts:
    """Those of the black box's mean over the batch, which sees of the noise what the network makes of it."""
    return Facts.of(blackbox).of_mean()._replace(sees_classes=False)


def costs(batch_size: int, num_samples: int) -> Costs:
    """Of a step: every query is a forward pass of a network of its own, and nothing goes backward."""
    queries = num_samples * batch_size
    return Costs(queries, queries, 0, batch_size)


def shape(batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
    """Positions M and coordinates D of the point."""
    return 1, num_parameters
