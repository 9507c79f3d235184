"""Gradient quality without training by the estimator: at checkpoints, against the exact gradient it estimates.

A cell is a checkpoint × t × N × (noise, shaping). It is measured at the logits of each example (level "example"), and
behind the chain rule, where a training meets it: the parameters' gradient on mini-batches (level "batch"), against the
exact arm pushed the same way. Beside each measurement stands what the law predicts: of an example
`esgrad.theory`, of a batch `esgrad.measurement.batch_law`.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from esgrad import menu, streams, theory
from esgrad.measurement.batch_law import BatchLaw
from esgrad.measurement.checkpoints import Checkpoint
from esgrad.measurement.moments import joined, moments, products
from esgrad.perturbation import KEEP, Perturbation
from esgrad.records import QUALITY_COLUMNS

MOST_BATCHES = 4  # mini-batches of a size that are looked at, one after the other in the examples


class Target(NamedTuple):
    """What an estimate is measured against: the exact arm's name, its gradients [E, K], the factor [E] on them."""

    name: str
    exact: Tensor
    factor: Tensor
    promised: bool  # whether the shaping says that this is its mean

    @property
    def gradient(self) -> Tensor:
        return self.factor[:, None] * self.exact


def measure(
    checkpoints: Sequence[Checkpoint],
    pairs: dict[str, list[str]],
    num_samples: Sequence[int],
    noise_variance: Sequence[float],
    num_examples: int,
    batch_size: Sequence[int],
    num_draws: int,
) -> pd.DataFrame:
    """Measure every checkpoint × t × N × (noise, shaping); `pairs` gives each noise's shapings, which share its draws.

    The estimates are made at the first `num_examples` examples of a checkpoint, which hold MOST_BATCHES mini-batches
    of each size at most; all its examples tell the noise scale of the data.
    """
    cells = list(product(checkpoints, noise_variance, pairs))
    rows = [
        row
        for at, t, noise in tqdm(cells, unit="cell", desc="gradient quality", mininterval=1)
        for row in _rows(at, t, noise, pairs[noise], num_samples, num_examples, batch_size, num_draws)
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
    noise: str,
    shapings: Sequence[str],
    num_samples: Sequence[int],
    num_examples: int,
    batch_size: Sequence[int],
    num_draws: int,
) -> Iterator[dict[str, Any]]:
    few = checkpoint.few(num_examples)
    module, law = menu.load("noises", noise), BatchLaw(few, variance)
    probability = float(_exact(few, module.EXACT["p"], variance, "value").mean())
    scales: dict[str, float] = {}
    for count in num_samples:
        wanted = {name: menu.load("shapings", name) for name in shapings}
        wanted = {name: each for name, each in wanted.items() if each.refuses(module, count) is None}
        if module.refuses(count, few.logits.shape[1]) or not wanted:
            continue
        found = estimates(few, module, wanted, count, variance, num_draws)
        for name, shaping in wanted.items():
            target = _target(few, module, shaping, count, variance)
            if target.name not in scales:
                scales[target.name] = _data_noise_scale(checkpoint, target.name, variance)
            words = {
                **_facts(few, num_draws),
                "noise_variance": float(variance),
                "probability": probability,
                "num_samples": count,
                "noise": noise,
                "shaping": name,
                "reference": target.name,
                "data_noise_scale": scales[target.name],
            }
            for level, size, numbers in _levels(few, law, noise, name, found[name], target, count, batch_size):
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
    law: BatchLaw,
    noise: str,
    shaping: str,
    found: Tensor,
    target: Target,
    num_samples: int,
    batch_size: Sequence[int],
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Level, batch size and the numbers of a cell, from its estimates [draws, E, K]."""
    words = law, noise, shaping, num_samples, target
    yield "example", 1, moments(products(found, target.gradient)) | _of_examples(*words)
    for size in batch_size:
        batches = [slice(i, i + size) for i in range(0, len(checkpoint.targets) - size + 1, size)][:MOST_BATCHES]
        references = torch.cat([checkpoint.push(target.gradient[None, batch], batch.start) for batch in batches])
        parts = [
            products(checkpoint.push(found[:, batch], batch.start)[:, None], reference[None])
            for batch, reference in zip(batches, references, strict=True)
        ]
        yield "batch", size, moments(joined(parts)) | _of_batches(*words, batches, references)


def _of_examples(law: BatchLaw, noise: str, shaping: str, num_samples: int, target: Target) -> dict[str, float]:
    """What the laws say of the examples one by one; NaN where none is known."""
    pair, place = (noise, shaping), law.pushed.place
    if not (theory.has_law(*pair) and theory.has_direction(*pair)):
        return dict.fromkeys(("predicted_cosine", "predicted_median_cosine", "predicted_variance"), math.nan)
    cosines = theory.mean_cosine(*pair, place, num_samples)
    variance = theory.gradient_variance(*pair, place, num_samples).sum() / target.gradient.square().sum()
    return {
        "predicted_cosine": float(cosines.mean()),
        "predicted_median_cosine": float(cosines.quantile(0.5)),
        "predicted_variance": float(variance),
    }


def _of_batches(
    law: BatchLaw, noise: str, shaping: str, num_samples: int, target: Target, batches: list[slice], references: Tensor
) -> dict[str, float]:
    """What it says of mini-batches, whose references are [M, d]; NaN where none is known."""
    pair = noise, shaping
    if not (theory.has_law(*pair) and theory.has_direction(*pair)):
        return dict.fromkeys(("predicted_cosine", "predicted_variance"), math.nan)
    each, mean = law.variance(*pair, num_samples), target.gradient
    total = sum(float(each[batch].sum()) / (batch.stop - batch.start) ** 2 for batch in batches)
    cosines = [math.nan]  # of a sum of shaped objectives nobody knows where it points
    if target.promised:
        cosines = [law.cosine(*pair, num_samples, law.aim(mean, batch), mean) for batch in batches]
    return {
        "predicted_cosine": sum(cosines) / len(cosines),
        "predicted_variance": total / float(references.double().square().sum()),
    }


def estimates(
    checkpoint: Checkpoint, noise: Any, shapings: dict[str, Any], num_samples: int, variance: float, num_draws: int
) -> dict[str, Tensor]:
    """Independent estimates [draws, E, K] for each shaping, all from the same noise: a draw is a seed of the stream."""
    fitness_of = menu.load("blackboxes", "zero_one").fitness
    logits, targets = checkpoint.logits, checkpoint.targets
    found: dict[str, list[Tensor]] = {name: [] for name in shapings}
    at_a_time = max(1, KEEP // (num_samples * logits.numel()))
    for start in range(0, num_draws, at_a_time):
        seeds = range(start, min(start + at_a_time, num_draws))
        point, t = logits.expand(len(seeds), *logits.shape), torch.full((len(seeds),), variance)
        q = Perturbation(noise, seeds, streams.Role.QUALITY, 0, num_samples, t)
        fitness = torch.cat([fitness_of(points, targets) for points in q.around(point)], 1)
        for name, shaping in shapings.items():
            found[name].append(q.gradient(shaping, fitness, logits.shape[1]))
    return {name: torch.cat(found[name]) for name in shapings}


def _target(checkpoint: Checkpoint, noise: Any, shaping: Any, num_samples: int, variance: float) -> Target:
    probability = _exact(checkpoint, noise.EXACT["p"], variance, "value")
    expected = [shaping.expects(noise, p, num_samples) for p in probability.tolist()]
    name = expected[0][0] if expected[0] else noise.EXACT["p"]
    factor = torch.tensor([pair[1] if pair else 1.0 for pair in expected], dtype=torch.float64)
    return Target(name, _exact(checkpoint, name, variance, "gradient"), factor, expected[0] is not None)


def _exact(checkpoint: Checkpoint, name: str, variance: float, wanted: str) -> Tensor:
    """`value` [E] or `gradient` [E, K] of an exact arm at the logits of each example, float64."""
    logits, t = checkpoint.logits[None].double(), torch.tensor([variance], dtype=torch.float64)
    return getattr(menu.load("exact", name), wanted)(logits, checkpoint.targets[None], t)[0]


def _data_noise_scale(checkpoint: Checkpoint, name: str, variance: float) -> float:
    """NaN where the mean is not to be seen in the noise."""
    mean, spread = noise_scale(checkpoint, _exact(checkpoint, name, variance, "gradient"))
    return spread / mean if mean > 0 else math.nan
