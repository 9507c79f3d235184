"""Noise at the parameters: the d parameters are the point, the batch's mean fitness its height (arXiv 1703.03864)."""

from typing import Any

from esgrad.gradients.costs import Costs
from esgrad.gradients.facts import Facts
from esgrad.tasks.blackboxes import BlackBox
from esgrad.types import Stack, Tensor

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
        networks = points.tensor()[:, :, 0]  # [R, n, d]
        logits = self.stack.population(networks, self.images)
        return self.blackbox.fitness(logits, self.targets[:, None]).mean(-1, keepdim=True)

    def push(self, gradient: Tensor) -> list[Tensor]:
        """From a gradient [R, 1, d] to the parameters' own shapes; it is one of the batch's mean already."""
        return self.stack.unflatten(gradient[:, 0])


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
