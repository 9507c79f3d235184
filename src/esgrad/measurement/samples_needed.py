"""How large must N be? N*, the smallest N whose estimate points well enough, bracketed along growing N.

    N*(c)  =  the smallest N with  E cos(estimate of N samples, exact gradient)  ≥  c

One pass over the samples gives the estimate at every N of a geometric grid, as sums grow: per example at its logits,
and per batch at the parameters, where the chain rule adds up the examples (N samples each). The mean cosine of D
independent draws is a noisy curve, and (low, high] are the points of the grid around its crossings of c, the first to
the last: cells of the grid, no confidence interval. D is larger at small K, where one draw says less; a pass goes on
until CONFIRMED points in a row lie above. Where the budget ends first, N* is right-censored at the N that was reached:
high is inf.

Weights that are 0 on failure (raw, success) let a few numbers decide most samples (`esgrad.kernels.compiled.hits`);
the others need every number, so they are censored earlier. Per example one of each kind speaks for all: leave_one_out
for maxrl, and raw for success, as their weights are proportional.

`measure` makes one frame of two kinds of rows (`esgrad.measurement.columns.SAMPLES_COLUMNS`):

    kind     a row for each                     num_samples   cosine             low, high          predicted
    needed   example or batch, wanted cosine    NaN           the one wanted     the crossings      N* by the law
    curve    example or batch, N of the grid    N             the mean measured  NaN                N*(1/√2) by the law

stage: "level" (all logits equal; no data set, no model, no batch) or a checkpoint's. level: "example", then batch_size
is NA, or "batch"; example: which one, of batches of the same network too. probability: p of the example, the batch's
mean. num_draws: D. All K are asked about the same images, one network each: neither an example's rows at several K nor
a network's are independent of each other.

At N*(1/√2) the noise is as large as the gradient: the scale on which all curves should be one. The laws are those of
`esgrad.laws.cosine` and `esgrad.measurement.batch_law`; nothing in them is fitted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil, nan, sqrt
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients.shapings import CountsLaw, Shaping
from esgrad.laws import moments
from esgrad.laws.example import seen
from esgrad.measurement.batch_law import Aim, BatchLaw
from esgrad.measurement.brackets import bracket, grid
from esgrad.measurement.checkpoints import Checkpoint
from esgrad.measurement.columns import SAMPLES_COLUMNS
from esgrad.measurement.growing import Growing
from esgrad.measurement.sampler import Sampler
from esgrad.measurement.specifications import SAMPLED

DRAWS = {"example": 1000, "batch": 125}
"""D is `num_draws` times this over the random numbers of a sample, of which no fewer than 10 count; at least num_draws.
Credited with the noise a sample is K numbers, and the cosine of an example scatters as 1/√K from draw to draw, that of
a batch no less than some .1 whatever K (measured at a network's start). Credited with the class it is one number, and
the cosine of an example leaps from 0 to 1 at its first hit, whatever K, so that a hundred draws are known to .05. A
tally of E examples is D·E·K numbers, no more than LARGEST."""
LARGEST = 2**26
BATCHES = 4  # of a network, or as many as it has examples for: one that is censored does not silence the others
CONFIRMED = 3  # points of the grid in a row above the largest wanted cosine that end a pass
BALANCED = sqrt(0.5)


def measure(
    checkpoints: Sequence[Checkpoint],
    logit_dim: int,
    noise_variance: float,
    cosines: Sequence[float],
    num_examples: int,
    batch_size: int,
    num_draws: int,
    budget: float,
    estimators: Sequence[dict[str, Any]] = SAMPLED,
) -> pd.DataFrame:
    """Bracket N* at level logits and at checkpoints of K = `logit_dim`, per example and per batch.

    noise_variance: t. cosines: those wanted. num_examples: how many are asked one by one, the first of a checkpoint's.
    batch_size: B; a checkpoint's first make BATCHES of them, if it has so many. num_draws: D where a sample is 1,000
    random numbers or more, otherwise as DRAWS says. budget: random numbers (`Sampler.numbers`) for a stage, level and
    pass before its N* are censored; a core draws a billion in 1 to 3 s. ValueError for a checkpoint of another K or
    with too few examples, and for a cosine outside (0, 1). No K shares another's luck: it is the step of the stream.
    """
    if wrong := [cosine for cosine in cosines if not 0 < cosine < 1]:
        raise ValueError(f"a wanted cosine is {wrong[0]!r}: expected a number between 0 and 1, such as 0.5")
    for checkpoint in checkpoints:
        _check(checkpoint, logit_dim, max(num_examples, batch_size))
    t, rows = float(noise_variance), []
    level = torch.zeros(num_examples, logit_dim), torch.arange(num_examples) % logit_dim
    samplers = [Sampler.of(**words) for words in estimators]

    def asked(sampler: Sampler) -> Iterator[tuple[dict[str, str], _Asked]]:
        yield {"stage": "level", "dataset": "", "model": ""}, _examples(sampler, *level, t)
        for checkpoint in checkpoints:
            named = {"stage": checkpoint.stage, "dataset": checkpoint.job.dataset, "model": checkpoint.job.model}
            few = checkpoint.few(num_examples)
            yield named, _examples(sampler, few.logits, few.targets, t)
            yield named, _batches(sampler, checkpoint, batch_size, t)

    for sampler, (named, subjects) in [(each, one) for each in samplers for one in asked(each)]:
        numbers = sampler.credit.draws(sampler.noise, 1, 1, logit_dim, 1)
        draws = num_draws * ceil(DRAWS[subjects.level] / max(numbers, 10))
        draws = min(draws, max(num_draws, LARGEST // subjects.logits.numel()))
        words = named | {"level": subjects.level, "logit_dim": logit_dim, "noise_variance": t, "num_draws": draws}
        words |= {"space": "logits", "noise": menu.name(sampler.noise), "credit": menu.name(sampler.credit)}
        for shapings in _passes(sampler, subjects.level):
            rows += [words | row for row in _pass(sampler, subjects, shapings, t, draws, sorted(cosines), budget)]
    return pd.DataFrame(rows, columns=SAMPLES_COLUMNS).astype({"batch_size": "Int64", "example": "Int64"})


def _passes(sampler: Sampler, level: str) -> list[dict[str, CountsLaw]]:
    """Shapings that share a pass over the samples: those that are 0 on failure, and those that need every number."""
    laws: dict[str, CountsLaw] = sampler.shapings  # type: ignore[assignment]
    parts = [{name: law for name, law in laws.items() if law.WEIGHS_MISSES is whole} for whole in (False, True)]
    return [dict(list(part.items())[: 1 if level == "example" else None]) for part in parts if part]


class _Asked(NamedTuple):
    """M subjects whose N* is sought, of B examples in all: each of them (M = B), or batches of as many each."""

    level: str
    logits: Tensor  # [B, K]
    targets: Tensor  # [B]
    facts: list[dict[str, Any]]  # [M], the columns that tell one from the other
    cosines: Callable[[Shaping, Tensor], Tensor]  # of a shaping's estimates [D, B, K] to its exact arm: [D, M]
    needed: Callable[[Shaping, float], list[float]]  # a shaping's N* for a cosine by the law: [M]


def _examples(sampler: Sampler, logits: Tensor, targets: Tensor, t: float) -> _Asked:
    known = moments(*sampler[:2], logits, targets, t)
    place, exact = seen(known), known.gradient  # ∇log p, which points as ∇p does

    def needed(shaping: Shaping, cosine: float) -> list[float]:
        return theory.samples_needed(shaping, place, cosine, of_mean=True).tolist()

    facts = [{"example": example, "probability": p} for example, p in enumerate(place.probability.tolist())]
    return _Asked("example", logits, targets, facts, lambda _, estimates: _cosine(estimates, exact), needed)


def _batches(sampler: Sampler, checkpoint: Checkpoint, batch_size: int, t: float) -> _Asked:
    """The first examples of a checkpoint in batches of B, each with its law and its exact gradients."""
    count = max(1, min(BATCHES, len(checkpoint.targets) // batch_size))
    checkpoint = checkpoint.few(count * batch_size)
    parts = [slice(i * batch_size, (i + 1) * batch_size) for i in range(count)]
    batches = [_Batch(sampler, _part(checkpoint, part), t) for part in parts]

    def cosines(shaping: Shaping, estimates: Tensor) -> Tensor:
        parts = zip(batches, estimates.split(batch_size, 1), strict=True)
        return torch.stack([batch.cosines(shaping, part) for batch, part in parts], 1)

    def needed(shaping: Shaping, cosine: float) -> list[float]:
        return [batch.needed(shaping, cosine) for batch in batches]

    facts = [
        {"batch_size": batch_size, "example": i, "probability": float(batch.probability.mean())}
        for i, batch in enumerate(batches)
    ]
    return _Asked("batch", checkpoint.logits, checkpoint.targets, facts, cosines, needed)


def _part(checkpoint: Checkpoint, here: slice) -> Checkpoint:
    return replace(checkpoint, images=checkpoint.images[here], targets=checkpoint.targets[here])


class _Batch:
    """All examples of a checkpoint as a batch."""

    def __init__(self, sampler: Sampler, checkpoint: Checkpoint, t: float) -> None:
        self.noise, self.law = sampler.noise, BatchLaw(checkpoint, *sampler[:2], t)
        self.probability = self.law.pushed.place.probability
        log_gradient = self.law.pushed.moments.gradient
        arms = self.noise.EXACT
        self.exact = {menu.name(arms.log_p): log_gradient, menu.name(arms.p): self.probability[:, None] * log_gradient}
        self.aims = {arm: self.law.aim(gradients) for arm, gradients in self.exact.items()}

    def aim(self, shaping: Shaping) -> Aim:
        """Along Σ∇log p for weights that ascend log p (maxrl, success), along Σ∇p for others."""
        return self.aims[self._expects(shaping, shaping.FEWEST)[0]]

    def cosines(self, shaping: Shaping, estimates: Tensor) -> Tensor:
        """[D], of estimates [D, B, K]."""
        return _cosine(self.law.checkpoint.push(estimates).double(), self.aim(shaping).direction)

    def needed(self, shaping: Shaping, cosine: float) -> float:
        """N*, by the law."""

        def mean(num_samples: float) -> Tensor:
            name, factors = self._expects(shaping, num_samples)
            return factors[:, None] * self.exact[name]

        return self.law.samples_needed(shaping, cosine, self.aim(shaping), mean)

    def _expects(self, shaping: Shaping, num_samples: float) -> tuple[str, Tensor]:
        """The exact arm that the shaping's weights estimate, and the factors [B] on it."""
        promised = [shaping.expects(self.noise, p, num_samples) for p in self.probability.tolist()]
        arms, factors = zip(*(pair for pair in promised if pair is not None), strict=True)
        return menu.name(arms[0]), torch.tensor(factors, dtype=torch.float64)


def _pass(
    sampler: Sampler,
    asked: _Asked,
    shapings: dict[str, CountsLaw],
    t: float,
    draws: int,
    wanted: list[float],
    budget: float,
) -> Iterator[dict[str, Any]]:
    """Let N grow until every wanted cosine was reached at CONFIRMED N in a row, or the budget is spent."""
    whole = any(law.WEIGHS_MISSES for law in shapings.values())
    growing = Growing(sampler, asked.logits, asked.targets, t, draws, asked.logits.shape[1], whole)
    samples: list[int] = []
    found: dict[str, list[Tensor]] = {shaping: [] for shaping in shapings}
    done, spent = torch.zeros(len(asked.facts), dtype=torch.bool), 0.0
    members = len(asked.logits) // len(done)
    probability = torch.tensor([facts["probability"] for facts in asked.facts], dtype=torch.float64)
    numbers = draws * members * sampler.numbers(asked.logits.shape[1], probability, whole)  # of a sample, each subject
    fewest = max(law.FEWEST for law in shapings.values())
    for num_samples in (n for n in grid() if n >= fewest):
        spent += (num_samples - growing.num_samples) * float(numbers[~done].sum())
        growing.grow(num_samples, ~done.repeat_interleave(members))
        samples.append(num_samples)
        for shaping, curve in found.items():
            cosines = asked.cosines(shapings[shaping], growing.estimates(shapings[shaping]).double())  # [D, M]
            curve.append(cosines.mean(0).masked_fill(done, nan))
        if len(samples) >= CONFIRMED:
            above = [(torch.stack(curve[-CONFIRMED:]) >= wanted[-1]).all(0) for curve in found.values()]
            done = done | torch.stack(above).all(0)
        if done.all() or spent >= budget:
            break
    for shaping, curve in found.items():
        laws = {cosine: asked.needed(shapings[shaping], cosine) for cosine in (*wanted, BALANCED)}
        for subject, (facts, cosines) in enumerate(zip(asked.facts, torch.stack(curve, 1).tolist(), strict=True)):
            known = [(n, cosine) for n, cosine in zip(samples, cosines, strict=True) if cosine == cosine]
            law = {cosine: needed[subject] for cosine, needed in laws.items()}
            yield from (facts | {"shaping": shaping} | row for row in _rows(known, wanted, law))


def _rows(known: list[tuple[int, float]], wanted: list[float], law: dict[float, float]) -> Iterator[dict[str, Any]]:
    samples, cosines = zip(*known, strict=True)
    for cosine in wanted:
        low, high = bracket(samples, cosines, cosine)
        yield {"kind": "needed", "cosine": cosine, "low": low, "high": high, "predicted": law[cosine]}
    for num_samples, cosine in known:
        yield {"kind": "curve", "num_samples": num_samples, "cosine": cosine, "predicted": law[BALANCED]}


def _cosine(estimates: Tensor, exact: Tensor) -> Tensor:
    """[..., D] against [..., D]; 0 for an estimate that is 0."""
    lengths = estimates.norm(dim=-1) * exact.norm(dim=-1)
    return ((estimates * exact).sum(-1) / lengths).masked_fill(lengths == 0, 0.0)


def _check(checkpoint: Checkpoint, logit_dim: int, num_examples: int) -> None:
    found, dimension = checkpoint.logits.shape
    if dimension != logit_dim:
        raise ValueError(f"a checkpoint has K = {dimension} logits: expected logit_dim = {logit_dim}")
    if found < num_examples:
        raise ValueError(f"a checkpoint has {found} examples: expected {num_examples} for num_examples and batch_size")
