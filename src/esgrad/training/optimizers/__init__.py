"""Update rules over stacks of runs, a learning rate a run; each is held to its torch.optim namesake by a test."""

from typing import Protocol

from esgrad.types import Tensor


class Optimizer(Protocol):
    """What a file states of its rule."""

    def initial(self, parameters: list[Tensor]) -> dict[str, list[Tensor]]:
        """What is remembered between steps."""

    def step(
        self,
        parameters: list[Tensor],
        gradients: list[Tensor],
        rate: Tensor,
        decay: float,
        state: dict[str, list[Tensor]],
    ) -> None:
        """Move each parameter [R, ...] up its gradient, in place; `rate` [R], `decay` the L2 coefficient."""


def each_run(values: Tensor, parameter: Tensor) -> Tensor:
    """A number for each run [R], as it multiplies a parameter [R, ...]."""
    return values.view(-1, *[1] * (parameter.dim() - 1))


Contract = Optimizer
"""What mypy holds every file of this menu to."""
