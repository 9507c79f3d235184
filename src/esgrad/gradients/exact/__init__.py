"""Gradients at the logits without sampling."""

from typing import NamedTuple, Protocol

from esgrad.gradients.costs import Costs
from esgrad.types import Tensor


class Exact(Protocol):
    """What a file states of its exact gradient."""

    BLACKBOX: str
    """The black box whose (smoothed) fitness it climbs."""
    USES_VARIANCE: bool
    """Whether it depends on t."""

    def value(self, logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
        """What the gradient climbs, [R, B]."""

    def gradient(self, logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
        """Per example, to be ascended, [R, B, K], at logits [R, B, K], targets [R, B], variance t [R] or [R, B]."""

    def costs(self, batch_size: int) -> Costs:
        """Of a step."""


class Arms(NamedTuple):
    """The exact gradients that estimates from a noise tend to, p the probability that the noisy logits are right."""

    p: Exact
    log_p: Exact


Contract = Exact
"""What mypy holds every file of this menu to."""
