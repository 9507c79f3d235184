"""Hit rate: t grows where more than half of the samples hit and falls where fewer do; the level is where it starts.

Rechenberg's success rule (1973) with ½ for ⅕, as p(1−p), the variance of the fitness, is largest there. It uses what
the black box has said already and asks no queries of its own.
"""

from esgrad.gradients.facts import Facts
from esgrad.gradients.schedules import Last
from esgrad.gradients.schedules.spread import squared
from esgrad.gradients.spaces import Space
from esgrad.types import Tensor

LEARNS = False
WANTED = 0.5
GAIN = 0.1  # of a step, on log t
FARTHEST = 100.0  # σ stays between 1/100 and 100 times the spread of the logits: all misses, or noise alone, no farther


def variance(level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
    """t [R] from that of the step before [R] and the share of its samples that hit [R]."""
    if last is None:
        return level
    spread = squared(point).double().mean(-1).to(point.dtype)  # [R]
    moved = last.variance * (GAIN * (last.mean_fitness - WANTED)).exp()
    return moved.clamp(spread / FARTHEST**2, spread * FARTHEST**2)


def refuses(facts: Facts, space: Space, samples: bool) -> str | None:
    """Why this rule cannot serve there, or None."""
    if not samples:
        return "hit_rate follows the hits of samples, and none are drawn here"
    if not space.PER_EXAMPLE:
        return "hit_rate is for noise at each example's logits; elsewhere t is fixed"
    return None if facts.binary else f"hit_rate needs a fitness of hits and misses, and {facts.name} is none"
