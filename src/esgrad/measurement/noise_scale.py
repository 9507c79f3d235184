"""The gradient noise of every method of a task, each at the same networks: checkpoints of its backprop.

At a network, g is a method's gradient at the parameters, as its training makes it: on a mini-batch of B images drawn
for it, and with N samples of its own. Its noise relative to its signal,

    x  =  tr Var g / |E g|²  =  B_noise/B,     B_noise = B_data + B_ES/N          (B_simple of arXiv 1812.06162)

decides how many steps a training needs if that law holds: S ∝ 1 + x. Nothing is fitted and nobody is trained.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from esgrad.gradients.spaces import Place
from esgrad.kernels.streams import Role, permutation
from esgrad.measurement.checkpoints import copies, detached
from esgrad.measurement.columns import NOISE_SCALE_COLUMNS
from esgrad.tasks.data import Data, split
from esgrad.tasks.stack import Stack
from esgrad.training.job import FIRST_TUNING_SEED, Job
from esgrad.training.loop import Ascent, train

SEED = FIRST_TUNING_SEED  # of the network that is looked at: one that nothing reports
TOGETHER = 64  # gradients made at a time
UNKNOWN_MEAN = 4  # times as many draws where the mean has to be found in the noise, too


class Here(NamedTuple):
    """A network, how many steps it has seen, and the training images [E, ...] with their targets [E]."""

    step: int
    network: Stack
    images: Tensor
    targets: Tensor


def measure(jobs: Sequence[Job], learning_rate: float, data: Data, num_draws: int) -> pd.DataFrame:
    """A row for each cell of a task's jobs and each checkpoint of its backprop, trained with this learning rate.

    Controls are left out: their noise is their twin's. ValueError where no job is backprop's.
    """
    backprop = next((job for job in jobs if job.exact == "backprop"), None)
    if backprop is None:
        raise ValueError("noise_scale measures at checkpoints of backprop: the experiment has to name it as a method")
    tried = [job for job in jobs if job.control is None]
    places = list(product(checkpoints(backprop, learning_rate, data), tried))
    rows = [
        row
        for here, job in tqdm(places, unit="place", desc="noise scale", mininterval=1)
        for row in _rows(job, here, num_draws)
    ]
    return pd.DataFrame(rows, columns=list(NOISE_SCALE_COLUMNS)).astype(NOISE_SCALE_COLUMNS)


def checkpoints(job: Job, learning_rate: float, data: Data) -> list[Here]:
    """One run's network at the start and after 10, 32, 100, 316, … steps."""
    wanted = [0, *(step for half in range(2, 20) if (step := round(10 ** (half / 2))) < job.max_steps)]
    members = split(data, SEED)[0]
    images, targets = data.images[members].float() / data.scale, data.targets[members]
    kept: list[Here] = []

    def watch(step: int, stack: Stack) -> None:
        if step in wanted:
            kept.append(Here(step, detached(stack), images, targets))

    groups = [(job.noise_variance[0], learning_rate)]
    for _ in train(job, data, None, groups, [SEED], max(1, *wanted), "cpu", ends_only=True, watch=watch):
        pass
    return kept


def gradients(job: Job, num_samples: int | None, variance: float | None, here: Here, num_draws: int) -> Tensor:
    """Independent gradients [draws, d] at a network's parameters, each on a mini-batch and with noise of its own."""
    batches, found = _batches(len(here.targets), job.batch_size, num_draws), []
    for start in range(0, num_draws, TOGETHER):
        seeds = range(start, min(start + TOGETHER, num_draws))
        at = _place(job, here, batches[start : seeds.stop])
        level = torch.full((len(seeds),), math.nan if variance is None else variance)
        ascent = Ascent(job, num_samples, seeds, level, job.steps(num_samples))
        with torch.no_grad():
            direction = ascent(at, here.step + 1)
        found.append(_flat(at.push(direction)))
    return torch.cat(found)


def mean_gradient(job: Job, num_samples: int | None, variance: float | None, here: Here) -> Tensor | None:
    """The mean of `gradients` [d] where it is known, from all training images: of exact gradients, and of shapings of
    0/1 fitness at the logits that promise one. Else None."""
    total = torch.zeros(1, dtype=torch.float64)
    for part in torch.arange(len(here.targets)).split(2**12):
        at = _place(job, here, part[None])
        t = torch.full((1,), math.nan if variance is None else variance)
        if (expected := job.resolved_method.expects(at, num_samples, t)) is None:
            return None
        total = total + _flat(at.push(expected))[0] * (len(part) / len(here.targets))
    return total


def relative_noise(gradients: Tensor, mean: Tensor | None = None) -> dict[str, float]:
    """tr Var g/|E g|² of independent gradients [n, d], and its standard error (jackknife).

    Where the mean [d] is not known, |E g|² is a U-statistic; where that lies below three of its standard errors, no
    mean is to be seen in the noise, and NaN is said. What is left has been selected: near that threshold the signals
    that are seen are those that came out too large, by a quarter on average if the true one is three standard errors,
    by more if it is less. Their noise, and what is predicted from it, is rather too small: a lower bound.
    """
    n = len(gradients)
    square, total = gradients.square().sum(1), gradients.sum(0)  # [n], [d]
    sums = square.sum() - square  # of all but one, as what follows
    if mean is None:
        rest = (total.square().sum() - 2 * gradients @ total) + square  # |Σg − g_i|²
        means = (rest - sums) / ((n - 1) * (n - 2))
        signal = float((total.square().sum() - square.sum()) / (n * (n - 1)))
    else:
        means = mean.square().sum().expand(n)
        signal = float(means[0])
    if signal <= 3 * _jackknife(means):
        return {"relative_noise": math.nan, "error": math.nan}
    return {"relative_noise": float(square.mean()) / signal - 1, "error": _jackknife(sums / (n - 1) / means)}


def _rows(job: Job, here: Here, num_draws: int) -> Iterator[dict[str, Any]]:
    words = {column: getattr(job, column) for column in NOISE_SCALE_COLUMNS if hasattr(job, column)}
    for num_samples, variance, reason in job.cells():
        if reason is None:
            mean = mean_gradient(job, num_samples, variance, here)
            draws = num_draws if mean is not None else UNKNOWN_MEAN * num_draws
            found = gradients(job, num_samples, variance, here, draws)
            cell = {"num_samples": num_samples, "noise_variance": variance, "step": here.step, "num_draws": draws}
            yield words | cell | relative_noise(found, mean)


@cache
def _batches(length: int, batch_size: int, count: int) -> Tensor:
    """The same mini-batches for all: places of images, [count, B]."""
    return torch.stack([permutation(draw, Role.QUALITY, 0, length)[:batch_size] for draw in range(count)])


def _place(job: Job, here: Here, index: Tensor) -> Place:
    """The job's space at copies of a network, each with the images of a row of `index` [n, B]."""
    network = copies(here.network, len(index))
    return job.resolved_method.space.place(network, here.images[index], here.targets[index], job.task.blackbox)


def _flat(gradients: Sequence[Tensor]) -> Tensor:
    """Gradients [n, shape] of each parameter as vectors [n, d]."""
    return torch.cat([gradient.detach().flatten(1) for gradient in gradients], 1).double()


def _jackknife(left_out: Tensor) -> float:
    """The standard error of a statistic from its values [n] without each draw in turn (Efron & Stein 1981)."""
    return math.sqrt((len(left_out) - 1) * float(left_out.var(correction=0)))
