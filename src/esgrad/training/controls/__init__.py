"""Controls: a gradient that shares one cause with an estimator and nothing else; beside a method, its twin.

A configuration names the twin (`relative`); the costs of a control are counted as its twin's own.
"""

from typing import Protocol

from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.types import Tensor


class Control(Protocol):
    """What a file states of its control."""

    def gradient(
        self, estimator: Estimator, logits: Tensor, targets: Tensor, variance: Tensor, normals: Tensor
    ) -> Tensor:
        """[R, B, K] in place of sampling, at logits [R, B, K], targets [R, B], t [R] or [R, B]; normals [R, B, K]."""

    def refuses(self, estimator: Estimator, facts: Facts, per_example: bool, logit_dim: int) -> str | None:
        """Why there is no such twin, or None; `per_example`: whether a position is an example's own logits."""


Contract = Control
"""What mypy holds every file of this menu to."""
