"""Noise at the parameters: the d parameters are the point, the batch's mean fitness its height (arXiv 1703.03864)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from esgrad.stack import Stack

if TYPE_CHECKING:
    from esgrad.perturbation import Perturbation


class Space:
    """The parameters of each run as one position, [R, 1, d], and the batch that judges them."""

    def __init__(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: Callable[[Tensor, Tensor], Tensor]):
        self.stack, self.images, self.targets, self.blackbox = stack, images, targets, blackbox
        self.point = stack.flat()[:, None]  # [R, 1, d]

    @torch.no_grad()
    def fitness(self, noise: "Perturbation") -> Tensor:
        """The mean fitness of the batch under each perturbed network, [R, N, 1]."""
        targets = self.targets[:, None]
        means = [
            self.blackbox(self.stack.population(vectors[:, :, 0], self.images), targets).mean(-1, keepdim=True)
            for vectors in noise.around(self.point)
        ]
        return torch.cat(means, 1)

    def push(self, gradient: Tensor) -> list[Tensor]:
        """From a gradient [R, 1, d] to the parameters' own shapes; it is one of the batch's mean already."""
        return self.stack.unflatten(gradient[:, 0])
