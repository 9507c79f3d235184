"""Standardised fitness, w = (f − f̄)/(N s) with s the standard deviation (0 where all f are equal): GRPO.

Shao et al., arXiv 2402.03300. With 0/1 fitness and independent noise its mean is c·∇p with k ~ Bin(N−1, p) and
c = E[√((N−1−k)/(k+1)) + √(k/(N−k))]: 1 at N = 2, where it equals leave_one_out, and in the limit 1/√(p(1−p)), which
makes it the gradient of 2 arcsin √p. On any other fitness it is a shaped objective.
"""

from collections.abc import Callable
from math import exp, lgamma, log, log1p, sqrt

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

ASCENDS = "arcsin √p"
FEWEST = 2
LINEAR = False
BY_RANK = False
NEEDS_NONNEGATIVE = False
WEIGHS_MISSES = True


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]."""
    centred = fitness - fitness[:, :1]  # exact where fitnesses are alike, as f − f̄ is not: f̄ is rounded
    centred = centred - centred.mean(1, keepdim=True)
    spread = centred.square().mean(1, keepdim=True).sqrt()
    return centred / (fitness.shape[1] * spread.masked_fill(spread == 0, 1.0))


def of_counts(hits: Tensor, misses: Tensor) -> tuple[Tensor, Tensor]:
    """√((N−r)/r)/N and −√(r/(N−r))/N, r the hits; 0 where all hit or none."""
    n = hits + misses
    return (misses / hits.clamp(min=1)).sqrt() / n, -(hits / misses.clamp(min=1)).sqrt() / n


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""
    if not noise.INDEPENDENT:
        return None
    n, p = num_samples, probability
    reach = 40 + 12 * sqrt(n * p * (1 - p))  # what lies farther from the mean has no weight in a float64
    likely = range(max(0, int(n * p - reach)), min(int(n), int(n * p + reach) + 1))
    return noise.EXACT.p, sum(_chance(k, n - 1, p) * (sqrt((n - 1 - k) / (k + 1)) + sqrt(k / (n - k))) for k in likely)


def _chance(hits: int, samples: float, p: float) -> float:
    """The binomial probability of so many hits."""
    if p in (0, 1):
        return float(hits == samples * p)
    ways = lgamma(samples + 1) - lgamma(hits + 1) - lgamma(samples - hits + 1)
    return exp(ways + hits * log(p) + (samples - hits) * log1p(-p))


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    return f"z_score is identically 0 at N = {num_samples}: N ≥ 2 would do" if num_samples < FEWEST else None
