"""The laws of all but the mean, each a function of an estimator or of draws from it that makes one finding."""

import random
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.conformance.card import Finding
from esgrad.conformance.draws import (
    LOGITS,
    NUM_SAMPLES,
    STANDARD_ERRORS,
    TARGETS,
    Draws,
    correlation,
    estimates,
)
from esgrad.conformance.means import TRUNCATED, TRUNCATED_BEFORE, Nearest, P
from esgrad.conformance.subject import Failed, Subject

NEIGHBOURS = 4000  # estimates of two seeds that are compared
SMALL: dict[str, Any] = {"num_samples": NUM_SAMPLES, "noise_variance": 1.0}
LAWS = {P: ("raw", "leave_one_out"), TRUNCATED: ("success",), TRUNCATED_BEFORE: ("maxrl",)}
"""The shapings with that mean, whose laws of variance an estimate is held beside."""
LIKE = 0.02
"""An estimate is like a law if all ratios to it lie so near to 1, beside 5 standard errors; if like none, the first is
told."""
TOLD = 0.5
"""Ratios that are known no better are not told."""


def variance(draws: list[Draws], near: Nearest) -> Finding:
    """Its variance beside the laws of independent noise with that mean; no more than the largest of them."""
    if near.objective is None or near.objective.what not in LAWS:
        return Finding("variance", "is not compared: no law here has its mean", None)
    factors = [1.0] * len(draws) if near.exact else near.factors
    unsure = torch.tensor([0.0 if near.exact else 2 * m / abs(f) for m, f in zip(near.margins, factors, strict=True)])
    ratios, holds = {}, False
    for shaping, credit in product(LAWS[near.objective.what], ("noise", "class")):
        words = near.objective.noise, credit, shaping
        laws = [factor**2 * _law(*words, each) for each, factor in zip(draws, factors, strict=True)]
        ratio, error = (
            torch.cat([getattr(each, part) / law for each, law in zip(draws, laws, strict=True)])
            for part in ("total_variance", "variance_error")
        )
        margin = STANDARD_ERRORS * error + unsure.repeat_interleave(len(LOGITS))
        holds |= bool((ratio <= 1 + margin).all())
        told = ratio[margin < TOLD] if (margin < TOLD).any() else ratio
        ratios[f"{shaping} credited with the {credit}"] = told, bool(((ratio - 1).abs() <= margin + LIKE).all())
    law = next((law for law, (_, like) in ratios.items() if like), next(iter(ratios)))
    low, high = ratios[law][0].min(), ratios[law][0].max()
    return Finding("variance", f"{low:.2f} to {high:.2f} times that of {law}", holds)


def _law(noise: str, credit: str, shaping: str, draws: Draws) -> Tensor:
    """tr Var with independent samples of a noise at each place, [E]."""
    words = menu.load("noises", noise), menu.load("credits", credit)
    place = theory.place(*words, LOGITS.double(), TARGETS, draws.variance)
    return theory.gradient_variance(menu.load("shapings", shaping), place, draws.num_samples)


def batch(draws: list[Draws]) -> Finding:
    """Whether the examples of a batch have noise of their own."""
    if not any(each.drawn for each in draws):
        return Finding("batch", "nothing is drawn", None)
    if any(each.shared for each in draws):
        return Finding("batch", "its examples share their noise", None)
    found = draws[1].estimates - draws[1].mean
    rows = found.flatten(0, 1)[:, None]  # [copies·E, 1, K]
    for one, other in ((rows[:-1], rows[1:]), (found[:-1], found[1:])):
        value, error = correlation(one, other)
        if abs(value) > STANDARD_ERRORS * error:
            return Finding(
                "batch", f"neighbouring examples share noise: their errors' correlation is {value:.2f}", None
            )
    return Finding("batch", "each example has noise of its own", None)


def type_(draws: list[Draws]) -> Finding:
    """The type of the answer."""
    kind, given = (str(each).removeprefix("torch.") for each in (draws[0].kind, LOGITS.dtype))
    return Finding("type", f"{kind}, as the logits" if kind == given else f"{kind}, where the logits are {given}", None)


def seed(subject: Subject, draws: list[Draws]) -> Finding:
    """The same seed gives the same bits, and of ten seeds each gives others, that know nothing of its neighbour's."""
    if not any(each.drawn for each in draws):
        return Finding("seed", "is not needed: nothing is drawn", True)
    logits, targets = LOGITS.repeat(64, 1), TARGETS.repeat(64)
    seeds = (1, 1, 2, 3, 4, 5, 6, 7, 1001, 2**20 + 1)
    first, again, *others = (subject(logits, targets, seed=each, **SMALL) for each in seeds)
    if not torch.equal(first, again):
        return Finding("seed", "is not obeyed: the same seed gives other numbers", False)
    found = [first, *others]
    for place, one in enumerate(found):
        for other, later in enumerate(found[:place]):
            if torch.equal(one, later):
                same = f"{seeds[other + 1]} and {seeds[place + 1]}"
                return Finding("seed", f"is not obeyed: seeds {same} give the same numbers", False)
    value, error = _of_neighbours(subject, draws[1])
    if abs(value) > STANDARD_ERRORS * error:
        return Finding("seed", f"is obeyed, but what seeds 0 and 1 draw has a correlation of {value:.2f}", False)
    return Finding("seed", "is obeyed, to the bit", True)


def _of_neighbours(subject: Subject, draws: Draws) -> tuple[float, float]:
    """The correlation of the errors of estimates with neighbouring seeds, and its standard error."""
    one = draws.estimates
    if draws.shared:
        return correlation(one[:-1], one[1:])
    one = one[:NEIGHBOURS]
    return correlation(one, estimates(subject, draws.variance, draws.num_samples, len(one), 1)[0])


def global_state(subject: Subject) -> Finding:
    """What it is handed, and the random state of torch, NumPy and Python, are left as they were, and decide nothing."""
    if subject.changes_inputs:
        return Finding("global state", "the logits or targets that it is handed are changed: work on a copy", False)
    torch.rand(1), np.random.rand(), random.random()  # else one that sets the state may find it so already
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    first = subject(LOGITS, TARGETS, seed=1, **SMALL)
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
    if not torch.equal(subject(LOGITS, TARGETS, seed=1, **SMALL), first):
        return Finding("global state", "decides the noise: other random numbers drawn before change it", False)
    if touched:
        return Finding("global state", f"of {' and '.join(touched)} is changed", False)
    return Finding("global state", "is left as it was", True)


def queries(subject: Subject) -> Finding:
    """How often the box is asked; unknown where it cannot be handed over."""
    if not subject.takes("blackbox"):
        return Finding("queries", "unknown: let it take blackbox=, and ask blackbox(logits, targets)", None)
    asked = 0

    def counting(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal asked
        answer = (logits.argmax(-1) == targets).float()
        asked += answer.numel()
        return answer

    subject(LOGITS, TARGETS, seed=1, blackbox=counting, **SMALL)
    return Finding("queries", f"{asked / len(LOGITS):g} an example at N = {NUM_SAMPLES}", None)


def nan(subject: Subject) -> Finding:
    """What it makes of an example whose logits are NaN."""
    logits = LOGITS.clone()
    logits[1] = torch.nan
    clean, again = (subject(LOGITS, TARGETS, seed=1, **SMALL) for _ in range(2))
    try:
        found = subject(logits, TARGETS, seed=1, **SMALL)
    except Failed as error:
        return Finding("NaN", f"is refused: {type(error.__cause__).__name__}", None)
    own = "gives NaN there" if found[1].isnan().any() else "gives numbers there, silently"
    if not torch.equal(clean, again):
        return Finding("NaN", own, None)
    others = torch.equal(found[[0, 2, 3]], clean[[0, 2, 3]])
    return Finding("NaN", f"{own}; the other examples are {'as before' if others else 'changed'}", None)


def micro_batches(subject: Subject) -> Finding:
    """Whether two halves of a batch see noise of their own."""
    logits, targets = LOGITS[1:2].repeat(8, 1), TARGETS[1:2].repeat(8)
    words = SMALL | {"num_samples": 64, "seed": 1}
    first = subject(logits[:4], targets[:4], **words)
    second = subject(logits[4:], targets[4:], **words)
    if not torch.equal(first, second):
        return Finding("micro-batches", "differ between two calls of one seed", None)
    try:
        placed = subject(logits[4:], targets[4:], offset=4, **words)
    except Failed as error:
        if not isinstance(error.__cause__, TypeError):
            return Finding("micro-batches", f"with offset=4 it fails: {type(error.__cause__).__name__}", None)
        return Finding("micro-batches", "share their noise if they share the seed: it takes no offset=", None)
    whole = subject(logits, targets, **words)
    same = torch.equal(torch.cat([first, placed]), whole)
    return Finding(
        "micro-batches", f"with offset= {'are one batch, to the bit' if same else 'differ from one batch'}", None
    )
