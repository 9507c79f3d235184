"""PGPE's rule: each coordinate learns its σ, σ ← σ·(1 + clip(η Σ_n w_n (z_n² − 1), ±.2)) with η = .1.

Sehnke et al. 2010 (Neural Networks 23, equation 13): the gradient of the expected fitness with respect to σ, here in
units of σ; rate and bound are those of EvoTorch's PGPE (arXiv 2302.12600). With mirrored noise, centered_ranks and
clip_up this is its default. The level is σ² at the start, the same for all.
"""

from esgrad.gradients.schedules import Last
from esgrad.gradients.schedules.snes import refuses as refuses
from esgrad.types import Tensor

LEARNS = True
RATE, BOUND = 0.1, 0.2


def variance(level: Tensor, last: Last | None, point: Tensor, progress: float) -> Tensor:
    """t [R, 1, d] from that of the step before and its estimate for ln σ."""
    if last is None or last.log_sigma is None:
        return level.view(-1, 1, 1).expand_as(point)
    return last.variance * (1 + (RATE * last.log_sigma).clamp(-BOUND, BOUND)).square()
