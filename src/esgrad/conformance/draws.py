"""Many independent estimates at a few known places, and the exact gradients there."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from esgrad.gradients.at_logits import exact_gradient

Gradient = Callable[..., Tensor]
"""fn(logits [B, K], targets [B], *, num_samples, noise_variance, seed) -> [B, K]."""

LOGITS = torch.tensor([[0.3, 0.1, -0.2, 1.0], [0.0, 0.0, 0.0, 0.0], [-0.1, 0.8, 0.0, 0.1]])
TARGETS = torch.tensor([3, 1, 0])  # ahead, level, behind
VARIANCES = (0.25, 2.25)
NUM_SAMPLES = 6  # other than K, so that neither passes for the other
STANDARD_ERRORS = 5.0


@dataclass(frozen=True)
class Draws:
    """Estimates at each of the places, at one t."""

    variance: float
    estimates: Tensor  # float64 [copies, E, K]
    probability: Tensor  # float64 [E]
    gradient: Tensor  # ∇p, float64 [E, K]
    log_gradient: Tensor  # ∇log p

    @property
    def mean(self) -> Tensor:
        """[E, K]."""
        return self.estimates.mean(0)

    @property
    def error(self) -> Tensor:
        """The standard error of the mean, [E, K]."""
        return self.estimates.std(0) / sqrt(len(self.estimates))

    @property
    def total_variance(self) -> Tensor:
        """tr Var of one estimate, [E]."""
        return self.estimates.var(0).sum(-1)

    @property
    def variance_error(self) -> Tensor:
        """The standard error of `total_variance`, [E]."""
        squares = (self.estimates - self.mean).square().sum(-1)  # [copies, E]
        return squares.std(0) / sqrt(len(squares))

    def agrees(self, expected: Tensor, factor: float = 1.0) -> bool:
        """Whether the mean lies within 5 standard errors of `factor` times what was expected, in every component."""
        return bool(((self.mean - factor * expected).abs() <= STANDARD_ERRORS * self.error + 1e-6).all())

    def factor(self, expected: Tensor) -> float:
        """The factor that brings what was expected nearest to the mean."""
        return float((self.mean * expected).sum() / expected.square().sum())


def ask(gradient: Gradient, variance: float, copies: int) -> Draws:
    """So many estimates by the gradient at each place; ValueError if they are no [B, K] of finite numbers."""
    if copies < 100:
        raise ValueError(f"copies is {copies}: from fewer than 100 estimates nothing can be told")
    logits, targets = LOGITS.repeat(copies, 1), TARGETS.repeat(copies)
    found = gradient(logits, targets, num_samples=NUM_SAMPLES, noise_variance=variance, seed=0)
    check_shape(found, logits)
    probability, exact = exact_gradient(LOGITS.double(), TARGETS, variance)
    _, log_exact = exact_gradient(LOGITS.double(), TARGETS, variance, log=True)
    return Draws(variance, found.detach().double().unflatten(0, (copies, -1)), probability, exact, log_exact)


def check_shape(found: object, logits: Tensor) -> None:
    """ValueError for what is no gradient at the logits."""
    if not isinstance(found, Tensor):
        raise ValueError(f"a gradient is a torch tensor, not a {type(found).__name__}")
    if found.shape != logits.shape:
        raise ValueError(f"a gradient has the logits' shape {list(logits.shape)}, not {list(found.shape)}")
    if not torch.isfinite(found).all():
        raise ValueError("a gradient at finite logits is finite numbers, but there are NaN or infinities among them")
