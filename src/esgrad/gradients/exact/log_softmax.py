"""Exact gradient of the log accuracy smoothed by Gumbel noise, ∇log softmax(l/β)_y = (onehot(y) − softmax(l/β))/β.

β = √(6t)/π. What success and maxrl tend to with Gumbel noise; at t = π²/6 it is backprop's gradient.
"""

from math import nan, pi

from esgrad.gradients.costs import Costs
from esgrad.types import Tensor

BLACKBOX = "zero_one"
USES_VARIANCE = True


def value(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """log p [R, B], what the gradient climbs; arguments as `gradient`."""
    log_p = (logits.detach() / _scale(logits, variance)).log_softmax(-1)
    return log_p.gather(-1, targets[..., None])[..., 0]


def gradient(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """Gradient [R, B, K] per example, to be ascended, at logits [R, B, K], targets [R, B], variance t [R] or [R, B]."""
    from torch.nn.functional import one_hot

    scale = _scale(logits, variance)
    return (one_hot(targets, logits.shape[-1]) - (logits.detach() / scale).softmax(-1)) / scale


def _scale(logits: Tensor, variance: Tensor) -> Tensor:
    """β [R, B or 1, 1], in the logits' type."""
    return ((6 * variance).sqrt() / pi).reshape(len(variance), -1, 1).to(logits.dtype)


def costs(batch_size: int) -> Costs:
    """Of a step: nobody is asked, so there are no queries to count."""
    return Costs(nan, batch_size, batch_size, batch_size)
