"""What the variance laws (`esgrad.theory`) say of an estimator at a checkpoint, before and after the chain rule.

At the logits the laws are exact. Of a mini-batch's mean behind the Jacobians J_b of its examples,

    tr Var ĝ = 1/B² Σ_b tr(J_b C_b J_bᵀ)        C_b the covariance of the estimate at the logits of b

For independent noise C_b is a sum of multiples of I, ∇²p and ∇p∇pᵀ, so the law of tr C_b gives tr(J_b C_b J_bᵀ) when
it is told |J|², tr(J ∇²p Jᵀ) and |J∇p|² in place of K, Δp and |∇p|²: exactly for K ≤ 100; beyond, ∇²p is taken as
what it is along ∇p and as isotropic across, and |J|² is the mean over random signs. So is E[qqᵀ] of a mirrored pair, at
any K.
The estimate's noise along the gradient r = E ĝ is signal, too; with probability P₀ no example has an estimate other
than 0, and the cosine is 0:

    E cos² ≈ (1 − P₀) (|r|² + r̂ᵀ Var ĝ r̂) / (|r|² + tr Var ĝ)

A ratio of means: where few examples have one at all, the cosine may come out a tenth too large.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from esgrad import streams, theory
from esgrad.binomial import TINY
from esgrad.checkpoints import Checkpoint
from esgrad.cosine import DIRECTIONS, MOMENTS
from esgrad.curvature import second_order
from esgrad.place import Place
from esgrad.quadrature import log_probability_and_gradient

EXACT_UP_TO = 100  # logits; beyond, neither J nor ∇²p is written out
PROBES = 16  # random signs that estimate |J|² beyond (Hutchinson 1990)
UNKNOWN = {"predicted_cosine": math.nan, "predicted_variance": math.nan}


def known(noise: str, shaping: str) -> bool:
    """Whether both laws, of the variance and of the cosine, know this pair."""
    return theory.has_law(noise, shaping) and theory.has_direction(noise, shaping)


class Prediction:
    """The laws at one checkpoint and one t; what they need of the network is worked out once."""

    def __init__(self, checkpoint: Checkpoint, variance: float) -> None:
        logits, targets = checkpoint.logits, checkpoint.targets
        self.checkpoint = checkpoint
        self.place = theory.place(logits, targets, variance)
        sigma, small = torch.tensor(variance, dtype=torch.float64).sqrt(), logits.shape[1] <= EXACT_UP_TO
        _, self.slope = log_probability_and_gradient(logits, targets, sigma)  # ∇log p [E, K]
        self.bend = second_order(logits, targets, sigma)[-1] if small else None  # ∇²p/p [E, K, K]
        self.pushed = self._pushed()

    def at_logits(self, noise: str, shaping: str, num_samples: int, reference: Tensor) -> dict[str, float]:
        """Of the examples [E] one by one; `reference` [E, K] is what the estimate is measured against.

        NaN where no law is known; the keys are columns of `esgrad.records.QUALITY_COLUMNS`.
        """
        if not known(noise, shaping):
            return UNKNOWN | {"predicted_median_cosine": math.nan}
        squares = theory.squared_cosine(noise, shaping, self.place, num_samples)
        total = theory.gradient_variance(noise, shaping, self.place, num_samples).sum()
        return {
            "predicted_cosine": math.sqrt(squares.mean()),
            "predicted_median_cosine": math.sqrt(squares.quantile(0.5)),
            "predicted_variance": float(total / reference.square().sum()),
        }

    def of_batches(
        self, noise: str, shaping: str, num_samples: int, batches: Sequence[slice], references: Tensor
    ) -> dict[str, float]:
        """Of the parameters' gradient on mini-batches; `references` [M, d] are the exact arm's on each."""
        if not known(noise, shaping):
            return UNKNOWN
        pushed, silent = self.pushed_variance(noise, shaping, num_samples), self._silent(noise, shaping, num_samples)
        variances, squares = [], []
        for batch, reference in zip(batches, references.double(), strict=True):
            size, square = batch.stop - batch.start, reference.square().sum()
            along = self._along(self.checkpoint.directional(reference / square.sqrt()).double())
            share = theory.gradient_variance(noise, shaping, along, num_samples)[batch].sum() / size**2
            variances.append(pushed[batch].sum() / size**2)
            squares.append((1 - silent[batch].prod()) * (square + share) / (square + variances[-1]))
        return {
            "predicted_cosine": math.sqrt(torch.stack(squares).mean()),
            "predicted_variance": float(torch.stack(variances).sum() / references.double().square().sum()),
        }

    def pushed_variance(self, noise: str, shaping: str, num_samples: int) -> Tensor:
        """tr(J_b C_b J_bᵀ) of each example [E]: V/N of a mini-batch's variance (V_data + V/N)/B."""
        return theory.gradient_variance(noise, shaping, self.pushed, num_samples)

    def _silent(self, noise: str, shaping: str, num_samples: int) -> Tensor:
        """The probability that an example's estimate is 0, [E]."""
        weight, _, along, across = MOMENTS[DIRECTIONS[noise, shaping]](self.place, torch.tensor(float(num_samples)))
        directed = weight.masked_fill(~(along + across).isfinite(), 0.0).sum(0)
        return (1 - directed).clamp(min=0.0)

    def _pushed(self) -> Place:
        """The place as it is seen behind the Jacobians."""
        slope = self.checkpoint.push_each(self.slope).double().square().sum(-1)
        if self.bend is None:
            signs = streams.normals([0], streams.Role.QUALITY, 1, 0, PROBES, *self.slope.shape)[0].sign()
            square = torch.stack([self.checkpoint.push_each(v).double().square().sum(-1) for v in signs]).mean(0)
            return self._seen(
                square, self._across(self.place.relative_laplacian, self.place.along, square, slope), slope
            )
        unit = torch.eye(self.slope.shape[1])[:, None]  # [K, 1, K]
        rows = (self.checkpoint.push(unit, example) for example in range(len(slope)))  # J_b of one example [K, d]
        gram = torch.stack([(row @ row.T).double() for row in rows])  # [E, K, K]
        return self._seen(gram.diagonal(dim1=-2, dim2=-1).sum(-1), (gram * self.bend).sum((-2, -1)), slope)

    def _along(self, direction: Tensor) -> Place:
        """The place as it is seen along a direction [E, K] at the logits."""
        square, slope = direction.square().sum(-1), (direction * self.slope).sum(-1).square()
        if self.bend is None:
            return self._seen(
                square, self._across(self.place.relative_laplacian, self.place.along, square, slope), slope
            )
        return self._seen(square, torch.einsum("ej,ejk,ek->e", direction, self.bend, direction), slope)

    def _across(self, trace: Tensor, along: Tensor, square: Tensor, slope: Tensor) -> Tensor:
        """tr(J A Jᵀ) [E], A a matrix of that trace, `along` in the gradient's direction v̂ and alike across it."""
        place = self.place
        part = slope / place.log_gradient_square.clamp(min=TINY)  # |J v̂|²
        return along * part + (trace - along) / (place.num_logits - 1) * (square - part)

    def _seen(self, square: Tensor, bend: Tensor, slope: Tensor) -> Place:
        """The place with |J|², tr(J ∇²p Jᵀ)/p and |J∇log p|² for K, Δp/p and |∇log p|², each [E]."""
        single = self._across(self.place.single_square, self.place.single_along, square, slope)
        changed: dict[str, Any] = {"num_logits": square, "relative_laplacian": bend, "log_gradient_square": slope}
        return self.place._replace(**changed, single_square=single)
