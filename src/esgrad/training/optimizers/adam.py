"""Adam (Kingma & Ba, arXiv 1412.6980), ascending, a learning rate a run; torch.optim.Adam over a stack."""

import torch
from torch import Tensor, float32

from esgrad.kernels import compiled
from esgrad.training.optimizers import each_run

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
CHUNK = 2**17  # numbers at a time
LARGE = 2**16  # numbers of a tensor from which on the compiled way is faster


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
    eta, correction = rate / (1 - BETA1**steps), 1 - BETA2**steps
    for each in zip(parameters, gradients, state["mean"], state["square"], strict=True):
        large = compiled.AVAILABLE and each[0].numel() >= LARGE
        fits = large and all(part.device.type == "cpu" for part in each)
        (_by_numba if fits and each[0].dtype == float32 else _by_torch)(*each, eta, decay, correction)


def _by_torch(
    parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, eta: Tensor, decay: float, correction: float
) -> None:
    """In plain torch, on any device: the oracle."""
    gradient = gradient - decay * parameter
    mean.lerp_(gradient, 1 - BETA1)
    square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    parameter.add_(each_run(eta, parameter) * mean / ((square / correction).sqrt() + EPSILON))


def _by_numba(
    parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, eta: Tensor, decay: float, correction: float
) -> None:
    """The same bits, compiled, some runs at a time that stay in the cache."""
    import numpy as np

    from esgrad.kernels.compiled import adam as body

    scalars = tuple(map(np.float32, (decay, BETA2, 1 - BETA1, 1 - BETA2, correction)))
    flat = [part.detach().flatten(1) for part in (parameter, gradient.contiguous(), mean, square)]
    together = max(1, CHUNK // max(1, flat[0].shape[1]))
    for rows, rates in zip(
        zip(*(part.split(together) for part in flat), strict=True), eta.split(together), strict=True
    ):
        root = torch.empty_like(rows[0])
        body.moments(*(part.view(-1).numpy() for part in (*rows, root)), *scalars)
        root.sqrt_()
        body.move(*(part.numpy() for part in (rows[0], rows[2], root, rates)), np.float32(EPSILON))
