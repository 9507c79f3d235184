"""Exact gradient of the log smoothed accuracy, ∇log p(l) with p(l) = P(argmax(l + q) = y), q ~ N(0, t·I).

What the maxrl and success shapings tend to as N grows (arXiv 2602.02710); unlike ∇p it does not vanish on
confidently wrong examples (esgrad.gradients.quadrature).
"""

from math import nan

from esgrad.gradients.costs import Costs
from esgrad.types import Tensor

BLACKBOX = "zero_one"
USES_VARIANCE = True


def value(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """log p [R, B], what the gradient climbs; arguments as `gradient`."""
    from esgrad.gradients.quadrature import log_probability_and_gradient

    sigma = variance.double().sqrt().reshape(len(variance), -1)  # [R, 1] or [R, B]
    return log_probability_and_gradient(logits, targets, sigma)[0].to(logits.dtype)


def gradient(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """Gradient [R, B, K] per example, to be ascended, at logits [R, B, K], targets [R, B], variance t [R] or [R, B]."""
    from esgrad.gradients.quadrature import log_probability_and_gradient

    sigma = variance.double().sqrt().reshape(len(variance), -1)  # [R, 1] or [R, B]
    _, gradient_of_log_p = log_probability_and_gradient(logits, targets, sigma)
    return gradient_of_log_p.to(logits.dtype)


def costs(batch_size: int) -> Costs:
    """Of a step: nobody is asked, so there are no queries to count."""
    return Costs(nan, batch_size, batch_size, batch_size)
