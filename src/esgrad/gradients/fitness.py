"""What judges: a fitness takes points around a place and says how good each is; larger is better."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from esgrad.gradients.facts import Facts
from esgrad.tasks.blackboxes import BlackBox, ClassJudge


class Points(NamedTuple):
    """Some of the points x + σ·z around a place, not made before they are asked for: S seeds, R = S·G runs."""

    centre: Tensor  # x [R, M, D]
    sigma: Tensor  # [R, M] or, the same everywhere, [R, 1]
    directions: Tensor  # z [S, n, M, D], shared by the runs of a seed

    def tensor(self) -> Tensor:
        """The points, [R, n, M, D]."""
        seeds = len(self.directions)
        centre, sigma = self.centre.unflatten(0, (seeds, -1)), self.sigma.unflatten(0, (seeds, -1))
        noise = sigma[:, :, None, :, None] * self.directions[:, None]  # rounded, and so is the sum: no fused operation
        return noise.add_(centre[:, :, None]).flatten(0, 1)


class Fitness(Protocol):
    """Anything that judges points."""

    @property
    def facts(self) -> Facts:
        """What it is, known before it is asked."""

    @property
    def examples(self) -> int:
        """Examples that it judges for one sample of a run: so many queries."""

    def __call__(self, points: Points) -> Tensor:
        """The fitness of each point, [R, n, M]."""


class ClassFitness(Fitness, Protocol):
    """A fitness that depends only on which class is largest in each of the readings of a position."""

    def reading_shape(self, dimension: int) -> tuple[int, int]:
        """Of the D coordinates of a position: k readings of K logits each."""

    def judge(self, classes: Tensor) -> Tensor:
        """The fitness [R, n, M] of classes, int64 [R, n, M, k]."""


@dataclass(frozen=True)
class PerExample:
    """A black box that judges each example by itself: a position is an example's logits, M = B."""

    blackbox: BlackBox
    targets: Tensor  # [R, B]

    @property
    def facts(self) -> Facts:
        return Facts.of(self.blackbox)

    @property
    def examples(self) -> int:
        return self.targets.shape[-1]

    def __call__(self, points: Points) -> Tensor:
        return self.blackbox.fitness(points.tensor(), self.targets[:, None])

    def reading_shape(self, dimension: int) -> tuple[int, int]:
        return _judge(self.blackbox).reading_shape(dimension)

    def judge(self, classes: Tensor) -> Tensor:
        return _judge(self.blackbox).judge(classes, self.targets[:, None])


@dataclass(frozen=True)
class PerBatch:
    """The mean of a black box over the examples of a batch: all their logits are one position, M = 1, D = B·K."""

    blackbox: BlackBox
    targets: Tensor  # [R, B]

    @property
    def facts(self) -> Facts:
        return Facts.of(self.blackbox).of_mean()

    @property
    def examples(self) -> int:
        return self.targets.shape[-1]

    def __call__(self, points: Points) -> Tensor:
        each = points.tensor()[:, :, 0].unflatten(-1, (self.examples, -1))  # [R, n, B, D]
        return self.blackbox.fitness(each, self.targets[:, None]).mean(-1, keepdim=True)

    def reading_shape(self, dimension: int) -> tuple[int, int]:
        readings, logits = _judge(self.blackbox).reading_shape(dimension // self.examples)
        return self.examples * readings, logits

    def judge(self, classes: Tensor) -> Tensor:
        each = classes[:, :, 0].unflatten(-1, (self.examples, -1))  # [R, n, B, k]
        right = _judge(self.blackbox).judge(each, self.targets[:, None])
        return right.to(torch.get_default_dtype()).mean(-1, keepdim=True)


def _judge(blackbox: BlackBox) -> ClassJudge:
    """The black box as one that judges classes; only for one that does (`SEES_CLASSES`)."""
    return blackbox  # type: ignore[return-value]
