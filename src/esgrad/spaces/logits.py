"""Noise at the logits: each example of the batch is a position, its K logits the point (the lecture's hybrid).

The gradient found there is pushed on to the parameters by the chain rule, as backprop would push its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from esgrad.costs import Costs

if TYPE_CHECKING:
    from torch import Tensor

    from esgrad.perturbation import Perturbation
    from esgrad.stack import Stack


class Space:
    """The logits of one batch, [R, B, D], and the graph behind them."""

    def __init__(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: Callable[[Tensor, Tensor], Tensor]):
        self.stack, self.targets, self.blackbox = stack, targets, blackbox
        self.logits = stack(images)
        self.point = self.logits.detach()  # [R, B, D]; what a black box sees has no gradient

    def fitness(self, noise: Perturbation) -> Tensor:
        """What the black box says of each perturbed example, [R, N, B]."""
        from torch import cat

        targets = self.targets[:, None]
        return cat([self.blackbox(points, targets) for points in noise.around(self.point)], 1)

    def push(self, gradient: Tensor) -> list[Tensor]:
        """The chain rule: from gradients at the logits, [R, B, D] per example, to those of the batch's mean."""
        return self.stack.chain(self.logits, gradient / gradient.shape[1])


def costs(batch_size: int, num_samples: int) -> Costs:
    """Of a step: one forward pass of the batch serves all N perturbations."""
    return Costs(num_samples * batch_size, batch_size, batch_size, batch_size)


def shape(batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
    """Positions M and coordinates D of the point."""
    return batch_size, logits_per_example
