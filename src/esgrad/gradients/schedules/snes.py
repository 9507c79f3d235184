"""SNES's rule: each coordinate learns its σ, σ ← σ·exp(½ η Σ_n w_n (z_n² − 1)), η = (3 + ln d)/(5√d).

Schaul, Glasmachers & Schmidhuber 2011 (algorithm 2, separable natural evolution strategies): the natural gradient of
the expected fitness with respect to ln σ. With the optimizer sgd, the shaping nes_utilities and sigma_power 1 this is
SNES. The level is σ² at the start, the same for all.
"""

from math import log, sqrt

from esgrad.gradients.facts import Facts
from esgrad.gradients.schedules import Last
from esgrad.gradients.spaces import Space
from esgrad.types import Tensor

LEARNS = True


def variance(level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
    """t [R, 1, d] from that of the step before and its estimate for ln σ."""
    if last is None or last.log_sigma is None:
        return level.view(-1, 1, 1).expand_as(point)
    dimension = point.shape[-1]
    eta = (3 + log(dimension)) / (5 * sqrt(dimension))
    return last.variance * (eta * last.log_sigma).exp()


def refuses(facts: Facts, space: Space, samples: bool) -> str | None:
    """Why this rule cannot serve there, or None."""
    if not samples or space.TAKES_LOGITS:
        return "σ is learnt for noise at the parameters: elsewhere another batch is another place"
    return None
