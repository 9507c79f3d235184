"""Examples to hold the laws to, and the project's own estimates there, drawn as training draws them."""

import math
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients.credits import Credit
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.gradients.quadrature import log_probability_and_gradient
from esgrad.gradients.shapings import Shaping, has_counts_law
from esgrad.kernels.streams import Role
from esgrad.laws import Place
from esgrad.laws.curvature import curvature, single_hit
from esgrad.measurement.sampler import Sampler

TWO_SIGMAS = pytest.mark.parametrize("sigma", [0.5, 3.0])
QUADRATURE = 1e-6  # what esgrad.gradients.quadrature promises, relative
TARGET = torch.tensor(0)
ZERO_ONE = menu.load("blackboxes", "zero_one")
Words = tuple[str, str, str]
"""A noise, a credit and a shaping."""


def modules(words: Words) -> tuple[Noise, Credit, Shaping]:
    return tuple(menu.load(*of) for of in zip(("noises", "credits", "shapings"), words, strict=True))


ALL = list(product(*map(menu.names, ("noises", "credits", "shapings"))))
LAWFUL = [words for words in ALL if theory.has_law(*modules(words))]
DIRECTED = [words for words in ALL if theory.has_direction(*modules(words))]
COUNTED = [name for name in menu.names("shapings") if has_counts_law(menu.load("shapings", name))]
EACH_LAW = pytest.mark.parametrize("words", LAWFUL, ids="-".join)
EACH_DIRECTION = pytest.mark.parametrize("words", DIRECTED, ids="-".join)
LECTURE: Words = ("independent", "noise", "raw")


def place(logits: Tensor, targets: Tensor, variance: Tensor | float, words: Words = LECTURE) -> Place:
    noise, credit, _ = modules(words)
    return theory.place(noise, credit, logits, targets, variance)


def level_place(num_logits: int, variance: Tensor | float, words: Words = LECTURE) -> Place:
    noise, credit, _ = modules(words)
    return theory.level_place(noise, credit, num_logits, variance)


class Known(NamedTuple):
    """What formulas are written in, found without the laws: p and moments of what is credited, s, each [...]."""

    log_probability: Tensor
    miss: Tensor
    slope: Tensor
    """|∇log p|²"""
    total: Tensor
    """E|s|²/σ²,"""
    total_along: Tensor
    """E(v̂·s)²/σ² with v̂ the gradient's direction,"""
    hit: Tensor
    """and the same of the hits"""
    hit_along: Tensor
    share: Tensor
    """P(q hits, −q does not)/p; Gaussian noise alone,"""
    single: Tensor
    """E|q|²/t² given that,"""
    single_along: Tensor
    """and E(v̂·q)²/t²"""

    def map(self, function: Callable[[Tensor], Tensor]) -> "Known":
        return Known(*map(function, self))

    @property
    def probability(self) -> Tensor:
        return self.log_probability.exp()

    @property
    def gradient_square(self) -> Tensor:
        """|∇p|²"""
        return self.slope * (2 * self.log_probability).exp()


def known(logits: Tensor, targets: Tensor, variance: float, words: Words = LECTURE) -> Known:
    """At logits [..., K], targets [...]: Gaussian noise by curvature, Gumbel noise as a race of exponentials.

    Noise at a race: with rates π the winner comes at T ~ Exp(1) whoever wins, and s_k = (1 − π_k T − E_k)/β with
    E_k ~ Exp(1) of every class but the winner. Classes: a sum over which one is largest.
    """
    (noise, credit, _), k = modules(words), logits.shape[-1]
    logits, own = logits.double(), torch.nn.functional.one_hot(targets, k).double()
    nothing = torch.full(targets.shape, torch.nan, dtype=torch.float64)
    if noise.FAMILY == "gumbel":
        beta = math.sqrt(6 * variance) / math.pi
        log_share = (logits / beta).log_softmax(-1)
        others = log_share.masked_fill(own.bool(), -torch.inf).logsumexp(-1)
        v, seen = (own - log_share.exp()) / beta, (log_share.exp() * own).sum(-1).log()
        counted, pairs = (seen, others.exp()), [nothing] * 3
        unit = v / v.norm(dim=-1, keepdim=True)
        pull, ahead = (log_share.exp() * unit).sum(-1), (own * unit).sum(-1)
        along = ((ahead - pull) ** 2 + pull**2 + 1 - ahead**2) / beta**2
        hit = (k + 2 * log_share.exp().square().sum(-1) - 2 * seen.exp()) / beta**2
        white = torch.full_like(nothing, 1 / beta**2)
        classes = (torch.eye(k, dtype=torch.float64) - log_share.exp()[..., None, :]) / beta
    else:
        at = curvature(logits, targets, math.sqrt(variance))
        single = single_hit(logits, targets, math.sqrt(variance), at)
        pairs = [single.share, single.square / variance, single.along / variance]
        counted, v = (at.log_probability, at.miss), at.gradient
        unit = v / v.norm(dim=-1, keepdim=True).clamp(min=1e-300)
        white = torch.full_like(nothing, 1 / variance)
        hit, along = k * white + at.laplacian, white + at.along
        if credit.OF_CLASSES:
            each = [torch.full_like(targets, number) for number in range(k)]
            found = [log_probability_and_gradient(logits, number, math.sqrt(variance)) for number in each]
            log_share, classes = (torch.stack(part, targets.ndim) for part in zip(*found, strict=True))
    slope, total, total_along = v.square().sum(-1), k * white, white
    if credit.OF_CLASSES:
        share, hit, along = log_share.exp(), slope, slope
        total = (share * classes.square().sum(-1)).sum(-1)
        total_along = (share * torch.einsum("...ak,...k->...a", classes, unit).square()).sum(-1)
    return Known(*counted, slope, total, total_along, hit, along, *pairs)


class Case(NamedTuple):
    """One example at a network's logits: K, N, σ, and how far the target leads the best of the others, in σ."""

    num_logits: int
    num_samples: int
    sigma: float
    lead: float
    copies: int = 10_000

    @property
    def logits(self) -> Tensor:
        """Others spread by σ, the target `lead` ahead of their best; float32 numbers, as the estimates see them."""
        generator = torch.Generator().manual_seed(self.num_logits)
        logits = self.sigma * torch.randn(self.num_logits, generator=generator)
        logits[0] = logits[1:].max() + self.lead * self.sigma
        return logits

    def place(self, words: Words = LECTURE) -> Place:
        return place(self.logits, TARGET, self.sigma**2, words)


CASES = [
    Case(2, 2, 0.5, 0.0),
    Case(2, 16, 3.0, 2.0),
    Case(3, 2, 3.0, 0.4),
    Case(3, 4, 0.5, -1.5),
    Case(2, 256, 3.0, 3.5, 2_000),
    Case(3, 16, 3.0, 2.5),
    Case(3, 256, 0.5, 2.0, 2_000),
    Case(5, 2, 0.5, 0.5, 20_000),
    Case(10, 2, 3.0, -0.5),
    Case(10, 6, 0.5, -2.5, 20_000),
    Case(10, 64, 3.0, 1.0, 4_000),
    Case(100, 2, 0.5, 1.0, 5_000),
    Case(100, 16, 3.0, -0.5, 2_000),
    Case(1000, 2, 3.0, 0.5, 1_000),
    Case(1000, 32, 0.5, 2.0, 200),
]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=str)


@cache
def drawn(case: Case) -> dict[Words, Tensor]:
    """Independent estimates [copies, K] of all that has a law there, which share their noise."""
    found = {}
    point, key = case.logits.expand(1, case.copies, -1).contiguous(), Key([7], Role.NOISE, 1)
    fitness = PerExample(ZERO_ONE, torch.zeros(1, case.copies, dtype=torch.long))
    for pair in sorted({words[:2] for words in DIRECTED if _is_known(case, words)}):
        sampler = Sampler.of(*pair, [words[2] for words in DIRECTED if words[:2] == pair])
        estimates = sampler.estimates(case.num_samples, fitness, point, torch.tensor([case.sigma**2]), key)
        found |= {(*pair, shaping): each[0].double() for shaping, each in estimates.items()}
    return found


def _is_known(case: Case, words: Words) -> bool:
    """Gaussian noise credited with the class has laws up to K = 100."""
    noise, credit, _ = modules(words)
    return case.num_logits <= 100 or noise.FAMILY == "gumbel" or not credit.OF_CLASSES


def assert_mean(draws: Tensor, expected: Tensor, allowed: Tensor | float = 0.0) -> None:
    """Hold the mean of draws [n, ...] to `expected` within 5 SE, float32's rounding and what else is allowed."""
    error = draws.std(0) / math.sqrt(len(draws))
    excess = (draws.mean(0) - expected).abs() - 5 * error - 1e-6 * draws.abs().amax(0) - allowed
    assert (excess <= 0).all(), f"mean {draws.mean(0)}, expected {expected}, standard error {error}"


def scattered(num_examples: int, num_logits: int, spread: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = spread * torch.randn(num_examples, num_logits, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_logits, (num_examples,), generator=generator)


def ahead(gap: float, num_logits: int) -> Tensor:
    """The logits of a target `gap` ahead of all others, which are level."""
    logits = torch.zeros(num_logits, dtype=torch.float64)
    logits[0] = gap
    return logits


def lead(gap: float, num_logits: int, words: Words = LECTURE) -> Place:
    """Of a target `gap` σ ahead of all others, which are level, at σ = 1."""
    return place(ahead(gap, num_logits), TARGET, 1.0, words)
