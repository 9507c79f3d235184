"""Adam (Kingma & Ba, arXiv 1412.6980), ascending, a learning rate a run; torch.optim.Adam over a stack."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, float32

from esgrad.kernels import compiled
from esgrad.training.optimizers import each_run

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
CHUNK = 2**17  # numbers at a time: what stays in the cache


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
    each = list(zip(parameters, gradients, state["mean"], state["square"], strict=True))
    if compiled.AVAILABLE and all(map(_compilable, parameters)):
        _by_numba(each, eta, decay, correction)
        return
    for parameter, gradient, mean, square in each:
        gradient = gradient - decay * parameter
        mean.lerp_(gradient, 1 - BETA1)
        square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        parameter.add_(each_run(eta, parameter) * mean / ((square / correction).sqrt() + EPSILON))


def _compilable(parameter: Tensor) -> bool:
    """Whether it can be moved where it lies."""
    return parameter.device.type == "cpu" and parameter.dtype == float32 and parameter.is_contiguous()


def _by_numba(each: Sequence[tuple[Tensor, ...]], eta: Tensor, decay: float, correction: float) -> None:
    """The same bits, compiled: small parameters all at once, of a large one some runs at a time."""
    import numpy as np

    from esgrad.kernels.compiled import adam as body

    scalars = tuple(map(np.float32, (decay, BETA2, 1 - BETA1, 1 - BETA2, correction)))
    # by numpy, whose views take a third of the time of torch's: of small parameters they would take most of the step
    kinds = [[part.detach().numpy() for part in kind] for kind in zip(*each, strict=True)]
    runs = max(1, CHUNK // max(1, sum(part[0].size for part in kinds[0])))
    for first in range(0, len(eta), runs):
        parameters, gradients, means, squares = (
            tuple(body.in_order(part[first : first + runs]) for part in kind) for kind in kinds
        )
        ends = list(accumulate((part.size for part in parameters), initial=0))
        room = torch.empty(ends[-1])
        flat = room.numpy()
        roots = tuple(
            flat[low:high].reshape(part.shape) for (low, high), part in zip(pairwise(ends), parameters, strict=True)
        )
        body.moments(parameters, gradients, means, squares, roots, *scalars)
        room.sqrt_()
        body.move(parameters, means, roots, eta[first : first + runs].numpy(), np.float32(EPSILON))
