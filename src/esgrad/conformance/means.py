"""What the mean of an estimator is: the gradient of p, of log p, or of a truncated form of it, and how much of it."""

from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from esgrad import menu
from esgrad.conformance.card import Finding
from esgrad.conformance.draws import CASES, LOGITS, STANDARD_ERRORS, TARGETS, Draws, by_seed
from esgrad.conformance.subject import Subject

P, TRUNCATED, TRUNCATED_BEFORE = "∇p", "(1 − (1−p)^N) ∇log p", "(1 − (1−p)^(N−1)) ∇log p"
SMALL_BATCHES = 200
"""Batches of one example a place, beside the one large batch."""


class Objective(NamedTuple):
    """What an estimator may be unbiased for."""

    what: str
    noise: str
    """The density that p is of, a word of the menu of noises."""

    def __str__(self) -> str:
        return self.what if self.noise == "independent" else f"{self.what} under {self.noise.capitalize()} noise"


def objectives(variance: float, num_samples: int) -> dict[Objective, Tensor]:
    """The gradients [E, K] at the places, float64."""
    at = LOGITS[None].double(), TARGETS[None], torch.tensor([variance], dtype=torch.float64)
    found: dict[Objective, Tensor] = {}
    for noise in ("independent", "gumbel"):
        exact = menu.load("noises", noise).EXACT
        miss = 1 - exact.p.value(*at)[0, :, None]
        log_gradient = exact.log_p.gradient(*at)[0]
        found |= {
            Objective(P, noise): exact.p.gradient(*at)[0],
            Objective("∇log p", noise): log_gradient,
            Objective(TRUNCATED, noise): (1 - miss**num_samples) * log_gradient,
            Objective(TRUNCATED_BEFORE, noise): (1 - miss ** (num_samples - 1)) * log_gradient,
        }
    return found


@dataclass(frozen=True)
class Nearest:
    """What the means are, else are a multiple of."""

    objective: Objective | None
    """None where they are neither; the factors then are those of ∇p."""
    exact: bool
    factors: list[float]
    margins: list[float]  # 5 standard errors of each

    @property
    def name(self) -> str:
        """For people."""
        return str(self.objective or P)


def nearest(draws: list[Draws]) -> Nearest:
    """The first that the means are, else the first that they are a multiple of at each t and N."""
    expected = [objectives(each.variance, each.num_samples) for each in draws]

    def found(objective: Objective, exact: bool) -> Nearest:
        pairs = [each.factor(means[objective]) for each, means in zip(draws, expected, strict=True)]
        factors, margins = (list(each) for each in zip(*pairs, strict=True))
        return Nearest(objective, exact, factors, margins)

    for exact in (True, False):
        for objective in expected[0]:
            near = found(objective, exact)
            wanted = [1.0] * len(draws) if exact else near.factors
            told = all(abs(factor) > margin for factor, margin in zip(wanted, near.margins, strict=True))
            if told and all(
                each.agrees(means[objective], factor)
                for each, means, factor in zip(draws, expected, wanted, strict=True)
            ):
                return near
    near = found(Objective(P, "independent"), False)
    return Nearest(None, False, near.factors, near.margins)


def sign(draws: list[Draws]) -> Finding:
    """It ascends: the mean estimate and ∇p point the same way."""
    gradient = Objective(P, "independent")
    along = [each.factor(objectives(each.variance, each.num_samples)[gradient])[0] for each in draws]
    if all(factor > 0 for factor in along):
        return Finding("sign", "ascends: the mean estimate raises the probability of the target", True)
    said = "descends: negate it, or it trains the other way" if all(f < 0 for f in along) else "has no direction"
    return Finding("sign", said, False)


def scale(draws: list[Draws], near: Nearest) -> Finding:
    """At each σ and N the mean is as long as what it estimates."""
    if near.exact:
        t, samples = (", ".join(map(str, sorted(set(each)))) for each in zip(*CASES, strict=True))
        return Finding(
            "scale", f"that of {near.name} within {max(near.margins):.1%}, at t = {t} and N = {samples}", True
        )
    told = " to ".join(dict.fromkeys(f"{each:.3g}" for each in (min(near.factors), max(near.factors))))
    return Finding("scale", f"{told} times {near.name}{_growth(draws, near)}", False)


def _growth(draws: list[Draws], near: Nearest) -> str:
    """How a wrong factor depends on t and N, or on how many examples there were."""
    batches = [each.estimates.shape[0] * each.estimates.shape[1] for each in draws]
    if all(abs(f * b - 1) <= m * b for f, m, b in zip(near.factors, near.margins, batches, strict=True)):
        return f": one over the number of examples, {batches[0]}; an estimate is an example's own, not a mean's"
    if min(near.factors) <= 0:
        return ""
    powers: dict[str, list[float]] = {"t": [], "N": []}
    for (one, other), (factor, next_factor) in zip(pairwise(draws), pairwise(near.factors), strict=True):
        by = "t" if one.variance != other.variance else "N"
        ratio = other.variance / one.variance if by == "t" else other.num_samples / one.num_samples
        powers[by].append(log(next_factor / factor) / log(ratio))
    told = [f"{by}^{_between(each)}" for by, each in powers.items() if max(map(abs, each)) > 0.05]
    return f": it grows as {' and as '.join(told)}" if told else ": the same factor everywhere"


def _between(powers: list[float]) -> str:
    low, high = (f"{each:.2f}" for each in (min(powers), max(powers)))
    return low if max(powers) - min(powers) < 0.05 else f"{low} to {high}"


def bias(draws: list[Draws], near: Nearest, subject: Subject) -> Finding:
    """What it is unbiased for, up to a factor that `scale` tells, in large batches and small ones."""
    if near.objective is None:
        return Finding("unbiased for", f"neither p nor log p nor its truncated forms ({_off(draws)} off p)", False)
    if not _same_in_small_batches(subject, draws[1]):
        return Finding(
            "unbiased for", f"another gradient in batches of {len(LOGITS)} examples than in large ones", False
        )
    within = f"within {STANDARD_ERRORS:.0f} standard errors, up to its scale"
    return Finding("unbiased for", f"{near.name} {within}", True)


def _off(draws: list[Draws]) -> str:
    gradient = Objective(P, "independent")
    pairs = [(each, objectives(each.variance, each.num_samples)[gradient]) for each in draws]
    off = max(float(((each.mean - mean).abs() / each.error.clamp(min=1e-12)).max()) for each, mean in pairs)
    return f"{off:.0f} standard errors" if off < 1000 else "more than 1,000 standard errors"


def _same_in_small_batches(subject: Subject, draws: Draws) -> bool:
    """Whether batches of one example a place have the mean of the large batch, up to a factor."""
    if draws.shared:  # then they were small
        return True
    few = by_seed(subject, draws.variance, draws.num_samples, range(1, 1 + SMALL_BATCHES))
    if len(few.flatten(1).unique(dim=0)) < SMALL_BATCHES:  # their mean then says little, and `laws.seed` why
        return True
    small = Draws(draws.variance, draws.num_samples, False, draws.kind, few)
    factor, _ = small.factor(draws.mean)
    error = (small.error.square() + (factor * draws.error).square()).sqrt()
    return bool(((small.mean - factor * draws.mean).abs() <= STANDARD_ERRORS * error + 1e-6).all())
