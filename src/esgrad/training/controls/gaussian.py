"""The estimator's exact mean plus Gaussian noise of its exact covariance, E g + C^{1/2} ξ with C = Var g, ξ ~ N(0, I).

Nobody is asked. It knows of the estimator what a gradient noise scale knows (arXiv 1812.06162), and a central limit:
where it trains otherwise than the estimator, noise of that size and shape is not the explanation (esgrad.laws).
"""

from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.gradients.shapings import has_counts_law
from esgrad.types import Tensor

MOST_LOGITS = 100  # an example's covariance has K² numbers, each an integral
JITTER = 1e-9  # of the mean variance: what quadrature leaves uncertain of a direction that hardly varies


def gradient(estimator: Estimator, logits: Tensor, targets: Tensor, variance: Tensor, normals: Tensor) -> Tensor:
    """Gradient [R, B, K] per example, to be ascended, at logits [R, B, K], targets [R, B], variance t [R] or [R, B].

    `normals` [R, B, K] is ξ. A factor of C by Cholesky serves as well as its symmetric root: the law is the same.
    """
    import torch

    from esgrad import laws as theory
    from esgrad.kernels.ordered_sum import ordered_sum

    t = variance.double().reshape(len(variance), -1)  # [R, 1] or [R, B]
    moments = theory.moments(estimator.noise, estimator.credit, logits, targets, t, whole=True)
    mean, covariance = theory.mean_and_covariance(estimator.shaping, moments, estimator.num_samples)
    unit = torch.eye(logits.shape[-1], dtype=covariance.dtype, device=covariance.device)
    scale = ordered_sum(covariance.diagonal(dim1=-2, dim2=-1), -1)[..., None] / logits.shape[-1]
    root = torch.linalg.cholesky_ex(covariance / scale.clamp(min=1e-300) + JITTER * unit).L
    noise = scale[..., 0].sqrt() * ordered_sum(root * normals.double()[..., None, :], -1)[..., 0]
    return (mean + noise).to(logits.dtype)


def refuses(estimator: Estimator, facts: Facts, per_example: bool, logit_dim: int) -> str | None:
    """Why there is no such twin, or None."""
    own = estimator.noise.EXACT.p.BLACKBOX
    if not (per_example and estimator.noise.INDEPENDENT and facts.name == own):
        where = "an example's logits" if per_example else "a batch or a network"
        return (
            f"no covariance law for {menu.name(estimator.noise)} noise at {where} on {facts.name}: "
            f"independent samples at an example's logits on {own} have one"
        )
    if not has_counts_law(estimator.shaping):
        return (
            f"no covariance law for the shaping {menu.name(estimator.shaping)}: those with weights of counts have one"
        )
    if logit_dim > MOST_LOGITS:
        return f"a covariance for each example is too dear at K = {logit_dim}: K ≤ {MOST_LOGITS} would do"
    return None
