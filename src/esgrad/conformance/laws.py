"""The laws, each a function of an estimator or of draws from it that makes one finding."""

import inspect
import random
from dataclasses import dataclass
from itertools import pairwise, product
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.conformance.card import Finding
from esgrad.conformance.draws import LOGITS, NUM_SAMPLES, STANDARD_ERRORS, TARGETS, Draws, Gradient

P, TRUNCATED, TRUNCATED_BEFORE = "∇p", "(1 − (1−p)^N) ∇log p", "(1 − (1−p)^(N−1)) ∇log p"
SMALL: dict[str, Any] = {"num_samples": NUM_SAMPLES, "noise_variance": 1.0}


def sign(draws: list[Draws]) -> Finding:
    """It ascends: the mean estimate and ∇p point the same way."""
    along = [each.factor(each.gradient)[0] for each in draws]
    if all(factor > 0 for factor in along):
        return Finding("sign", "ascends: the mean estimate raises the probability of the target", True)
    said = "descends: negate it, or it trains the other way" if all(f < 0 for f in along) else "has no direction"
    return Finding("sign", said, False)


def targets_of(draws: Draws) -> dict[str, Tensor]:
    """What an estimate may have as its mean, by name, [E, K] each."""
    miss = 1 - draws.probability[:, None]
    return {
        P: draws.gradient,
        "∇log p": draws.log_gradient,
        TRUNCATED: (1 - miss**draws.num_samples) * draws.log_gradient,
        TRUNCATED_BEFORE: (1 - miss ** (draws.num_samples - 1)) * draws.log_gradient,
    }


@dataclass(frozen=True)
class Nearest:
    """What the means are, else are a multiple of."""

    name: str  # "" where they are neither; the factors then are those of ∇p
    exact: bool
    factors: list[float]
    margins: list[float]  # 5 standard errors of each


def nearest(draws: list[Draws]) -> Nearest:
    """The first that the means are, else the first that they are a multiple of at each t and N."""
    expected = {name: [targets_of(each)[name] for each in draws] for name in targets_of(draws[0])}

    def found(name: str, as_named: str, exact: bool) -> Nearest:
        pairs = [each.factor(mean) for each, mean in zip(draws, expected[name], strict=True)]
        return Nearest(as_named, exact, *(list(each) for each in zip(*pairs, strict=True)))

    for exact in (True, False):
        for name, means in expected.items():
            near = found(name, name, exact)
            wanted = [1.0] * len(draws) if exact else near.factors
            if all(each.agrees(mean, factor) for each, mean, factor in zip(draws, means, wanted, strict=True)):
                return near
    return found(P, "", False)


def scale(draws: list[Draws], near: Nearest) -> Finding:
    """At two σ and two N the mean is as long as what it estimates."""
    name = near.name or P
    if near.exact:
        first, other, last = draws
        cases = f"t = {first.variance} and {other.variance}, N = {other.num_samples} and {last.num_samples}"
        return Finding("scale", f"that of {name} within {max(near.margins):.1%}, at {cases}", True)
    told = ", ".join(
        f"{factor:.3g} at t = {each.variance}, N = {each.num_samples}"
        for factor, each in zip(near.factors, draws, strict=True)
    )
    return Finding("scale", f"{told} times {name}{_growth(draws, near)}", False)


def _growth(draws: list[Draws], near: Nearest) -> str:
    """How a wrong factor depends on t and N."""
    if min(near.factors) <= 0:
        return ""
    powers = []
    for (one, other), (factor, next_factor) in zip(pairwise(draws), pairwise(near.factors), strict=True):
        by_t = one.variance != other.variance
        ratio = other.variance / one.variance if by_t else other.num_samples / one.num_samples
        power = log(next_factor / factor) / log(ratio)
        if abs(power) > 0.05:
            powers.append(f"as {'t' if by_t else 'N'}^{power:.2f}")
    return f": it grows {' and '.join(powers)}" if powers else ": the same factor everywhere"


def bias(draws: list[Draws], near: Nearest) -> Finding:
    """What it is unbiased for, up to a factor that `scale` tells."""
    name = near.name
    if name:
        return Finding("unbiased for", f"{name} within {STANDARD_ERRORS:.0f} standard errors, up to its scale", True)
    off = max(float(((each.mean - each.gradient).abs() / each.error.clamp(min=1e-12)).max()) for each in draws)
    return Finding(
        "unbiased for", f"neither p nor log p nor its truncated forms ({off:.0f} standard errors off p)", False
    )


LAWS = {P: ("raw", "leave_one_out"), TRUNCATED: ("success",), TRUNCATED_BEFORE: ("maxrl",)}
"""The shapings with that mean, whose laws of variance an estimate is held beside."""


def variance(draws: list[Draws], near: Nearest) -> Finding:
    """Its variance beside the laws of independent Gaussian noise with that mean; no more than the largest of them."""
    name, factors = near.name, near.factors
    if name not in LAWS:
        return Finding("variance", "is not compared: no law here has its mean", None)
    ratios, holds = {}, False
    for credit, shaping in product(menu.names("credits"), LAWS[name]):
        laws = [factor**2 * _law(credit, shaping, each) for each, factor in zip(draws, factors, strict=True)]
        ratio, error = (
            torch.cat([getattr(each, part) / law for each, law in zip(draws, laws, strict=True)])
            for part in ("total_variance", "variance_error")
        )
        ratios[f"{shaping} credited with the {credit}"] = ratio
        holds |= bool((ratio <= 1 + STANDARD_ERRORS * error + 1e-6).all())
    closest = min(ratios, key=lambda law: abs(log(float(ratios[law].mean()) + 1e-12)))
    low, high = ratios[closest].min(), ratios[closest].max()
    return Finding("variance", f"{low:.2f} to {high:.2f} times that of {closest}, the nearest law", holds)


def _law(credit: str, shaping: str, draws: Draws) -> Tensor:
    """tr Var with independent noise at each place, [E]."""
    words = menu.load("noises", "independent"), menu.load("credits", credit)
    place = theory.place(*words, LOGITS.double(), TARGETS, draws.variance)
    return theory.gradient_variance(menu.load("shapings", shaping), place, draws.num_samples)


def batch(draws: list[Draws]) -> Finding:
    """Whether the examples of a batch have noise of their own."""
    shared = any(each.shared for each in draws)
    return Finding("batch", "its examples share their noise" if shared else "each example has noise of its own", None)


def seed(gradient: Gradient) -> Finding:
    """The same seed gives the same bits, every other seed others."""
    logits, targets = LOGITS.repeat(64, 1), TARGETS.repeat(64)
    seeds = (1, 1, 2, 3, 4, 5, 6, 7, 1001, 2**20 + 1)
    first, again, *others = (gradient(logits, targets, seed=each, **SMALL) for each in seeds)
    if not torch.equal(first, again):
        return Finding("seed", "is not obeyed: the same seed gives other numbers", False)
    found = [first, *others]
    for place, one in enumerate(found):
        for other, later in enumerate(found[:place]):
            if torch.equal(one, later):
                same = f"{seeds[other + 1]} and {seeds[place + 1]}"
                return Finding("seed", f"is not obeyed: seeds {same} give the same numbers", False)
    return Finding("seed", "is obeyed, to the bit", True)


def global_state(gradient: Gradient) -> Finding:
    """The random state of torch, NumPy and Python is left as it was, and decides nothing."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    first = gradient(LOGITS.clone(), TARGETS.clone(), seed=1, **SMALL)
    after = torch.get_rng_state(), np.random.get_state(), random.getstate()
    touched = [
        name
        for name, same in [
            ("torch", torch.equal(before[0], after[0])),
            ("NumPy", all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))),
            ("Python", before[2] == after[2]),
        ]
        if not same
    ]
    torch.rand(1), np.random.rand(), random.random()
    if not torch.equal(gradient(LOGITS.clone(), TARGETS.clone(), seed=1, **SMALL), first):
        return Finding("global state", "decides the noise: other random numbers drawn before change it", False)
    if touched:
        return Finding("global state", f"of {' and '.join(touched)} is changed", False)
    return Finding("global state", "is left as it was", True)


def queries(gradient: Gradient) -> Finding:
    """How often the box is asked; unknown where it cannot be handed over."""
    try:
        takes = "blackbox" in inspect.signature(gradient).parameters
    except (TypeError, ValueError):
        takes = False
    if not takes:
        return Finding("queries", "unknown: it takes no blackbox=, a function of (logits, targets) to ask", None)
    asked = 0

    def counting(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal asked
        answer = (logits.argmax(-1) == targets).float()
        asked += answer.numel()
        return answer

    gradient(LOGITS.clone(), TARGETS.clone(), seed=1, blackbox=counting, **SMALL)
    return Finding("queries", f"{asked / len(LOGITS):g} an example at N = {NUM_SAMPLES}", None)


def nan(gradient: Gradient) -> Finding:
    """What it makes of an example whose logits are NaN."""
    logits = LOGITS.clone()
    logits[1] = torch.nan
    clean = gradient(LOGITS.clone(), TARGETS.clone(), seed=1, **SMALL)
    try:
        found = gradient(logits, TARGETS.clone(), seed=1, **SMALL)
    except Exception as error:  # whatever somebody's code raises
        return Finding("NaN", f"is refused: {type(error).__name__}", None)
    others = torch.equal(found[[0, 2]], clean[[0, 2]])
    own = "gives NaN there" if found[1].isnan().any() else "gives numbers there, silently"
    return Finding("NaN", f"{own}; the other examples are {'as before' if others else 'changed'}", None)


def micro_batches(gradient: Gradient) -> Finding:
    """Whether two halves of a batch see noise of their own."""
    logits, targets = LOGITS[1:2].repeat(8, 1), TARGETS[1:2].repeat(8)
    words = SMALL | {"num_samples": 64, "seed": 1}
    first = gradient(logits[:4], targets[:4], **words)
    second = gradient(logits[4:], targets[4:], **words)
    if not torch.equal(first, second):
        return Finding("micro-batches", "differ between two calls of one seed", None)
    try:
        placed = gradient(logits[4:], targets[4:], offset=4, **words)
    except TypeError:
        return Finding("micro-batches", "share their noise if they share the seed: it takes no offset=", None)
    whole = gradient(logits, targets, **words)
    same = torch.equal(torch.cat([first, placed]), whole)
    return Finding(
        "micro-batches", f"with offset= {'are one batch, to the bit' if same else 'differ from one batch'}", None
    )
