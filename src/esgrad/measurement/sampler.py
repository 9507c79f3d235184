"""What is asked together: a noise and a credit, and the shapings that are made of what was said."""

from collections.abc import Sequence
from typing import NamedTuple

from esgrad import menu
from esgrad.blackboxes import zero_one
from esgrad.credits import Credit
from esgrad.estimator import Estimator
from esgrad.facts import Facts
from esgrad.noises import Noise
from esgrad.shapings import Shaping


class Sampler(NamedTuple):
    """A noise, a credit and shapings by name, on 0/1 fitness at the logits."""

    noise: Noise
    credit: Credit
    shapings: dict[str, Shaping]

    @staticmethod
    def of(noise: str, credit: str, shapings: Sequence[str]) -> "Sampler":
        """Of these words."""
        each = {name: menu.load("shapings", name) for name in shapings}
        return Sampler(menu.load("noises", noise), menu.load("credits", credit), each)

    def serving(self, num_samples: int, dimension: int) -> "Sampler":
        """With the shapings alone that do not refuse N samples of D coordinates."""
        estimators = {
            name: Estimator(self.noise, self.credit, shaping, num_samples) for name, shaping in self.shapings.items()
        }
        facts = Facts.of(zero_one)
        kept = {name: each.shaping for name, each in estimators.items() if each.refuses(facts, dimension) is None}
        return self._replace(shapings=kept)
