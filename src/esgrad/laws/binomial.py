"""Means over the number of hits r ~ Binomial(N, p), to about ten digits, for N from 1 to 10⁹ and beyond, and any p.

Counted is the rarer outcome. Where its distribution is narrow, every count that matters is a node; where it is wide,
NODES of them stand for all: a trapezoid sum over a smooth bell converges geometrically.
"""

import torch
from torch import Tensor

from esgrad.kernels.ordered_sum import ordered_sum

NODES = 128
REACH = 7.0  # standard deviations on either side of the mean, and MORE counts for the tail of a narrow one
MORE = 12.0
TINY = 1e-300


def hits(log_probability: Tensor, miss: Tensor, num_samples: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Hits r, misses N − r and their weights (which sum to 1), each [NODES, ...], of N samples.

    log p, 1 − p (a number of its own, so that neither is lost where it is tiny) and N broadcast. N may be any real
    number from 1 on: P(r) ∝ (N choose r) p^r (1−p)^(N−r) for r = 0, …, ⌈N⌉, which is continuous in N and the binomial
    distribution at whole ones.
    """
    n = torch.as_tensor(num_samples, dtype=torch.float64, device=miss.device)
    log_p, q, n = torch.broadcast_tensors(log_probability, miss.clamp(min=TINY), n)
    hits_are_rare = q >= 0.5
    log_rare, log_common = torch.where(hits_are_rare, log_p, q.log()), torch.where(hits_are_rare, q.log(), log_p)
    mean, common_mean = n * log_rare.exp(), n * log_common.exp()
    reach = REACH * (mean * log_common.exp()).sqrt() + MORE
    low = (mean - reach).floor().clamp(min=0.0)
    high = torch.minimum((mean + reach).ceil(), n.ceil())
    narrow = high - low < NODES
    nodes = min(NODES, int(n.clamp(max=NODES).max().ceil()) + 1) if n.numel() else NODES
    index = torch.arange(nodes, dtype=torch.float64, device=q.device).view(-1, *[1] * q.ndim)
    count = low + index * torch.where(narrow, 1.0, (high - low) / (NODES - 1))
    growth = ((n - count + 1).clamp(min=0.0) / count.clamp(min=1.0)).log() + (log_rare - log_common)  # P(c)/P(c − 1)
    log_weight = torch.where(index == 0, 0.0, growth).cumsum(0)
    if not narrow.all():
        log_weight = torch.where(narrow, log_weight, _log_bell(count, n, mean, common_mean))
    log_weight = torch.where(count > high, -torch.inf, log_weight)
    weight = (log_weight - log_weight.amax(0)).exp()
    weight = weight / ordered_sum(weight, 0)
    count = torch.minimum(count, high)
    rest = (n - count).clamp(min=0.0)
    return torch.where(hits_are_rare, count, rest), torch.where(hits_are_rare, rest, count), weight


def _log_bell(count: Tensor, n: Tensor, mean: Tensor, other_mean: Tensor) -> Tensor:
    """log P(count) by Stirling's series, up to a constant; made of count − mean, so that N = 10⁹ leaves ten digits."""
    count = count.clamp(min=0.5)
    other = (n - count).clamp(min=0.5)
    away = count - mean
    deviance = count * torch.log1p((away / mean.clamp(min=TINY)).clamp(min=-1 + 1e-12))
    deviance = deviance + other * torch.log1p((-away / other_mean.clamp(min=TINY)).clamp(min=-1 + 1e-12))
    return -deviance - 0.5 * (count.log() + other.log()) - (1 / count + 1 / other) / 12
