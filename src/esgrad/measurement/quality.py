"""Gradient quality without training by the estimator: at checkpoints, against the exact gradient it estimates.

A cell is a checkpoint × t × N × estimator. It is measured at the logits of each example (level "example"), and
behind the chain rule, where a training meets it: the parameters' gradient on mini-batches (level "batch"), against the
exact arm pushed the same way. Beside each measurement stands what the law predicts: of an example
`esgrad.laws`, of a batch `esgrad.measurement.batch_law`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from esgrad import menu
from esgrad.gradients.credits.noise import KEEP
from esgrad.gradients.exact import Exact
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.gradients.noises import Noise
from esgrad.gradients.shapings import Shaping
from esgrad.kernels.streams import Role
from esgrad.laws import gradient_variance, has_direction, has_law, has_place, mean_cosine
from esgrad.measurement.batch_law import BatchLaw
from esgrad.measurement.checkpoints import Checkpoint
from esgrad.measurement.columns import QUALITY_COLUMNS
from esgrad.measurement.moments import joined, moments, products
from esgrad.measurement.sampler import Sampler
from esgrad.tasks.blackboxes import zero_one

MOST_BATCHES = 4  # mini-batches of a size that are looked at, one after the other in the examples


class Target(NamedTuple):
    """What an estimate is measured against: the exact gradient, its values [E, K], the factor [E] on them."""

    arm: Exact
    exact: Tensor
    factor: Tensor
    promised: bool  # whether the shaping says that this is its mean

    @property
    def gradient(self) -> Tensor:
        return self.factor[:, None] * self.exact


def measure(
    checkpoints: Sequence[Checkpoint],
    estimators: Sequence[dict[str, Any]],
    num_samples: Sequence[int],
    noise_variance: Sequence[float],
    num_examples: int,
    batch_size: Sequence[int],
    num_draws: int,
) -> pd.DataFrame:
    """Measure every checkpoint × t × N × estimator; `estimators` are a `Sampler`'s words each.

    The estimates are made at the first `num_examples` examples of a checkpoint, which hold MOST_BATCHES mini-batches
    of each size at most; all its examples tell the noise scale of the data.
    """
    samplers = [Sampler.of(**words) for words in estimators]
    cells = list(product(checkpoints, noise_variance, samplers))
    rows = [
        row
        for at, t, sampler in tqdm(cells, unit="cell", desc="gradient quality", mininterval=1)
        for row in _rows(at, t, sampler, num_samples, num_examples, batch_size, num_draws)
    ]
    return pd.DataFrame(rows, columns=QUALITY_COLUMNS)


def noise_scale(checkpoint: Checkpoint, gradients: Tensor) -> tuple[float, float]:
    """|mean|² and tr Var of the examples' gradients, pushed from [E, K] at the logits to the parameters: V_data.

    Their ratio tr Var/|mean|² is the gradient noise scale B_data (arXiv 1812.06162, equation 2.9); U-statistics.
    """
    step = 64  # examples pushed at a time
    square, total = 0.0, torch.zeros(1)
    for start in range(0, len(gradients), step):
        pushed = checkpoint.push_each(gradients[start : start + step], start).double()
        square, total = square + float(pushed.square().sum()), total + pushed.sum(0)
    count = len(gradients)
    mean = (float(total.square().sum()) - square) / (count * (count - 1))
    return mean, square / count - mean


def _rows(
    checkpoint: Checkpoint,
    variance: float,
    sampler: Sampler,
    num_samples: Sequence[int],
    num_examples: int,
    batch_size: Sequence[int],
    num_draws: int,
) -> Iterator[dict[str, Any]]:
    few = checkpoint.few(num_examples)
    law = BatchLaw(few, sampler.noise, sampler.credit, variance) if has_place(sampler.noise, sampler.credit) else None
    probability = float(_exact(few, sampler.noise.EXACT.p.value, variance).mean())
    scales: dict[Any, float] = {}
    for count in num_samples:
        serving = sampler.serving(count, few.logits.shape[1])
        if not serving.shapings:
            continue
        found = estimates(few, serving, count, variance, num_draws)
        for name, shaping in serving.shapings.items():
            target = _target(few, sampler.noise, shaping, count, variance)
            if target.arm not in scales:
                scales[target.arm] = _data_noise_scale(checkpoint, target.arm, variance)
            words = {
                **_facts(few, num_draws),
                "noise_variance": float(variance),
                "probability": probability,
                "num_samples": count,
                "noise": menu.name(sampler.noise),
                "credit": menu.name(sampler.credit),
                "shaping": name,
                "reference": menu.name(target.arm),
                "data_noise_scale": scales[target.arm],
            }
            known = law if has_law(*serving[:2], shaping) and has_direction(*serving[:2], shaping) else None
            for level, size, numbers in _levels(few, known, shaping, found[name], target, count, batch_size):
                yield {**words, "level": level, "batch_size": size, **numbers}


def _facts(checkpoint: Checkpoint, num_draws: int) -> dict[str, Any]:
    job = checkpoint.job
    return {
        "dataset": job.dataset,
        "model": job.model,
        "stage": checkpoint.stage,
        "step": checkpoint.step,
        "logit_dim": checkpoint.logits.shape[1],
        "space": "logits",
        "num_draws": num_draws,
        "num_examples": len(checkpoint.targets),
        "spread": checkpoint.spread,
        "accuracy": checkpoint.accuracy,
    }


def _levels(
    checkpoint: Checkpoint,
    law: BatchLaw | None,
    shaping: Shaping,
    found: Tensor,
    target: Target,
    num_samples: int,
    batch_size: Sequence[int],
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Level, batch size and the numbers of a cell, from its estimates [draws, E, K]; predicted where there is a law."""
    predicted = dict.fromkeys(("predicted_cosine", "predicted_median_cosine", "predicted_variance"), math.nan)
    of_examples = predicted if law is None else _of_examples(law, shaping, num_samples, target)
    yield "example", 1, moments(products(found, target.gradient)) | of_examples
    for size in batch_size:
        batches = [slice(i, i + size) for i in range(0, len(checkpoint.targets) - size + 1, size)][:MOST_BATCHES]
        references = torch.cat([checkpoint.push(target.gradient[None, batch], batch.start) for batch in batches])
        parts = [
            products(checkpoint.push(found[:, batch], batch.start)[:, None], reference[None])
            for batch, reference in zip(batches, references, strict=True)
        ]
        of_batches = predicted if law is None else _of_batches(law, shaping, num_samples, target, batches, references)
        yield "batch", size, moments(joined(parts)) | of_batches


def _of_examples(law: BatchLaw, shaping: Shaping, num_samples: int, target: Target) -> dict[str, float]:
    """What the laws say of the examples one by one."""
    place = law.pushed.place
    cosines = mean_cosine(shaping, place, num_samples)
    variance = gradient_variance(shaping, place, num_samples).sum() / target.gradient.square().sum()
    return {
        "predicted_cosine": float(cosines.mean()),
        "predicted_median_cosine": float(cosines.quantile(0.5)),
        "predicted_variance": float(variance),
    }


def _of_batches(
    law: BatchLaw, shaping: Shaping, num_samples: int, target: Target, batches: list[slice], references: Tensor
) -> dict[str, float]:
    """What they say of mini-batches, whose references are [M, d]."""
    each, mean = law.variance(shaping, num_samples), target.gradient
    total = sum(float(each[batch].sum()) / (batch.stop - batch.start) ** 2 for batch in batches)
    cosines = [math.nan]  # of a sum of shaped objectives nobody knows where it points
    if target.promised:
        cosines = [law.cosine(shaping, num_samples, law.aim(mean, batch), mean) for batch in batches]
    return {
        "predicted_cosine": sum(cosines) / len(cosines),
        "predicted_variance": total / float(references.double().square().sum()),
    }


def estimates(
    checkpoint: Checkpoint, sampler: Sampler, num_samples: int, variance: float, num_draws: int
) -> dict[str, Tensor]:
    """Independent estimates [draws, E, K] for each shaping, all of the same samples: a draw is a seed of the stream."""
    logits, targets = checkpoint.logits, checkpoint.targets
    fitness = PerExample(zero_one, targets[None])
    found: dict[str, list[Tensor]] = {name: [] for name in sampler.shapings}
    at_a_time = max(1, KEEP // (num_samples * logits.numel()))
    for start in range(0, num_draws, at_a_time):
        seeds = range(start, min(start + at_a_time, num_draws))
        point, t = logits.expand(len(seeds), *logits.shape), torch.full((len(seeds),), variance)
        for name, estimate in sampler.estimates(num_samples, fitness, point, t, Key(seeds, Role.QUALITY, 0)).items():
            found[name].append(estimate)
    return {name: torch.cat(found[name]) for name in sampler.shapings}


def _target(checkpoint: Checkpoint, noise: Noise, shaping: Shaping, num_samples: int, variance: float) -> Target:
    probability = _exact(checkpoint, noise.EXACT.p.value, variance)
    expected = [shaping.expects(noise, p, num_samples) for p in probability.tolist()]
    arm = expected[0][0] if expected[0] else noise.EXACT.p
    factor = torch.tensor([pair[1] if pair else 1.0 for pair in expected], dtype=torch.float64)
    return Target(arm, _exact(checkpoint, arm.gradient, variance), factor, expected[0] is not None)


def _exact(checkpoint: Checkpoint, function: Callable[..., Tensor], variance: float) -> Tensor:
    """The value [E] or gradient [E, K] of an exact arm at the logits of each example, float64."""
    logits, t = checkpoint.logits[None].double(), torch.tensor([variance], dtype=torch.float64)
    return function(logits, checkpoint.targets[None], t)[0]


def _data_noise_scale(checkpoint: Checkpoint, arm: Exact, variance: float) -> float:
    """NaN where the mean is not to be seen in the noise."""
    mean, spread = noise_scale(checkpoint, _exact(checkpoint, arm.gradient, variance))
    return spread / mean if mean > 0 else math.nan
