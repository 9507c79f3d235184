"""Independent estimates by any noise and shaping, and what their means are held to: 5 standard errors."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import sqrt

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.exact import Exact
from esgrad.gradients.facts import Facts
from esgrad.gradients.fitness import Points
from esgrad.gradients.key import Key
from esgrad.kernels import streams
from esgrad.kernels.streams import Role
from esgrad.tasks.blackboxes.zero_one import fitness as zero_one

COPIES = 20_000
N = 6  # samples: even, for mirrored noise
NOISES, SHAPINGS = menu.names("noises"), menu.names("shapings")
TWO_VARIANCES = pytest.mark.parametrize("variance", [0.04, 9.0])
EACH_NOISE, EACH_SHAPING = pytest.mark.parametrize("noise", NOISES), pytest.mark.parametrize("shaping", SHAPINGS)
LOGITS = torch.tensor([[0.3, 0.1, -0.2, 0.35], [0.0, 0.0, 0.0, 0.0], [0.2, -0.1, 0.4, 0.1], [-0.1, 0.2, 0.3, 0.1]])
TARGETS = torch.tensor([3, 1, 0, 0])  # ahead, level, behind, last

Fitness = Callable[[Tensor], Tensor]


UNKNOWN = Facts("a function", binary=False, nonnegative=False, sees_classes=False)


@dataclass(frozen=True)
class Of:
    """A function of points [R, n, M, D] to [R, n, M], as a fitness of which nothing is known."""

    function: Fitness
    examples: int = 1
    facts: Facts = UNKNOWN

    def __call__(self, points: Points) -> Tensor:
        return self.function(points.tensor())


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def weights(shaping: str, fitness: Tensor) -> Tensor:
    """A shaping's weights; where it asks for the samples' square norms, they are made from the fitness."""
    return menu.load("shapings", shaping).weights(fitness, lambda: 1 + 3 * fitness.abs())


def refusal(noise: str, shaping: str, num_samples: int) -> str | None:
    drawn, shaped = menu.load("noises", noise), menu.load("shapings", shaping)
    return drawn.refuses(num_samples, 4) or shaped.refuses(drawn, num_samples)


def expectation(noise: str, shaping: str, num_samples: int, probability: float = 0.3) -> tuple[Exact, float] | None:
    return menu.load("shapings", shaping).expects(menu.load("noises", noise), probability, num_samples)


def unbiased(noise: str, shaping: str) -> bool:
    return expectation(noise, shaping, N) == (menu.load("noises", noise).EXACT.p, 1.0)


COMBINATIONS = [pair for pair in product(NOISES, SHAPINGS) if refusal(*pair, N) is None]
UNBIASED = [pair for pair in COMBINATIONS if unbiased(*pair)]
SHAPED = [pair for pair in COMBINATIONS if expectation(*pair, N) is None]


def estimates(
    noise: str,
    shaping: str,
    fitness: Fitness,
    point: Tensor,
    variance: float,
    num_samples: int = N,
    copies: int = COPIES,
    seed: int = 0,
) -> Tensor:
    """Independent estimates [copies, E, K] at the points [E, K] for a fitness of points [..., M, K], M = copies · E."""
    spread = point.repeat(copies, 1)[None]  # [1, M, K]
    estimator = Estimator.of(noise, "noise", shaping, num_samples)
    found = estimator.gradient(Of(fitness), spread, torch.tensor([variance]), Key([seed], Role.NOISE, 1)).gradient
    return found[0].unflatten(0, (copies, -1)).double()


def directions(noise: str, num_samples: int, positions: int, dimension: int, seed: int = 3) -> Tensor:
    """Directions [N, M, D] of variance 1."""

    def normals(start: int, stop: int) -> Tensor:
        return streams.normals([seed], Role.NOISE, 0, start, stop, positions, dimension)

    return menu.load("noises", noise).directions(normals, 0, num_samples)[0].double()


def hits(copies: int = COPIES, logits: Tensor = LOGITS, targets: Tensor = TARGETS) -> Fitness:
    return lambda points: zero_one(points, targets.repeat(points.shape[-2] // len(logits)))


def exact(
    noise: str, variance: float, logits: Tensor = LOGITS, targets: Tensor = TARGETS
) -> tuple[Tensor, dict[Exact, Tensor]]:
    """p [E] and the gradients [E, K] of the exact arms of a noise, in float64."""
    arms, t = menu.load("noises", noise).EXACT, torch.tensor([variance], dtype=torch.float64)
    arguments = logits[None].double(), targets[None], t
    return arms.p.value(*arguments)[0], {arm: arm.gradient(*arguments)[0] for arm in arms}


def assert_mean(draws: Tensor, expected: Tensor) -> None:
    """Hold the mean of draws [n, ...] to `expected`, component by component, within 5 SE and float32's rounding."""
    mean, error = draws.mean(0), draws.std(0) / sqrt(len(draws))
    excess = (mean - expected).abs() - 5 * error - 1e-6 * draws.abs().max()
    assert (excess <= 0).all(), f"mean {mean.tolist()}, expected {expected.tolist()}, standard error {error.tolist()}"


def differs(draws: Tensor, other: Tensor) -> bool:
    """Whether a component of the mean of draws [n, ...] lies more than 5 SE from `other`."""
    return bool(((draws.mean(0) - other).abs() > 5 * draws.std(0) / sqrt(len(draws))).any())
