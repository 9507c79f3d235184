"""Moments of gradient estimates against the gradient they estimate, each with a standard error.

Moments are U-statistics, as a plug-in square of a mean counts the mean's own noise: with n independent estimates g_i
of one gradient, |E g|² is estimated by (|Σg|² − Σ|g|²)/(n(n−1)) and tr Var g by what remains of the mean of |g|².
All are made of a few inner products, so that leaving out a draw (the jackknife: Efron & Stein 1981) costs nothing.
"""

import math
from collections.abc import Iterable
from statistics import pvariance
from typing import NamedTuple

import torch
from torch import Tensor


class Products(NamedTuple):
    """Inner products of n estimates g_i [n, M, D] of M gradients with their sum and with the references r [M, D]."""

    square: Tensor  # |g_i|² [n, M]
    along: Tensor  # g_i · Σg [n, M]
    onto: Tensor  # g_i · r [n, M]
    reference: Tensor  # |r|² [M]


def products(estimates: Tensor, reference: Tensor) -> Products:
    """Of estimates [n, M, D] and references [M, D], in float64."""
    estimates, reference = estimates.double(), reference.double()
    return Products(
        estimates.square().sum(-1),
        (estimates * estimates.sum(0)).sum(-1),
        (estimates * reference).sum(-1),
        reference.square().sum(-1),
    )


def joined(parts: Iterable[Products]) -> Products:
    """Those of several sets of gradients, side by side."""
    return Products(*(torch.cat(part, -1) for part in zip(*parts, strict=True)))


def moments(of: Products) -> dict[str, float]:
    """Cosines, relative bias and variance (`columns.QUALITY_COLUMNS`), with the standard errors `..._error`."""
    draws, total = len(of.square), of.along.sum(0)
    whole = _moments(of.square, of.onto, total, of.reference)
    without = []
    for draw in range(draws) if draws > 2 else ():
        kept = torch.arange(draws) != draw
        rest = total - 2 * of.along[draw] + of.square[draw]  # |Σg − g_i|²
        without.append(_moments(of.square[kept], of.onto[kept], rest, of.reference))
    errors = {
        f"{name}_error": math.sqrt(pvariance([one[name] for one in without]) * (draws - 1)) if without else math.nan
        for name in whole
    }
    return whole | errors


def squared_mean(draws: Tensor) -> Tensor:
    """The U-statistic of |E x|² from n independent draws [n, M, D]: [M], unbiased."""
    return _squared_mean(draws.square().sum(-1), draws.sum(0).square().sum(-1))


def _squared_mean(square: Tensor, total: Tensor) -> Tensor:
    """The same from |x_i|² [n, M] and |Σx|² [M]."""
    n = len(square)
    return (total - square.sum(0)) / (n * (n - 1))


def _moments(square: Tensor, onto: Tensor, total: Tensor, reference: Tensor) -> dict[str, float]:
    lengths = (square * reference).sqrt()  # [n, M]
    cosine = (onto / lengths).masked_fill(lengths == 0, 0.0).mean(0)  # [M]
    mean = _squared_mean(square, total)
    whole = reference.sum()
    bias = float((mean - 2 * onto.mean(0) + reference).sum() / whole)  # Σ|E g − r|², unbiased as well
    return {
        "cosine": float(cosine.mean()),
        "median_cosine": float(cosine.quantile(0.5)),
        "relative_bias": math.copysign(math.sqrt(abs(bias)), bias),
        "variance": float((square.mean(0) - mean).sum() / whole),
    }
