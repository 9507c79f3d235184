"""Black boxes made for tests, and their gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import esgrad

COPIES = 20_000
TWO_VARIANCES = pytest.mark.parametrize("t", [0.04, 1.44])
X = torch.tensor([0.3, -0.7, 1.1])
Function = Callable[..., Any]


def made(fn: Function, **options: Any) -> Any:
    return esgrad.blackbox(fn, **{"num_samples": 8, "noise_variance": 0.25, "seed": 0} | options)


def gradients(f: Any, x: Tensor, *others: Tensor, **options: Any) -> Tensor:
    """The gradient of the sum of what is answered, at x; minus the sum is the loss."""
    x = x.detach().clone().requires_grad_()
    (-f(x, *others, **options).sum()).backward()
    assert x.grad is not None
    return -x.grad


def draws(f: Any, x: Tensor = X) -> Tensor:
    """Independent estimates [copies, ...] at x."""
    return gradients(f, x.expand(COPIES, *x.shape)).double()
