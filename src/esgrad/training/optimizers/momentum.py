"""Stochastic gradient ascent with momentum .9: v ← .9v + (g − λθ), θ ← θ + ηv; torch.optim.SGD over a stack."""

import torch
from torch import Tensor

from esgrad.training.optimizers import each_run

MOMENTUM = 0.9


def initial(parameters: list[Tensor]) -> dict[str, list[Tensor]]:
    """What is remembered between steps: the velocity."""
    return {"velocity": [torch.zeros_like(parameter) for parameter in parameters]}


def step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    rate: Tensor,
    decay: float,
    state: dict[str, list[Tensor]],
) -> None:
    """Move each parameter [R, ...] up its gradient, in place; `rate` [R], `decay` the L2 coefficient."""
    for parameter, gradient, velocity in zip(parameters, gradients, state["velocity"], strict=True):
        velocity.mul_(MOMENTUM).add_(gradient - decay * parameter)
        parameter.add_(each_run(rate, parameter) * velocity)
