"""What is planned for: a black box that judges an example by its classes, and the logits it judges, k readings of K."""

from dataclasses import dataclass

import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients.credits import Credit
from esgrad.gradients.noises import Noise
from esgrad.laws import Place, readings
from esgrad.laws.example import seen
from esgrad.tasks.blackboxes import ClassJudge

BLACKBOX = "zero_one"
"""The lecture's, where nothing is said."""
MOST_EXAMPLES = 1000
"""So many examples stand for the rest: N is then within 1/√1000 of their spread."""


@dataclass(frozen=True)
class Box:
    """A black box at examples of k readings, K logits each; their logits and gradients are D = k·K numbers."""

    judge: ClassJudge
    readings: int
    logit_dim: int

    @staticmethod
    def of(blackbox: str, readings: int, logit_dim: int) -> "Box":
        """Of equal logits; ValueError for a black box that sees more than classes, or does not judge such readings."""
        made = Box.of_logits(blackbox, readings * logit_dim)
        if (made.readings, made.logit_dim) != (readings, logit_dim):
            others = [word for word in _judges() if _shape(word, readings * logit_dim) == (readings, logit_dim)]
            would_do = [f"readings = {made.readings} with logit_dim = {made.logit_dim}"]
            would_do += [f"the black box {word}" for word in others]
            raise ValueError(
                f"{blackbox} does not judge {readings} reading{'s' if readings > 1 else ''} of {logit_dim} logits:"
                f" {' or '.join(would_do)} would do"
            )
        return made

    @staticmethod
    def of_logits(blackbox: str, dimension: int) -> "Box":
        """Of logits [B, D]; errors as above."""
        judge = menu.load("blackboxes", blackbox)
        if not judge.SEES_CLASSES:
            known = " or ".join(_judges())
            raise ValueError(f"{blackbox} sees more than classes, of which no law is known: {known} would do")
        readings, logit_dim = judge.reading_shape(dimension)
        if not readings or readings * logit_dim != dimension:
            raise ValueError(
                f"{blackbox} judges readings of {logit_dim} logits each: {dimension} do not divide into them"
            )
        return Box(judge, readings, logit_dim)

    @property
    def dimension(self) -> int:
        """D, the logits of an example."""
        return self.readings * self.logit_dim

    def has_place(self, noise: Noise, credit: Credit) -> bool:
        """Whether the moments of this noise under this credit are known."""
        return theory.has_place(noise, credit) and (self.readings == 1 or noise.INDEPENDENT)

    def place(self, noise: Noise, credit: Credit, logits: Tensor, targets: Tensor, variance: float) -> Place:
        """The place of logits [B, D] with targets [B] under noise of variance t."""
        if self.readings == 1:
            return theory.place(noise, credit, logits, targets, variance)
        each = logits.unflatten(-1, (self.readings, self.logit_dim))
        return seen(readings.moments(noise, credit, self.judge, each, targets, variance))

    def level_place(self, noise: Noise, credit: Credit, variance: float) -> Place:
        """The place of equal logits, all strings of classes alike: one example, or one for each string."""
        if self.readings == 1:
            return theory.level_place(noise, credit, self.logit_dim, variance)
        targets = self.targets().sort().values
        apart = max(1, len(targets) // MOST_EXAMPLES)  # in order, so that each is looked at in proportion
        targets = targets[apart // 2 :: apart]
        return self.place(noise, credit, torch.zeros(len(targets), self.dimension), targets, variance)

    def check(self, targets: Tensor) -> None:
        """ValueError unless some classes lead to each of the targets [B]."""
        one = self.readings == 1  # then a label is a class, of which there may be too many to write out
        known = torch.arange(self.logit_dim) if one else readings.labels(self.judge, self.readings, self.logit_dim)
        if len(wrong := targets[~torch.isin(targets, known)]):
            word = menu.name(self.judge)
            raise ValueError(f"targets of {word} lie from {known.min()} to {known.max()}, but one is {wrong[0]}")

    def targets(self) -> Tensor:
        """What every string of classes stands for, [K^k]; ValueError for more strings than can be looked at."""
        return readings.strings(self.judge, self.readings, self.logit_dim)


def _judges() -> list[str]:
    """The black boxes that see classes alone."""
    return [word for word in menu.names("blackboxes") if menu.load("blackboxes", word).SEES_CLASSES]


def _shape(word: str, dimension: int) -> tuple[int, int]:
    judge: ClassJudge = menu.load("blackboxes", word)
    return judge.reading_shape(dimension)


def drawn(count: int, most: int) -> Tensor:
    """Places of at most so many of the examples, always the same, at random: files have their classes in turn."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most].sort().values
