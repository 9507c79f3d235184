"""Gaussian noise, for all classes at once, by one sum over the winner's height x.

With z = l/σ, W(x) = Π_k Φ(x − z_k), λ_k = φ/Φ at x − z_k, T = Σ_k λ_k and, for coefficients c, d = c/π and
D = Σ_a d_a λ_a,

    π_a             =  ∫ W λ_a dx
    Σ_a c_a v_{a,k} =  (1/σ) [ d_k ∫ W T λ_k dx − ∫ W D λ_k dx ]

as ∂π_a/∂z_k = −∫ W λ_a λ_k dx for k ≠ a, and a common shift changes nothing. The trapezoid sum converges geometrically:
below 1e-9 of the largest component where a step times √(2 ln K), the sharpness of the maximum, stays below ½.
"""

from math import ceil, log, sqrt

from esgrad.types import Tensor

REACH = 9.0  # σ on either side of the largest logit: what wins lower or higher has no probability to be drawn
STEP = 0.5


class Maximum:
    """The classes at logits [R, Q, K] under noise of standard deviation σ [R, Q]."""

    def __init__(self, logits: Tensor, sigma: Tensor) -> None:
        import torch

        from esgrad.gradients.quadrature import log_cdf_and_ratio
        from esgrad.kernels.ordered_sum import ordered_sum

        self.sigma = sigma.double()[..., None]  # [R, Q, 1]
        z = logits.double() / self.sigma
        z = (z - z.amax(-1, keepdim=True)).clamp(min=-4 * REACH)
        step = min(0.25, STEP / sqrt(2 * log(max(2, z.shape[-1]))))
        nodes = torch.arange(ceil(2 * REACH / step) + 1, dtype=torch.float64, device=z.device) * step - REACH
        log_cdf, self.ratio = log_cdf_and_ratio(nodes - z[..., None])  # [R, Q, K, nodes]
        exponent = ordered_sum(log_cdf, 2)  # [R, Q, 1, nodes]
        self.weight = (exponent - exponent.amax(-1, keepdim=True)).exp()
        share = ordered_sum(self.weight * self.ratio, -1)[..., 0]  # [R, Q, K]
        self.mass = ordered_sum(share, -1)  # [R, Q, 1]
        self.log_probability = share.log()

    def total(self, coefficients: Tensor, probability: Tensor) -> Tensor:
        """Σ_a c_a v_a; a class that cannot be drawn has no coefficient."""
        from esgrad.kernels.ordered_sum import ordered_sum

        d = (coefficients / (probability * self.mass)).where(coefficients != 0, 0.0)[..., None]
        all_classes = ordered_sum(self.ratio, 2)
        credited = ordered_sum(d * self.ratio, 2)
        inner = self.weight * self.ratio * (d * all_classes - credited)
        return ordered_sum(inner, -1)[..., 0] / self.sigma

    def norms(self, probability: Tensor) -> Tensor:
        """|v_a|², each class credited alone."""
        import torch

        alone = torch.eye(probability.shape[-1], dtype=torch.float64, device=probability.device)
        columns = [self.total(one.expand_as(probability), probability).square().sum(-1) for one in alone]
        return torch.stack(columns, -1).where(probability > 0, 0.0)


def of(logits: Tensor, sigma: Tensor) -> Maximum:
    """The classes at logits [R, Q, K] for σ [R, Q]."""
    return Maximum(logits, sigma)
