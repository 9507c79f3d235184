"""Gumbel noise leads to a softmax: π = softmax(l/β) with β = σ√6/π, and v_a = (onehot(a) − π)/β.

Gumbel 1954; Maddison et al., arXiv 1411.0030. Credited so, raw fitness is REINFORCE (Williams 1992) on the class.
"""

from dataclasses import dataclass
from math import pi, sqrt

from esgrad.types import Tensor


@dataclass(frozen=True)
class Softmax:
    """The classes at logits [R, Q, K]; β [R, Q, 1]."""

    log_probability: Tensor
    beta: Tensor

    def total(self, coefficients: Tensor, probability: Tensor) -> Tensor:
        """(c − π Σc)/β."""
        from esgrad.kernels.ordered_sum import ordered_sum

        return (coefficients - probability * ordered_sum(coefficients, -1)) / self.beta

    def norms(self, probability: Tensor) -> Tensor:
        """(1 − 2π_a + Σπ²)/β²."""
        from esgrad.kernels.ordered_sum import ordered_sum

        return (1 - 2 * probability + ordered_sum(probability * probability, -1)) / self.beta**2


def of(logits: Tensor, sigma: Tensor) -> Softmax:
    """The classes at logits [R, Q, K] for σ [R, Q]."""
    beta = (sigma.double() * (sqrt(6) / pi))[..., None]
    return Softmax(logits.double() / beta, beta)
