"""The estimator's exact mean plus Gaussian noise of its exact covariance, E g + C^{1/2} ξ with C = Var g, ξ ~ N(0, I).

Nobody is asked. It knows of the estimator what a gradient noise scale knows (arXiv 1812.06162), and a central limit:
where it trains otherwise than the estimator, noise of that size and shape is not the explanation (esgrad.theory).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SHAPINGS = ("raw", "leave_one_out", "success", "maxrl", "centered_ranks", "z_score")  # of esgrad.theory.covariance
MOST_LOGITS = 100  # an example's covariance has K² numbers, each an integral
JITTER = 1e-9  # of the mean variance: what quadrature leaves uncertain of a direction that hardly varies


def gradient(
    shaping: str, logits: Tensor, targets: Tensor, variance: Tensor, num_samples: int, normals: Tensor
) -> Tensor:
    """Gradient [R, B, K] per example, to be ascended, at logits [R, B, K], targets [R, B], variance t [R] or [R, B].

    `normals` [R, B, K] is ξ. A factor of C by Cholesky serves as well as its symmetric root: the law is the same.
    """
    from torch import eye
    from torch.linalg import cholesky_ex

    from esgrad.quadrature import ordered_sum
    from esgrad.theory import mean_and_covariance

    t = variance.double().reshape(len(variance), -1)  # [R, 1] or [R, B]
    mean, covariance = mean_and_covariance(shaping, logits, targets, t, num_samples)
    unit = eye(logits.shape[-1], dtype=covariance.dtype, device=covariance.device)
    scale = ordered_sum(covariance.diagonal(dim1=-2, dim2=-1), -1)[..., None] / logits.shape[-1]
    root = cholesky_ex(covariance / scale.clamp(min=1e-300) + JITTER * unit).L
    noise = scale[..., 0].sqrt() * ordered_sum(root * normals.double()[..., None, :], -1)[..., 0]
    return (mean + noise).to(logits.dtype)


def refuses(space: str, noise: str, shaping: str, blackbox: str, logit_dim: int) -> str | None:
    """Why there is no such twin, or None."""
    if (space, noise, blackbox) != ("logits", "independent", "zero_one"):
        return f"no covariance law for {space} × {noise} on {blackbox}: logits × independent on zero_one has one"
    if shaping not in SHAPINGS:
        return f"no covariance law for the shaping {shaping}: {', '.join(SHAPINGS[:-1])} and {SHAPINGS[-1]} have one"
    if logit_dim > MOST_LOGITS:
        return f"a covariance for each example is too dear at K = {logit_dim}: K ≤ {MOST_LOGITS} would do"
    return None
