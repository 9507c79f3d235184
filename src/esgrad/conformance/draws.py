"""Many independent estimates at a few known places."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from esgrad.conformance.subject import Subject

LOGITS = torch.tensor([[10.3, 10.1, 9.8, 11.0], [0.0, 0.0, 0.0, 0.0], [-10.1, -9.2, -10.0, -9.9], [5.2, 5.6, 4.9, 5.0]])
"""Far from 0 too, which changes no class and no gradient."""
TARGETS = torch.tensor([3, 1, 0, 2])  # ahead, level, behind, behind
NUM_SAMPLES = 6  # other than K, so that neither passes for the other
CASES = ((0.09, NUM_SAMPLES), (1.0, NUM_SAMPLES), (4.0, NUM_SAMPLES), (4.0, 14))
"""t and N; of two neighbours one is the same. N is even, as antithetic samples come in pairs."""
STANDARD_ERRORS = 5.0
SEEDS = 10
"""An estimator whose examples share their noise is asked once a seed, so many times fewer."""


@dataclass(frozen=True)
class Draws:
    """Estimates at each of the places, at one t and N."""

    variance: float
    num_samples: int
    shared: bool
    """Whether the examples of a batch share their noise; the copies then are of the seeds 0, 1, 2, …"""
    kind: torch.dtype
    """The type that they came in."""
    estimates: Tensor  # float64 [copies, E, K]

    @property
    def drawn(self) -> bool:
        """Whether anything is drawn at all: an exact gradient is the same each time."""
        return bool((self.estimates != self.estimates[0]).any())

    @property
    def mean(self) -> Tensor:
        """[E, K]."""
        return self.estimates.mean(0)

    @property
    def error(self) -> Tensor:
        """The standard error of the mean, [E, K], and of one more of the largest estimates, which may not have come."""
        return self.estimates.std(0) / sqrt(len(self.estimates)) + self._one_more(1)

    @property
    def total_variance(self) -> Tensor:
        """tr Var of one estimate, [E]."""
        return self.estimates.var(0).sum(-1)

    @property
    def variance_error(self) -> Tensor:
        """The standard error of `total_variance`, [E], likewise."""
        squares = (self.estimates - self.mean).square().sum(-1)  # [copies, E]
        return squares.std(0) / sqrt(len(squares)) + self._one_more(2)

    def _one_more(self, power: int) -> float:
        """What one more of the largest estimates would change a mean of powers by, in standard errors."""
        return float(self.estimates.abs().max()) ** power * self.drawn / (STANDARD_ERRORS * len(self.estimates))

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


def draw(subject: Subject, variance: float, num_samples: int, copies: int) -> Draws:
    """So many estimates at each place; ValueError if they are no [B, K] of finite numbers."""
    if copies < 100:
        raise ValueError(f"copies is {copies}: from fewer than 100 estimates nothing can be told")
    found, kind = estimates(subject, variance, num_samples, copies, 0)
    shared = bool((found == found[0]).all())
    if shared:
        found = by_seed(subject, variance, num_samples, range(100))
        if (found != found[0]).any():
            more = range(100, max(101, copies // SEEDS))
            found = torch.cat([found, by_seed(subject, variance, num_samples, more)])
    return Draws(variance, num_samples, shared, kind, found)


def by_seed(subject: Subject, variance: float, num_samples: int, seeds: range) -> Tensor:
    """Estimates [seeds, E, K], a call for each seed."""
    return torch.cat([estimates(subject, variance, num_samples, 1, seed)[0] for seed in seeds])


def estimates(
    subject: Subject, variance: float, num_samples: int, copies: int, seed: int
) -> tuple[Tensor, torch.dtype]:
    """Estimates [copies, E, K] of one call, and their type."""
    logits, targets = LOGITS.repeat(copies, 1), TARGETS.repeat(copies)
    found = subject(logits, targets, num_samples=num_samples, noise_variance=variance, seed=seed)
    check_shape(found, logits)
    return found.detach().double().unflatten(0, (copies, -1)), found.dtype


def correlation(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Of what two sets of estimates [n, E, K] have beyond their means, and its standard error."""
    products = ((one - one.mean(0)) * (other - other.mean(0))).sum((-2, -1))  # [n]
    size = (one.var(0).sum() * other.var(0).sum()).sqrt().clamp(min=1e-300)
    return float(products.mean() / size), float(products.std() / size) / sqrt(len(products))


def check_shape(found: object, logits: Tensor) -> None:
    """ValueError for what is no gradient at the logits."""
    if not isinstance(found, Tensor):
        raise ValueError(f"a gradient is a torch tensor, not a {type(found).__name__}")
    if found.shape != logits.shape:
        raise ValueError(f"a gradient has the logits' shape {list(logits.shape)}, not {list(found.shape)}")
    if not torch.isfinite(found).all():
        raise ValueError("a gradient at finite logits is finite numbers, but there are NaN or infinities among them")
