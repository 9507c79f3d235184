"""How the learning rate follows a training."""

from typing import Protocol


class RateSchedule(Protocol):
    """What a file states of its schedule."""

    def factor(self, progress: float) -> float:
        """What the chosen rate is multiplied by, given the share of the run that is over, from 0 to below 1."""


Contract = RateSchedule
"""What mypy holds every file of this menu to."""
