"""One fitness per batch: noise at the logits, but all B·K of them are one position, judged by the batch's mean.

Credit is not given to examples: what the lecture's estimate becomes where only a batch's accuracy is known.
"""

from esgrad.gradients.costs import Costs
from esgrad.gradients.facts import Facts
from esgrad.tasks.blackboxes import BlackBox
from esgrad.types import Stack, Tensor

PER_EXAMPLE = False
TAKES_LOGITS = True


class AtBatch:
    """The logits of one batch as one position, [R, 1, B·D], and the chain rule behind them."""

    def __init__(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> None:
        from esgrad.gradients.fitness import PerBatch

        self.targets = targets
        logits, self.pull = stack.vjp(images)  # [R, B, D]
        self.shape, self.point = logits.shape, logits.detach().flatten(1)[:, None]
        self.fitness = PerBatch(blackbox, targets)

    def push(self, gradient: Tensor) -> list[Tensor]:
        """The chain rule from a gradient [R, 1, B·D]; it is one of the batch's mean already."""
        return self.pull(gradient.view(self.shape))


def place(stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> AtBatch:
    """The batch of images [R, B, ...] with targets [R, B] at a stack of R networks."""
    return AtBatch(stack, images, targets, blackbox)


def facts(blackbox: BlackBox) -> Facts:
    """Those of the black box's mean over the batch."""
    return Facts.of(blackbox).of_mean()


def costs(batch_size: int, num_samples: int) -> Costs:
    """Of a step: every perturbed example is judged, one forward pass of the batch serves all N perturbations."""
    return Costs(num_samples * batch_size, batch_size, batch_size, batch_size)


def shape(batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
    """Positions M and coordinates D of the point."""
    return 1, batch_size * logits_per_example
