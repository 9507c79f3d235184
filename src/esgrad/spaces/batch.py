"""One fitness per batch: noise at the logits, but all B·K of them are one position, judged by the batch's mean.

Credit is not given to examples: what the lecture's estimate becomes where only a batch's accuracy is known.
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
    """The logits of one batch as one position, [R, 1, B·D], and the graph behind them."""

    def __init__(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: Callable[[Tensor, Tensor], Tensor]):
        self.stack, self.targets, self.blackbox = stack, targets, blackbox
        self.logits = stack(images)  # [R, B, D]
        self.point = self.logits.detach().flatten(1)[:, None]

    def fitness(self, noise: Perturbation) -> Tensor:
        """The mean fitness of the batch under each perturbation, [R, N, 1]."""
        from torch import cat

        targets = self.targets[:, None]
        batch = self.logits.shape[1:]
        return cat(
            [
                self.blackbox(points[:, :, 0].unflatten(-1, batch), targets).mean(-1, keepdim=True)
                for points in noise.around(self.point)
            ],
            1,
        )

    def push(self, gradient: Tensor) -> list[Tensor]:
        """The chain rule from a gradient [R, 1, B·D]; it is one of the batch's mean already."""
        return self.stack.chain(self.logits, gradient.view_as(self.logits))


def costs(batch_size: int, num_samples: int) -> Costs:
    """Of a step: every perturbed example is judged, one forward pass of the batch serves all N perturbations."""
    return Costs(num_samples * batch_size, batch_size, batch_size, batch_size)


def shape(batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
    """Positions M and coordinates D of the point."""
    return 1, batch_size * logits_per_example
