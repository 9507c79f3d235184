"""Any function of the parameters in the place of a network and its batch, and estimates of its gradient."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.directions import Full, Source
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.population import Population

D, SEEDS, GROUP = 30, 4, 2
CPU = torch.device("cpu")
R = SEEDS * GROUP
CENTRE = torch.linspace(-1, 1, D)
SLOPE = torch.linspace(-0.5, 2, D)
EACH_SIGMA = pytest.mark.parametrize("sigma", [0.1, 2.0])
EACH_NOISE = pytest.mark.parametrize("noise", ["independent", "mirrored"])


class Objective:
    """Any function of the parameters [..., d] in the place of a network and its batch."""

    facts = Facts("objective", False, False, False)
    examples = 1

    def __init__(self, function: Callable[[Tensor], Tensor], centre: Tensor, source: Source | None = None) -> None:
        self.function, self.centre, self.source = function, centre, source or Full(D)

    def population(self, noise: object, num_samples: int, variance: Tensor, key: Key) -> Population:
        groups = len(key.seeds) if variance.dim() == 1 else len(self.centre)
        centre = self.centre[:, 0].unflatten(0, (groups, -1))

        def judge(directions: object, steps: Tensor, seeds: slice, members: slice) -> Tensor:
            z = directions.between(0, D)[:, None, :, None]  # [s, 1, n, 1, d]
            return self.function(centre[seeds][:, :, None, None] + steps[:, :, None, :, None] * z)

        return Population(noise, num_samples, judge, D, self.centre, variance, key, self.source)


def estimates(
    function: Callable[[Tensor], Tensor],
    centre: Tensor,
    sigma: float,
    *,
    noise: str = "mirrored",
    shaping: str = "raw",
    num_samples: int = 6,
    copies: int = 400,
    learns: bool = False,
    source: Source | None = None,
    **settings: object,
) -> tuple[Tensor, Tensor | None]:
    """Independent estimates of the gradient, and of that of ln σ: [copies·S, d], from the first run of each seed."""
    parts = (
        menu.load(folder, name) for folder, name in (("noises", noise), ("credits", "noise"), ("shapings", shaping))
    )
    estimator = Estimator(*parts, num_samples, **settings)
    point = centre.expand(R, 1, D).contiguous()
    at = Objective(function, point, source)
    variance = torch.full((R, 1, D) if learns else (R,), sigma**2)
    made = [
        estimator.gradient(at, point, variance, Key(range(4, 4 + SEEDS), 2, step), learns) for step in range(copies)
    ]
    found = torch.cat([each.gradient[::GROUP, 0] for each in made])
    return found, torch.cat([each.log_sigma[::GROUP, 0] for each in made]) if learns else None


def agrees(found: Tensor, expected: Tensor) -> None:
    """Within five standard errors of the mean; rounding where there is no spread."""
    error = found.std(0) / sqrt(len(found))
    assert ((found.mean(0) - expected).abs() <= 5 * error + 1e-5).all()
