"""Many independent estimates at a few known places, and the exact gradients there."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from esgrad.gradients.at_logits import exact_gradient

Gradient = Callable[..., Tensor]
"""fn(logits [B, K], targets [B], *, num_samples, noise_variance, seed) -> [B, K]."""

LOGITS = torch.tensor([[10.3, 10.1, 9.8, 11.0], [0.0, 0.0, 0.0, 0.0], [-10.1, -9.2, -10.0, -9.9]])
"""Far from 0 too, which changes no class and no gradient."""
TARGETS = torch.tensor([3, 1, 0])  # ahead, level, behind
NUM_SAMPLES = 6  # other than K, so that neither passes for the other
CASES = ((0.25, NUM_SAMPLES), (2.25, NUM_SAMPLES), (2.25, 10))
"""t and N; of two neighbours one is the same."""
STANDARD_ERRORS = 5.0
SEEDS = 10
"""An estimator whose examples share their noise is asked once a seed, so many times fewer."""


@dataclass(frozen=True)
class Draws:
    """Estimates at each of the places, at one t and N."""

    variance: float
    num_samples: int
    shared: bool
    """Whether the examples of a batch share their noise; the copies then are of different seeds."""
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
        """Whether the mean lies within 5 standard errors of `factor` times what was expected, in every component and
        in its length."""
        near = (self.mean - factor * expected).abs() <= STANDARD_ERRORS * self.error + 1e-6
        found, margin = self.factor(expected)
        return bool(near.all()) and abs(found - factor) <= margin

    def factor(self, expected: Tensor) -> tuple[float, float]:
        """The factor that brings what was expected nearest to the mean, and 5 standard errors of it."""
        factors = (self.estimates * expected).sum((-2, -1)) / expected.square().sum()  # [copies]
        return float(factors.mean()), STANDARD_ERRORS * float(factors.std()) / sqrt(len(factors)) + 1e-6


def ask(gradient: Gradient, variance: float, num_samples: int, copies: int) -> Draws:
    """So many estimates by the gradient at each place; ValueError if they are no [B, K] of finite numbers."""
    if copies < 100:
        raise ValueError(f"copies is {copies}: from fewer than 100 estimates nothing can be told")

    def estimates(copies: int, seed: int) -> Tensor:
        logits, targets = LOGITS.repeat(copies, 1), TARGETS.repeat(copies)
        found = gradient(logits, targets, num_samples=num_samples, noise_variance=variance, seed=seed)
        check_shape(found, logits)
        return found.detach().double().unflatten(0, (copies, -1))

    found = estimates(copies, 0)
    shared = bool((found == found[0]).all())
    if shared:
        found = torch.cat([estimates(1, seed) for seed in range(max(100, copies // SEEDS))])
    probability, exact = exact_gradient(LOGITS.double(), TARGETS, variance)
    _, log_exact = exact_gradient(LOGITS.double(), TARGETS, variance, log=True)
    return Draws(variance, num_samples, shared, found, probability, exact, log_exact)


def check_shape(found: object, logits: Tensor) -> None:
    """ValueError for what is no gradient at the logits."""
    if not isinstance(found, Tensor):
        raise ValueError(f"a gradient is a torch tensor, not a {type(found).__name__}")
    if found.shape != logits.shape:
        raise ValueError(f"a gradient has the logits' shape {list(logits.shape)}, not {list(found.shape)}")
    if not torch.isfinite(found).all():
        raise ValueError("a gradient at finite logits is finite numbers, but there are NaN or infinities among them")
