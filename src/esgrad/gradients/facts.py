"""What is known of a fitness before it is asked; light, as the workflow asks."""

from typing import NamedTuple

from esgrad import menu
from esgrad.tasks.blackboxes import BlackBox


class Facts(NamedTuple):
    """What estimators, credits, shapings and rules for t decide from."""

    name: str
    """What to call it in a refusal."""
    binary: bool
    """It is 0 or 1."""
    nonnegative: bool
    """It is never below 0."""
    sees_classes: bool
    """It depends on the noise only through which class is largest in each reading."""
    is_hit: bool = False
    """It is isequal(argmax(point), target) of each position, and has those `targets` [R, M]."""

    @staticmethod
    def of(blackbox: BlackBox) -> "Facts":
        """The facts of a black box that judges an example by itself."""
        stated = blackbox.BINARY, blackbox.NONNEGATIVE, blackbox.SEES_CLASSES, blackbox.IS_HIT
        return Facts(menu.name(blackbox), *stated)

    def of_mean(self) -> "Facts":
        """The facts of its mean over examples, which lies between 0 and 1 where each is one of them."""
        return self._replace(binary=False, is_hit=False)
