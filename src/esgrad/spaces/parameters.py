"""Noise at the parameters: the d parameters are the point, the batch's mean fitness its height (arXiv 1703.03864)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from esgrad.costs import Costs

if TYPE_CHECKING:
    from torch import Tensor

    from esgrad.perturbation import Perturbation
    from esgrad.stack import Stack


class Space:
    """The parameters of each run as one position, [R, 1, d], and the batch that judges them."""

    def __init__(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: Callable[[Tensor, Tensor], Tensor]):
        self.stack, self.images, self.targets, self.blackbox = stack, images, targets, blackbox
        self.point = stack.flat()[:, None]  # [R, 1, d], without a gradient, as all that is made of it

    def fitness(self, noise: Perturbation) -> Tensor:
        """The mean fitness of the batch under each perturbed network, [R, N, 1]."""
        from torch import cat

        targets = self.targets[:, None]
        means = [
            self.blackbox(self.stack.population(vectors[:, :, 0], self.images), targets).mean(-1, keepdim=True)
            for vectors in noise.around(self.point)
        ]
        return cat(means, 1)

    def push(self, gradient: Tensor) -> list[Tensor]:
        """From a gradient [R, 1, d] to the parameters' own shapes; it is one of the batch's mean already."""
        return self.stack.unflatten(gradient[:, 0])


def costs(batch_size: int, num_samples: int) -> Costs:
    """Of a step: every query is a forward pass of a network of its own, and nothing goes backward."""
    queries = num_samples * batch_size
    return Costs(queries, queries, 0, batch_size)


def shape(batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
    """Positions M and coordinates D of the point."""
    return 1, num_parameters
