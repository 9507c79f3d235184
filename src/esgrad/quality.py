"""Gradient quality without training: estimates at frozen logits against the exact gradient they estimate.

Moments are U-statistics, as a plug-in square of a mean counts the mean's own noise (statistics.md): with n estimates
g_i of one gradient, |E g|² is estimated by (|Σg|² − Σ|g|²)/(n(n−1)) and tr Var g by what remains of the mean of |g|².
"""

import math
from collections.abc import Iterator
from itertools import product
from statistics import pvariance
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from esgrad import menu, streams
from esgrad.perturbation import Perturbation
from esgrad.quadrature import log_probability_and_gradient
from esgrad.records import QUALITY_COLUMNS


def measure(
    pairs: dict[str, list[str]],
    logit_dims: list[int],
    samples: list[int],
    variances: list[float],
    spread: float,
    num_examples: int,
    num_draws: int,
) -> pd.DataFrame:
    """Measure every K × N × t × (noise, shaping); `pairs` gives each noise's shapings, which share its draws."""
    grid = list(product(logit_dims, variances, samples, pairs))
    rows = [
        row
        for logit_dim, variance, num_samples, noise in tqdm(grid, unit="cell", desc="gradient quality", mininterval=1)
        for row in _cell(noise, pairs[noise], logit_dim, num_samples, variance, spread, num_examples, num_draws)
    ]
    return pd.DataFrame(rows, columns=QUALITY_COLUMNS)


def frozen(logit_dim: int, num_examples: int, spread: float) -> tuple[Tensor, Tensor]:
    """Logits [B, K] ~ N(0, spread²) and, for each example, a target drawn from their own softmax [B]."""
    logits, uniform = (
        streams.normals([0], streams.Role.QUALITY, step, 0, 1, num_examples, logit_dim)[0, 0] for step in (0, 1)
    )
    gumbel = -(-torch.special.ndtr(uniform.double()).log()).log()  # the largest of logits + Gumbel is a softmax draw
    logits = spread * logits
    return logits, (logits + gumbel).argmax(1)


def _cell(
    noise: str,
    shapings: list[str],
    logit_dim: int,
    num_samples: int,
    variance: float,
    spread: float,
    num_examples: int,
    num_draws: int,
) -> Iterator[dict[str, Any]]:
    drawn = menu.load("noises", noise)
    if drawn.refuses(num_samples):
        return
    shaping = {name: menu.load("shapings", name) for name in shapings}
    wanted = {name: module for name, module in shaping.items() if module.refuses(noise, num_samples) is None}
    logits, targets = frozen(logit_dim, num_examples, spread)
    estimates = _estimates(drawn, wanted, logits, targets, num_samples, variance, num_draws)
    sigma = torch.full((num_examples,), math.sqrt(variance), dtype=torch.float64)
    log_probability, log_gradient = log_probability_and_gradient(logits, targets, sigma)
    probability = log_probability.exp()
    for name, module in wanted.items():
        expected = [module.expects(noise, p, num_samples) for p in probability.tolist()]
        reference = expected[0][0] if expected[0] else "smoothed"
        exact = log_gradient if reference == "log_smoothed" else probability[:, None] * log_gradient
        factor = torch.tensor([pair[1] if pair else 1.0 for pair in expected], dtype=torch.float64)
        yield {
            "logit_dim": logit_dim,
            "num_samples": num_samples,
            "noise_variance": float(variance),
            "space": "logits",
            "noise": noise,
            "shaping": name,
            "reference": reference,
            **moments(estimates[name].double(), factor[:, None] * exact),
            "num_draws": num_draws,
            "num_examples": num_examples,
        }


def _estimates(
    noise: Any,
    shapings: dict[str, Any],
    logits: Tensor,
    targets: Tensor,
    num_samples: int,
    variance: float,
    num_draws: int,
) -> dict[str, Tensor]:
    """Independent estimates [draws, B, K] for each shaping, all from the same noise; a draw is a step of the stream."""
    fitness_of = menu.load("blackboxes", "zero_one").fitness
    found: dict[str, list[Tensor]] = {name: [] for name in shapings}
    point, t = logits[None], torch.tensor([variance])
    for draw in range(num_draws):
        q = Perturbation(noise, [0], streams.Role.QUALITY, 2 + draw, num_samples, t)
        fitness = torch.cat([fitness_of(points, targets) for points in q.around(point)], 1)
        for name, shaping in shapings.items():
            found[name].append(q.weighted_sum(shaping.weights(fitness), logits.shape[1])[0])
    return {name: torch.stack(found[name]) for name in shapings}


def moments(estimates: Tensor, reference: Tensor) -> dict[str, float]:
    """Cosine, relative bias and variance of estimates [n, B, K] against a reference [B, K], see QUALITY_COLUMNS.

    Each with its standard error by the jackknife over the n draws (Efron & Stein 1981).
    """
    draws = len(estimates)
    whole = _moments(estimates, reference)
    keep = ~torch.eye(draws, dtype=torch.bool)
    without = [_moments(estimates[kept], reference) for kept in keep] if draws > 2 else []
    errors = {
        f"{name}_error": math.sqrt(pvariance([one[name] for one in without]) * (draws - 1)) if without else math.nan
        for name in whole
    }
    return whole | errors


def _moments(estimates: Tensor, reference: Tensor) -> dict[str, float]:
    square = reference.square().sum()
    lengths = estimates.norm(dim=-1) * reference.norm(dim=-1)  # [n, B]
    products = (estimates * reference).sum(-1)
    cosine = (products / lengths).masked_fill(lengths == 0, 0.0)
    bias = float(squared_mean(estimates - reference).sum() / square)
    variance = (estimates.square().sum(-1).mean(0) - squared_mean(estimates)).sum() / square
    return {
        "cosine": float(cosine.mean()),
        "relative_bias": math.copysign(math.sqrt(abs(bias)), bias),
        "variance": float(variance),
    }


def squared_mean(draws: Tensor) -> Tensor:
    """The U-statistic of |E x|² from n independent draws [n, B, K]: [B], unbiased."""
    n = len(draws)
    return (draws.sum(0).square().sum(-1) - draws.square().sum(-1).sum(0)) / (n * (n - 1))
