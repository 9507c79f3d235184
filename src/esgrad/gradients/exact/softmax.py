"""Exact gradient of the accuracy smoothed by Gumbel noise, ∇p(l) with p(l) = P(argmax(l + q) = y) = softmax(l/β)_y.

β = √(6t)/π, q of mean 0 and variance t a coordinate (Gumbel 1954; Maddison et al., arXiv 1411.0030); formed as
p·∇log p.
"""

from esgrad.gradients.exact import log_softmax
from esgrad.gradients.exact.log_softmax import costs
from esgrad.types import Tensor

__all__ = ["BLACKBOX", "USES_VARIANCE", "costs", "gradient", "value"]
BLACKBOX = "zero_one"
USES_VARIANCE = True


def value(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """p [R, B], what the gradient climbs; arguments as `gradient`."""
    return log_softmax.value(logits, targets, variance).exp()


def gradient(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """Gradient [R, B, K] per example, to be ascended, at logits [R, B, K], targets [R, B], variance t [R] or [R, B]."""
    return value(logits, targets, variance)[..., None] * log_softmax.gradient(logits, targets, variance)
