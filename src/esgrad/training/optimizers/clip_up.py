"""ClipUp (Toklu et al., arXiv 2008.02387, algorithm 1): steps of length η with momentum .9, the velocity below 2η.

v ← .9v + η g/‖g‖,  v ← v·min(1, 2η/‖v‖),  θ ← θ + v, norms over all parameters of a run. PGPE's companion.
"""

import torch
from torch import Tensor

from esgrad.kernels.ordered_sum import ordered_sum
from esgrad.training.optimizers import each_run
from esgrad.training.optimizers.momentum import MOMENTUM
from esgrad.training.optimizers.momentum import initial as initial

SPEED = 2.0  # the largest velocity in units of the rate


def step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    rate: Tensor,
    decay: float,
    state: dict[str, list[Tensor]],
) -> None:
    """Move each parameter [R, ...] up its gradient, in place; `rate` [R], `decay` the L2 coefficient."""
    climbed = [gradient - decay * parameter for gradient, parameter in zip(gradients, parameters, strict=True)]
    length = _norm(climbed)
    scale = torch.where(length > 0, rate / length, torch.zeros_like(rate))
    for velocity, each in zip(state["velocity"], climbed, strict=True):
        velocity.mul_(MOMENTUM).add_(each_run(scale, each) * each)
    speed = _norm(state["velocity"])
    slower = torch.where(speed > SPEED * rate, SPEED * rate / speed, torch.ones_like(rate))
    for parameter, velocity in zip(parameters, state["velocity"], strict=True):
        velocity.mul_(each_run(slower, velocity))
        parameter.add_(velocity)


def _norm(parts: list[Tensor]) -> Tensor:
    """Of each run, [R]; squares of float32 are finite, and not 0, in float64 alone."""
    squares = torch.cat([part.reshape(len(part), -1).double().square() for part in parts], 1)
    return ordered_sum(squares, 1)[:, 0].sqrt().to(parts[0].dtype)
