"""What is to be learnt: a data set, a network and a black box that judges; light, as the workflow asks."""

from dataclasses import dataclass
from functools import cached_property

from esgrad import menu
from esgrad.tasks.blackboxes import BlackBox
from esgrad.tasks.data import describe
from esgrad.tasks.models import Model


@dataclass(frozen=True)
class Task:
    """A task, resolved from its words."""

    dataset: str
    network: Model
    blackbox: BlackBox
    logit_dim: int
    batch_size: int
    hidden_size: int

    @staticmethod
    def of(dataset: str, model: str, blackbox: str, logit_dim: int, batch_size: int, hidden_size: int) -> "Task":
        """The task of these words; ValueError, with the nearest known one, for a word nobody knows."""
        network, judge = menu.load("models", model), menu.load("blackboxes", blackbox)
        return Task(dataset, network, judge, logit_dim, batch_size, hidden_size)

    @cached_property
    def readings(self) -> int:
        """Images of an example that the network reads one by one."""
        return self.blackbox.readings(describe(self.dataset)["num_classes"])[0]

    @cached_property
    def num_parameters(self) -> int:
        """d, of the network."""
        channels, height, width = describe(self.dataset)["shape"]  # of all images of an example, side by side
        shape = (channels, height, width // self.readings)
        return self.network.num_parameters(shape, self.logit_dim, self.hidden_size)

    @property
    def logits_per_example(self) -> int:
        """K for each reading."""
        return self.logit_dim * self.readings

    def refuses(self) -> str | None:
        """Why the black box cannot judge this data set, or None."""
        return self.blackbox.refuses(self.dataset)
