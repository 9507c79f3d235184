"""Noise at the logits: each example of the batch is a position, its K logits the point (the lecture's hybrid).

The gradient found there is pushed on to the parameters by the chain rule, as backprop would push its own.
"""

from esgrad.gradients.costs import Costs
from esgrad.gradients.facts import Facts
from esgrad.tasks.blackboxes import BlackBox
from esgrad.types import Stack, Tensor

PER_EXAMPLE = True
TAKES_LOGITS = True


class AtLogits:
    """The logits of one batch, [R, B, D], and the chain rule behind them."""

    def __init__(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> None:
        from esgrad.gradients.fitness import PerExample

        self.targets = targets
        logits, self.pull = stack.vjp(images)
        self.point = logits.detach()  # [R, B, D]; what a black box sees has no gradient
        self.fitness = PerExample(blackbox, targets)

    def push(self, gradient: Tensor) -> list[Tensor]:
        """The chain rule: from gradients at the logits, [R, B, D] per example, to those of the batch's mean."""
        return self.pull(gradient / gradient.shape[1])


def place(stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> AtLogits:
    """The batch of images [R, B, ...] with targets [R, B] at a stack of R networks."""
    return AtLogits(stack, images, targets, blackbox)


def facts(blackbox: BlackBox) -> Facts:
    """Those of the black box."""
    return Facts.of(blackbox)


def costs(batch_size: int, num_samples: int) -> Costs:
    """Of a step: one forward pass of the batch serves all N perturbations."""
    return Costs(num_samples * batch_size, batch_size, batch_size, batch_size)


def shape(batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
    """Positions M and coordinates D of the point."""
    return batch_size, logits_per_example
