"""The law of a mini-batch's gradient behind the chain rule: its variance, its expected cosine, the N a cosine takes.

The estimate ĝ = Σ_b J_b g_b has mean m = Σ_b J_b E g_b and variance V = Σ_b tr(J_b C_b J_bᵀ), for these images and
labels: without the variance of the data. C_b is the covariance at the logits of b (`measurement.pushed` tells with what
error V is known). Along the unit vector r̂ of an exact gradient the noise is V∥ = Σ_b v_b·C_b v_b with v_b = J_bᵀr̂.
With probability P₀ no example has an estimate other than 0, and the cosine is 0. So, given that one has,

    E cos  =  (1 − P₀) E[X/√(X² + Y)]      X ~ N(m·r̂/(1−P₀), ·),  E X² = ((m·r̂)² + V∥)/(1−P₀)
                                           Y ~ χ²_D, up to a factor,  E Y = (|m|² − (m·r̂)² + V − V∥)/(1−P₀)

D = (tr S)²/tr S² for S = Σ_b J_b C_b J_bᵀ counts the dimensions of the noise: over z ~ N(0, I), z·S z has mean tr S and
variance 2 tr S². For one example at its logits this is the law of `theory.cosine`, there for each number of hits.
Error of E cos against simulation (K and N from 2 to 1,000, batches of 4 to 32, any stage): root mean square 0.01,
of MaxRL 0.02; beyond two standard errors of the simulation at most 0.02, of success 0.04 and of MaxRL 0.06. Where a
rare hit on one example outweighs the others ĝ is no Gaussian: there it was 0.1 too large or too small (MaxRL's weights
at batches of 32 with one example of p = 10⁻⁴, N up to 30,000). There E cos rises slowly and in steps, so that N* is off
by factors, and is not √(x/(1+x)) of x = N/N*(1/√2), from which it may lie 0.3 away.
"""

from collections.abc import Callable
from functools import cache
from math import exp, inf, log
from typing import NamedTuple

import torch
from scipy import optimize
from torch import Tensor

from esgrad import laws as theory
from esgrad.gradients.credits import Credit
from esgrad.gradients.noises import Noise
from esgrad.gradients.shapings import Shaping
from esgrad.laws.binomial import TINY
from esgrad.laws.cosine import expected_cosine, fewest
from esgrad.laws.example import Place
from esgrad.measurement.checkpoints import Checkpoint
from esgrad.measurement.pushed import Pushed

MOST = 1e15
SMALLEST = 1e-12  # cos² and 1 − cos² below that count as that
ALL = slice(0, None)


class Aim(NamedTuple):
    """The exact gradient of a batch, which an estimate is to point along."""

    batch: slice
    direction: Tensor  # r̂ [d]
    view: Tensor  # J_bᵀr̂ of all examples [E, K]
    place: Place  # along it, [E]


class BatchLaw:
    """The law at a checkpoint's examples under noise of variance t, credited so."""

    def __init__(self, checkpoint: Checkpoint, noise: Noise, credit: Credit, variance: float) -> None:
        self.checkpoint = checkpoint
        self.pushed = Pushed(checkpoint, noise, credit, variance)

    def variance(self, shaping: Shaping, num_samples: float) -> Tensor:
        """tr(J_b C_b J_bᵀ) of each example [E]: V/N of a mini-batch's variance (V_data + V/N)/B."""
        return theory.gradient_variance(shaping, self.pushed.whole, num_samples)

    def dimension(self, shaping: Shaping, num_samples: float, batch: slice = ALL) -> Tensor:
        """D of a batch's noise, from the scatter of the probes: relative error √(2/PROBES), some 0.2."""
        probed = theory.gradient_variance(shaping, self.pushed.probes, num_samples)[:, batch].sum(-1)
        return 2 * probed.mean().square() / probed.var()

    def aim(self, gradients: Tensor, batch: slice = ALL) -> Aim:
        """Along the sum over a batch of gradients [E, K] at the logits, pushed."""
        total = self._push(gradients, batch)
        direction = total / total.norm()
        (view,) = (changes.double() for changes in self.checkpoint.directional([direction]))
        return Aim(batch, direction, view, self.pushed.along(view))

    def cosine(self, shaping: Shaping, num_samples: float, aim: Aim, mean: Tensor) -> float:
        """E cos of the batch's estimate to what is aimed at; `mean` [E, K] is E g at the logits of each example.

        ValueError for a shaping without a law.
        """
        batch = aim.batch
        total, onto = self._push(mean, batch).square().sum(), (mean * aim.view)[batch].sum()
        noise_all = self.variance(shaping, num_samples)[batch].sum()
        noise_along = theory.gradient_variance(shaping, aim.place, num_samples)[batch].sum()
        heard = self._heard(shaping, num_samples, batch)
        signal = (onto / heard).square()
        along = ((onto.square() + noise_along) / heard - signal).clamp(min=0.0)
        across = (total - onto.square() + noise_all - noise_along).clamp(min=0.0) / heard
        return float(
            onto.sign() * heard * expected_cosine(signal, along, across, self.dimension(shaping, num_samples, batch))
        )

    def samples_needed(self, shaping: Shaping, cosine: float, aim: Aim, mean: Callable[[float], Tensor]) -> float:
        """The N, a real number from the fewest up, at which E cos is `cosine`; inf beyond MOST. `mean` is that of an N.

        The log odds of cos² are nearly a line of slope 1 in log N: steps along it until it is crossed, then brentq.
        """
        aimed = _log_odds(cosine)

        @cache
        def excess(log_n: float) -> float:
            return _log_odds(self.cosine(shaping, exp(log_n), aim, mean(exp(log_n)))) - aimed

        low = log(fewest(shaping, self.pushed.place))
        while excess(low) < 0:
            high = min(low + max(-1.1 * excess(low), 0.5), log(MOST))
            if excess(high) >= 0:
                return exp(optimize.brentq(excess, low, high, xtol=1e-7))
            if high == log(MOST):
                return inf
            low = high
        return exp(low)

    def _push(self, gradients: Tensor, batch: slice) -> Tensor:
        """The sum over a batch, [d]."""
        part = gradients[batch]
        return self.checkpoint.push(part[None], batch.start)[0].double() * len(part)

    def _heard(self, shaping: Shaping, num_samples: float, batch: slice) -> Tensor:
        """1 − P₀: the probability that an example of the batch has an estimate other than 0."""
        heard = theory.heard(shaping, self.pushed.place, num_samples)
        return -torch.expm1(torch.log1p(-heard[batch]).sum()).clamp(max=-TINY)


def _log_odds(cosine: float) -> float:
    square = min(max(cosine, 0.0) ** 2, 1 - SMALLEST)
    return log(max(square, SMALLEST) / (1 - square))
