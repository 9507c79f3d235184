"""Examples to hold the laws to, and the project's own estimates there, drawn as training draws them."""

import math
from functools import cache
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.blackboxes.zero_one import fitness as zero_one
from esgrad.perturbation import Perturbation
from esgrad.streams import Role
from esgrad.theory import Place, has_direction, has_law, place

TWO_SIGMAS = pytest.mark.parametrize("sigma", [0.5, 3.0])
QUADRATURE = 1e-6  # what esgrad.quadrature promises, relative
PAIRS = [pair for pair in product(menu.names("noises"), menu.names("shapings")) if has_law(*pair)]
DIRECTED = [pair for pair in product(menu.names("noises"), menu.names("shapings")) if has_direction(*pair)]
TARGET = torch.tensor(0)


class Case(NamedTuple):
    """One example at a network's logits: K, N, σ, and how far the target leads the best of the others, in σ."""

    num_logits: int
    num_samples: int
    sigma: float
    lead: float
    copies: int = 10_000

    @property
    def logits(self) -> Tensor:
        """Others spread by σ, the target `lead` ahead of their best; float32 numbers, as the estimates see them."""
        generator = torch.Generator().manual_seed(self.num_logits)
        logits = self.sigma * torch.randn(self.num_logits, generator=generator)
        logits[0] = logits[1:].max() + self.lead * self.sigma
        return logits

    @property
    def place(self) -> Place:
        return place(self.logits, TARGET, self.sigma**2)


CASES = [
    Case(2, 2, 0.5, 0.0),
    Case(2, 16, 3.0, 2.0),
    Case(3, 2, 3.0, 0.4),
    Case(3, 4, 0.5, -1.5),
    Case(2, 256, 3.0, 3.5, 2_000),
    Case(3, 16, 3.0, 2.5),
    Case(3, 256, 0.5, 2.0, 2_000),
    Case(5, 2, 0.5, 0.5, 20_000),
    Case(10, 2, 3.0, -0.5),
    Case(10, 6, 0.5, -2.5, 20_000),
    Case(10, 64, 3.0, 1.0, 4_000),
    Case(100, 2, 0.5, 1.0, 5_000),
    Case(100, 16, 3.0, -0.5, 2_000),
    Case(1000, 2, 3.0, 0.5, 1_000),
    Case(1000, 32, 0.5, 2.0, 200),
]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=str)


@cache
def drawn(case: Case) -> dict[tuple[str, str], Tensor]:
    """Independent estimates [copies, K] of every pair of noise and shaping with a law, which share their noise."""
    found = {}
    point = case.logits.expand(1, case.copies, -1).contiguous()
    for noise in {noise for noise, _ in DIRECTED}:
        variance = torch.tensor([case.sigma**2])
        q = Perturbation(menu.load("noises", noise), [7], Role.NOISE, 1, case.num_samples, variance)
        targets = torch.zeros(case.copies, dtype=torch.long)
        fitness = torch.cat([zero_one(points, targets) for points in q.around(point)], 1)
        for shaping in (shaping for each, shaping in DIRECTED if each == noise):
            weights = menu.load("shapings", shaping).weights(fitness)
            found[noise, shaping] = q.weighted_sum(weights, case.num_logits)[0].double()
    return found


def assert_mean(draws: Tensor, expected: Tensor, allowed: Tensor | float = 0.0) -> None:
    """Hold the mean of draws [n, ...] to `expected` within 5 SE, float32's rounding and what else is allowed."""
    error = draws.std(0) / math.sqrt(len(draws))
    excess = (draws.mean(0) - expected).abs() - 5 * error - 1e-6 * draws.abs().amax(0) - allowed
    assert (excess <= 0).all(), f"mean {draws.mean(0)}, expected {expected}, standard error {error}"


def scattered(num_examples: int, num_logits: int, spread: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = spread * torch.randn(num_examples, num_logits, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_logits, (num_examples,), generator=generator)


def lead(gap: float, num_logits: int) -> Place:
    """Of a target `gap` σ ahead of all others, which are level, at σ = 1."""
    logits = torch.zeros(num_logits, dtype=torch.float64)
    logits[0] = gap
    return place(logits, TARGET, 1.0)
