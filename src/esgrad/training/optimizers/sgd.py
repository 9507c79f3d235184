"""Stochastic gradient ascent, a learning rate a run: θ ← θ + η (g − λθ); torch.optim.SGD over a stack."""

from torch import Tensor

from esgrad.training.optimizers import each_run


def initial(parameters: list[Tensor]) -> dict[str, list[Tensor]]:
    """What is remembered between steps: nothing."""
    return {}


def step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    rate: Tensor,
    decay: float,
    state: dict[str, list[Tensor]],
) -> None:
    """Move each parameter [R, ...] up its gradient, in place; `rate` [R], `decay` the L2 coefficient."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.add_(each_run(rate, parameter) * (gradient - decay * parameter))
