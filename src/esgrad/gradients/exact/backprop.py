"""Exact gradient of the log-likelihood log softmax(l)_y at the logits: onehot(y) − softmax(l).

What ordinary training ascends: minus the cross-entropy (softmax and its gradient: Bridle 1990).
"""

from esgrad.gradients.costs import Costs
from esgrad.types import Tensor

BLACKBOX = "cross_entropy"
USES_VARIANCE = False


def value(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """The log likelihood [R, B], what the gradient climbs; arguments as `gradient`."""
    return logits.detach().log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def gradient(logits: Tensor, targets: Tensor, variance: Tensor) -> Tensor:
    """Gradient [R, B, K] per example, to be ascended, at logits [R, B, K], targets [R, B]; without variance."""
    from torch.nn.functional import one_hot

    return one_hot(targets, logits.shape[-1]) - logits.detach().softmax(dim=-1)


def costs(batch_size: int) -> Costs:
    """Of a step: every example's label judges it once."""
    return Costs(batch_size, batch_size, batch_size, batch_size)
