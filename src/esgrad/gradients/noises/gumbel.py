"""Gumbel noise, q = σ(G − γ)√6/π: mean 0, variance t, G standard Gumbel; argmax(l + q) is then a draw from a softmax.

P(argmax(l + q) = y) = softmax(l/β)_y with β = √(6t)/π (Gumbel 1954; Maddison et al., arXiv 1411.0030): at t = π²/6
∇log p is backprop's gradient of the log likelihood, so success and maxrl tend to that of minus the cross-entropy.
The density of z = (G − γ)√6/π has the score (π/√6)(1 − e^{−G}), which takes the place of z in the gradient.
"""

from collections.abc import Callable
from math import pi, sqrt

from esgrad.gradients.categorical import gumbel
from esgrad.gradients.exact import Arms, log_softmax, softmax
from esgrad.types import Tensor

DRAWS_PER_SAMPLE = 1.0
TOGETHER = 1
INDEPENDENT = True
UNCORRELATED = True
SUMS_TO_ZERO = False
PAIRS = False
PLAIN = False
RANK = None
FAMILY = "gumbel"
CLASSES = gumbel
EXACT = Arms(softmax, log_softmax)
SPREAD = pi / sqrt(6)  # the standard deviation of a standard Gumbel
EULER = 0.57721566490153286  # its mean, γ


def directions(normals: Callable[[int, int], Tensor], start: int, stop: int) -> Tensor:
    """Samples start to stop, of mean 0 and variance 1, [S, n, M, D], from a source of standard normals.

    G = −log(−log Φ(x)): in float64, as in float32 Φ(x) rounds to 1, and G to infinity, from x = 5.2 on.
    """
    from torch.special import log_ndtr

    normal = normals(start, stop)
    gumbel = -(-log_ndtr(normal.double())).log()
    return ((gumbel - EULER) / SPREAD).to(normal.dtype)


def score(directions: Tensor) -> Tensor:
    """−∇ log density at the directions: of mean 0 and variance π²/6."""
    return (SPREAD * (1 - (-(SPREAD * directions.double() + EULER)).exp())).to(directions.dtype)


def refuses(num_samples: int, dimension: int) -> str | None:
    """Why N samples of D coordinates cannot be drawn, or None."""
    return None
