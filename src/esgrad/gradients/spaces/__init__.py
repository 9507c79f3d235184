"""Where the noise enters: the point it surrounds, its fitness, and how a gradient there reaches the parameters."""

from dataclasses import dataclass
from typing import Any, Protocol

from esgrad.gradients.costs import Costs
from esgrad.gradients.facts import Facts
from esgrad.tasks.blackboxes import BlackBox
from esgrad.types import Stack, Tensor


class Place(Protocol):
    """A batch at a stack of networks, as a space sees it."""

    point: Tensor
    """[R, M, D], without a gradient."""
    targets: Tensor
    """[R, B]."""

    @property
    def fitness(self) -> Any:
        """What judges points around it (`esgrad.gradients.fitness.Fitness`)."""

    def push(self, gradient: Tensor) -> list[Tensor]:
        """From a gradient at the point [R, M, D] to one for each parameter, of the batch's mean."""


@dataclass(frozen=True)
class Perturbation:
    """How parameters are perturbed and judged, where that can be told a space."""

    subset: float = 1.0
    """The share of the parameters that a step perturbs, drawn anew in each."""
    own_batches: bool = False
    """Whether each direction is judged on a mini-batch of its own, instead of one for all of a step."""
    table: tuple[int, int] | None = None
    """Size and seed of the table that noise is taken from (`kernels.noise_table`); None: normals of their own."""


class Space(Protocol):
    """What a file states of its space."""

    PER_EXAMPLE: bool
    """Whether a position is one example's own logits."""

    TAKES_LOGITS: bool
    """Whether the point are logits, whose scale the network sets itself: elsewhere t is tuned like the rate."""

    def place(self, stack: Stack, images: Tensor, targets: Tensor, blackbox: BlackBox) -> Place:
        """The batch of images [R, B, ...] with targets [R, B] at a stack of R networks."""

    def facts(self, blackbox: BlackBox) -> Facts:
        """The facts of the fitness there."""

    def costs(self, batch_size: int, num_samples: int) -> Costs:
        """Of a step with N samples."""

    def shape(self, batch_size: int, logits_per_example: int, num_parameters: int) -> tuple[int, int]:
        """Positions M and coordinates D of the point."""


Contract = Space
"""What mypy holds every file of this menu to."""
