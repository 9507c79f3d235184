"""Adam (Kingma & Ba, arXiv 1412.6980), ascending, a learning rate a run; torch.optim.Adam over a stack."""

import torch
from torch import Tensor

from esgrad.training.optimizers import each_run

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def initial(parameters: list[Tensor]) -> dict[str, list[Tensor]]:
    """What is remembered between steps: both moments of the gradient and the number of steps."""
    return {
        "mean": [torch.zeros_like(parameter) for parameter in parameters],
        "square": [torch.zeros_like(parameter) for parameter in parameters],
        "steps": [torch.zeros(())],
    }


def step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    rate: Tensor,
    decay: float,
    state: dict[str, list[Tensor]],
) -> None:
    """Move each parameter [R, ...] up its gradient, in place; `rate` [R], `decay` the L2 coefficient."""
    steps = int(state["steps"][0].add_(1))
    correction1, correction2 = 1 - BETA1**steps, 1 - BETA2**steps
    for parameter, gradient, mean, square in zip(parameters, gradients, state["mean"], state["square"], strict=True):
        gradient = gradient - decay * parameter
        mean.lerp_(gradient, 1 - BETA1)
        square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        eta = each_run(rate, parameter) / correction1
        parameter.add_(eta * mean / ((square / correction2).sqrt() + EPSILON))
