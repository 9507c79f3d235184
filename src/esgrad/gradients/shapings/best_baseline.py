"""The constant baseline of least variance, estimated from the other samples: w = (f − b₋ₙ)/N, unbiased for ∇ E f.

b* = E[f|s|²]/E[|s|²], with s what a sample is credited with (Gaussian noise: q/σ), minimises tr Var of
1/(σN) Σ (f_n − b) s_n (Weaver & Tao 2001; Greensmith, Bartlett & Baxter 2004); for 0/1 fitness and Gaussian noise it is
p + tΔp/K. Here b₋ₙ = Σ_{m≠n} f_m|s_m|² / Σ_{m≠n} |s_m|², which does not know of sample n; where the others' |s|² are
all too small for the numbers at hand, their mean fitness. At N = 2 this is leave_one_out.
"""

from collections.abc import Callable

from esgrad.gradients.exact import Exact
from esgrad.gradients.noises import Noise
from esgrad.types import Tensor

ASCENDS = "p"
FEWEST = 2
LINEAR = True
BY_RANK = False
NEEDS_NONNEGATIVE = False


def weights(fitness: Tensor, norms: Callable[[], Tensor]) -> Tensor:
    """Fitness [R, N, M] to weights [R, N, M]."""
    import torch

    squares, count = norms(), fitness.shape[1]
    others = _of_others(squares)
    known = others > 0
    weighted = _of_others(fitness * squares) / torch.where(known, others, 1.0)
    return (fitness - torch.where(known, weighted, _of_others(fitness) / (count - 1))) / count


def _of_others(values: Tensor) -> Tensor:
    """Σ_{m≠n} v_m, [R, N, M], as those before and those behind: the sum less v_n would cancel where v_n is large."""
    import torch

    before, behind = torch.zeros_like(values), torch.zeros_like(values)
    before[:, 1:] = values[:, :-1].cumsum(1)
    behind[:, :-1] = values[:, 1:].flip(1).cumsum(1).flip(1)
    return before + behind


def expects(noise: Noise, probability: float, num_samples: float) -> tuple[Exact, float] | None:
    """The exact gradient and the factor that 0/1 fitness gives in expectation, or None: a shaped objective."""
    return (noise.EXACT.p, 1.0) if noise.UNCORRELATED else None


def refuses(noise: Noise, num_samples: int) -> str | None:
    """Why this combination estimates nothing useful, or None."""
    if num_samples < FEWEST:
        return f"best_baseline is made of the other samples: N = {num_samples}, N ≥ 2 would do"
    if noise.SUMS_TO_ZERO:
        return "noise with Σq = 0 cancels the centre: best_baseline would be raw, biased"
    return None
