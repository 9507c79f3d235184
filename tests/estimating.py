"""Independent estimates by any noise and shaping, and what their means are held to: 5 standard errors."""

from collections.abc import Callable
from itertools import product
from math import sqrt

import pytest
import torch
from torch import Tensor

from esgrad import menu, streams
from esgrad.blackboxes.zero_one import fitness as zero_one
from esgrad.perturbation import Perturbation
from esgrad.streams import Role

COPIES = 20_000
N = 6  # samples: even, for mirrored noise
NOISES, SHAPINGS = menu.names("noises"), menu.names("shapings")
TWO_VARIANCES = pytest.mark.parametrize("variance", [0.04, 9.0])
EACH_NOISE, EACH_SHAPING = pytest.mark.parametrize("noise", NOISES), pytest.mark.parametrize("shaping", SHAPINGS)
LOGITS = torch.tensor([[0.3, 0.1, -0.2, 0.35], [0.0, 0.0, 0.0, 0.0], [0.2, -0.1, 0.4, 0.1], [-0.1, 0.2, 0.3, 0.1]])
TARGETS = torch.tensor([3, 1, 0, 0])  # ahead, level, behind, last

Fitness = Callable[[Tensor], Tensor]


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def weights(shaping: str, fitness: Tensor) -> Tensor:
    """A shaping's weights; where it asks for the samples' square norms, they are made from the fitness."""
    module = menu.load("shapings", shaping)
    return module.weights(fitness, 1 + 3 * fitness.abs()) if module.NEEDS_NORMS else module.weights(fitness)


def refusal(noise: str, shaping: str, num_samples: int) -> str | None:
    drawn, shaped = menu.load("noises", noise), menu.load("shapings", shaping)
    return drawn.refuses(num_samples, 4) or shaped.refuses(drawn, num_samples)


def expectation(noise: str, shaping: str, num_samples: int, probability: float = 0.3) -> tuple[str, float] | None:
    return menu.load("shapings", shaping).expects(menu.load("noises", noise), probability, num_samples)


def unbiased(noise: str, shaping: str) -> bool:
    return expectation(noise, shaping, N) == (menu.load("noises", noise).EXACT["p"], 1.0)


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
    t = torch.tensor([variance])
    q = Perturbation(menu.load("noises", noise), [seed], Role.NOISE, 1, num_samples, t)
    judged = torch.cat([fitness(points) for points in q.around(spread)], 1)  # [1, N, M]
    found = q.gradient(menu.load("shapings", shaping), judged, point.shape[1])[0]
    return found.unflatten(0, (copies, -1)).double()


def directions(noise: str, num_samples: int, positions: int, dimension: int, seed: int = 3) -> Tensor:
    """Directions [N, M, D] of variance 1."""

    def normals(start: int, stop: int) -> Tensor:
        return streams.normals([seed], Role.NOISE, 0, start, stop, positions, dimension)

    return menu.load("noises", noise).directions(normals, 0, num_samples)[0].double()


def hits(copies: int = COPIES, logits: Tensor = LOGITS, targets: Tensor = TARGETS) -> Fitness:
    return lambda points: zero_one(points, targets.repeat(points.shape[-2] // len(logits)))


def exact(
    noise: str, variance: float, logits: Tensor = LOGITS, targets: Tensor = TARGETS
) -> tuple[Tensor, dict[str, Tensor]]:
    """p [E] and the gradients [E, K] of the exact arms of a noise, in float64."""
    of, t = menu.load("noises", noise).EXACT, torch.tensor([variance], dtype=torch.float64)
    arms = {name: menu.load("exact", name) for name in of.values()}
    arguments = logits[None].double(), targets[None], t
    return arms[of["p"]].value(*arguments)[0], {name: arm.gradient(*arguments)[0] for name, arm in arms.items()}


def assert_mean(draws: Tensor, expected: Tensor) -> None:
    """Hold the mean of draws [n, ...] to `expected`, component by component, within 5 SE and float32's rounding."""
    mean, error = draws.mean(0), draws.std(0) / sqrt(len(draws))
    excess = (mean - expected).abs() - 5 * error - 1e-6 * draws.abs().max()
    assert (excess <= 0).all(), f"mean {mean.tolist()}, expected {expected.tolist()}, standard error {error.tolist()}"


def differs(draws: Tensor, other: Tensor) -> bool:
    """Whether a component of the mean of draws [n, ...] lies more than 5 SE from `other`."""
    return bool(((draws.mean(0) - other).abs() > 5 * draws.std(0) / sqrt(len(draws))).any())
