"""Exact gradient of the marginal log-likelihood of a sum of digits, ∇log P(Σ_i a_i = y) with a_i ~ softmax(l_i).

The digits are summed out by a convolution (`blackboxes.digit_sum.accepted`), as in Manhaeve et al., arXiv 1805.10872.
What success and maxrl tend to with Gumbel noise of t = π²/6 credited with the class; it has to know the sum and how the
digits make it.
"""

from math import nan

from esgrad.gradients.costs import Costs
from esgrad.types import Tensor

BLACKBOX = "digit_sum"
USES_VARIANCE = False


def value(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """log P [R, B], what the gradient climbs; arguments as `gradient`."""
    return _log_probability(logits.detach(), targets).to(logits.dtype)


def gradient(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """Gradient [R, B, 10·k] per example, to be ascended, at logits [R, B, 10·k], sums [R, B]; without variance."""
    import torch

    with torch.enable_grad():
        point = logits.detach().double().requires_grad_()
        (slope,) = torch.autograd.grad(_log_probability(point, targets).sum(), point)
    return slope.to(logits.dtype)


def costs(batch_size: int) -> Costs:
    """Of a step: nobody is asked, so there are no queries to count."""
    return Costs(nan, batch_size, batch_size, batch_size)


def _log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """log P, float64; a sum of no more than 1e-300 has no gradient left."""
    from esgrad.tasks.blackboxes import digit_sum

    shares = logits.double().unflatten(-1, (-1, digit_sum.BASE)).softmax(-1)
    return digit_sum.accepted(shares, targets).clamp(min=1e-300).log()
