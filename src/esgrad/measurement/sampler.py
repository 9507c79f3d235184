"""What is asked together: a noise and a credit, and the shapings that are made of what was said."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.credits import Credit
from esgrad.gradients.estimator import Estimator, of_asked, of_tally
from esgrad.gradients.facts import Facts
from esgrad.gradients.fitness import Fitness
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.gradients.shapings import CountsLaw, Shaping, has_counts_law
from esgrad.tasks.blackboxes import zero_one


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

    def estimates(
        self, num_samples: int, fitness: Fitness, point: Tensor, variance: Tensor, key: Key
    ) -> dict[str, Tensor]:
        """Every shaping's gradient [R, M, D] of 0/1 fitness, all from the same N samples; arguments as `Estimator`."""
        asked, laws = (self.noise, num_samples, fitness, point, variance, key), self.laws()
        found = {}
        if laws:
            misses = any(law.WEIGHS_MISSES for law in laws.values())
            tally = self.credit.tally(self.noise, fitness, point, variance, key, misses)
            tally.grow(num_samples, last=True)
            found = {name: of_tally(law, tally, num_samples) for name, law in laws.items()}
        if others := {name: shaping for name, shaping in self.shapings.items() if name not in laws}:
            said = self.credit.ask(*asked)
            found |= {name: of_asked(shaping, said) for name, shaping in others.items()}
        return found

    def numbers(self, dimension: int, probability: Tensor, misses: bool) -> Tensor:
        """Random numbers that a sample of K logits is counted as, for each success probability.

        All of its noise. Where plain noise is credited and a miss weighs nothing, no more than it takes until a
        competitor wins: the target's block of four and, at level logits, H_{K−1} others; a hit meets all of them, and
        once more for the sum. A rule, as what is drawn differs from body to body, and nothing published may.
        """
        whole = self.credit.draws(self.noise, 1, 1, dimension, 1)
        if misses or self.credit.OF_CLASSES or not self.noise.PLAIN:
            return torch.full_like(probability, whole)
        met = 4 + sum(1 / k for k in range(1, dimension))
        return (met + 2 * dimension * probability).clamp(max=dimension) * (whole / dimension)

    def laws(self) -> dict[str, CountsLaw]:
        """The shapings that have a law of counts."""
        return {name: shaping for name, shaping in self.shapings.items() if has_counts_law(shaping)}  # type: ignore[misc]
