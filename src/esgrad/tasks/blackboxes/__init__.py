"""What cannot be differentiated: a fitness of logits and labels, one number an example, larger is better.

A black box that sees only which class of each reading is largest can be asked in two parts: `see` and `judge`. What
is asked so needs no noisy logits, a class will do (`credits/class_.py`).
"""

from typing import Protocol

from esgrad.types import Data, Tensor


class BlackBox(Protocol):
    """What a file states of its black box."""

    BINARY: bool
    """Its fitness is 0 or 1."""
    NONNEGATIVE: bool
    """Its fitness is never below 0."""
    SEES_CLASSES: bool
    """Its fitness depends on the classes alone: it is a `ClassJudge`."""
    IS_HIT: bool
    """Its fitness is isequal(argmax(logits), target): for that there are faster bodies."""

    def fitness(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The fitness [..., B] of logits [..., B, D] and targets [..., B]."""

    def predict(self, logits: Tensor) -> Tensor:
        """The label that logits [..., B, D] speak for, [..., B]."""

    def prepare(self, data: Data) -> Data:
        """The data as this black box's pipeline presents them."""

    def readings(self, num_classes: int) -> tuple[int, int]:
        """How many images of an example the network reads, k, and how many classes each has."""

    def refuses(self, dataset: str) -> str | None:
        """Why this data set cannot be judged, or None."""


class ClassJudge(BlackBox, Protocol):
    """A black box whose fitness depends on the class of each reading alone."""

    def reading_shape(self, dimension: int) -> tuple[int, int]:
        """Of the D logits of an example: k readings of K logits each."""

    def see(self, logits: Tensor) -> Tensor:
        """The class of each reading, int64 [..., B, k], of logits [..., B, D]."""

    def judge(self, classes: Tensor, targets: Tensor) -> Tensor:
        """Whether classes [..., B, k] are right for targets [..., B]: bool [..., B]."""

    def accepted(self, factors: Tensor, targets: Tensor) -> Tensor:
        """Σ Π_i factors[..., i, a_i] over the classes a that are right for targets [...]; factors are [..., k, K]."""


Contract = BlackBox
"""What mypy holds every file of this menu to."""
