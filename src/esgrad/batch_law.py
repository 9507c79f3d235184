"""The law of a mini-batch's pushed gradient: its expected cosine to the exact one, and the N that it takes.

With J_b from the logits of example b to the parameters, e_b its exact gradient, β_b the factor on it that the weights
give in expectation (`expects` of a shaping; 1 for raw) and C_b(N) the covariance of its estimate:

    E cos  ≈  m·G / (|G| √(|m|² + Σ_b tr J_b C_b J_bᵀ)),        m = Σ_b β_b J_b e_b,   G = Σ_b J_b e_b

for these images and labels, so without the variance of the data. (Success and maxrl weigh the examples otherwise than
∇log p does, until N ≫ 1/p for all of them: only then does m turn into G.) The parameters are too many for J_b C_b J_bᵀ;
its trace is the mean of v_b·C_b v_b over v_b = J_bᵀz, z ~ N(0, I) (Hutchinson 1989). C_b is a sum of multiples of I,
∇²p and ∇p∇pᵀ, so the law of tr C_b (`esgrad.theory`) gives v·C_b v when it is told |v|², v·∇²p v and (∇p·v)² in place
of K, Δp and |∇p|².
"""

from math import sqrt

import torch
from torch import Tensor

from esgrad import menu, streams, theory
from esgrad.checkpoints import Checkpoint
from esgrad.curvature import curvature
from esgrad.place import Place
from esgrad.quadrature import log_probability_and_gradient

PROBED = 2500  # P·K, which leaves the trace an error of some 2 %: one probe's is about 1/√K (measured),
FEWEST, MOST_PROBES = 16, 256  # and P within these
CURVED = 640  # P·K of the probes that are asked for v·∇²p v: it is dear, and at large K nothing beside |v|²
STEP = 0.03  # of a finite difference, in σ of the coordinate that moves most
FIRST_STEP = 2**31  # the probes' steps in the QUALITY stream of seed 0
LEAST, MOST = 2.0, 1e15
NOISE = "independent"


class BatchLaw:
    """What the law knows of a batch: a checkpoint's examples under noise of variance t at their logits."""

    def __init__(self, checkpoint: Checkpoint, variance: float) -> None:
        targets = checkpoint.targets
        at, log_gradient = place_without_pairs(checkpoint.logits, targets, variance)
        self.probability = at.probability
        arms = {"log_smoothed": log_gradient, "smoothed": self.probability[:, None] * log_gradient}
        self.exact = {arm: checkpoint.push(gradient[None])[0].double() * len(targets) for arm, gradient in arms.items()}
        self.gram = {}
        for arm, gradient in arms.items():
            each = checkpoint.push_each(gradient).double()  # [B, d]
            self.gram[arm] = each @ each.T
        self.seen = _seen(checkpoint, at, log_gradient, sqrt(variance))

    def arm(self, shaping: str) -> str:
        """The exact arm that the weights estimate."""
        return self._expects(shaping, 2)[0]

    def cosine(self, shaping: str, num_samples: float) -> float:
        """E cos of the pushed estimate to the exact gradient of the batch."""
        arm, factors = self._expects(shaping, num_samples)
        variance = theory.gradient_variance(NOISE, shaping, self.seen, num_samples).sum()
        gram = self.gram[arm]
        along = (factors @ gram).sum()
        return float(along / (gram.sum() * (factors @ gram @ factors + variance)).sqrt())

    def samples_needed(self, shaping: str, cosine: float) -> float:
        """The N, a real number from 2 up, from which that is `cosine`; inf beyond MOST."""
        low, high = LEAST, MOST
        if self.cosine(shaping, high) < cosine:
            return torch.inf
        for _ in range(40):
            middle = sqrt(low * high)
            low, high = (low, middle) if self.cosine(shaping, middle) >= cosine else (middle, high)
        return high

    def _expects(self, shaping: str, num_samples: float) -> tuple[str, Tensor]:
        noise, weights = menu.load("noises", NOISE), menu.load("shapings", shaping)
        pairs = [weights.expects(noise, p, num_samples) for p in self.probability.tolist()]
        return pairs[0][0], torch.tensor([factor for _, factor in pairs], dtype=torch.float64)


def place_without_pairs(logits: Tensor, targets: Tensor, variance: float) -> tuple[Place, Tensor]:
    """The place of logits [..., K], targets [...], and ∇log p [..., K]; what it says of mirrored pairs, dear to find at
    large K, is NaN."""
    known = curvature(logits, targets, sqrt(variance))
    nothing = torch.full_like(known.miss, torch.nan)
    square = known.gradient.square().sum(-1)
    of_a_hit = (known.log_probability, known.miss, square, known.laplacian, known.along)
    t = torch.full_like(known.miss, variance)
    return Place(logits.shape[-1], t, *of_a_hit, nothing, nothing, nothing), known.gradient


def _seen(checkpoint: Checkpoint, at: Place, log_gradient: Tensor, sigma: float) -> Place:
    """The place with |v|², v·∇²p v/p and (∇log p·v)² for K, Δp/p and |∇log p|²: means over the probes, [B]."""
    probes = _probes(checkpoint)  # [P, B, K]
    square = probes.square().sum(-1).mean(0)
    slope = (probes * log_gradient).sum(-1).square().mean(0)
    few = probes[: max(1, CURVED // log_gradient.shape[1])]
    bend = _curvature(checkpoint, few, sigma, log_gradient).mean(0)
    return at._replace(
        num_logits=square,
        relative_laplacian=bend * square / few.square().sum(-1).mean(0),
        log_gradient_square=slope,
    )


def _probes(checkpoint: Checkpoint) -> Tensor:
    """Jᵀz of each example for z ~ N(0, I) at the parameters, [P, B, K], as the derivative of J u in u along z."""
    stack = checkpoint.stack
    logits = stack(checkpoint.images[None])
    u = torch.zeros_like(logits, requires_grad=True)
    pushed = torch.autograd.grad(logits, stack.parameters, u, create_graph=True)
    size, count = stack.flat().shape[1], min(MOST_PROBES, max(FEWEST, PROBED // logits.shape[-1]))
    found = []
    for probe in range(count):
        z = streams.normals([0], streams.Role.QUALITY, FIRST_STEP + probe, 0, 1, 1, size)[0, 0]  # [1, d]
        found.append(torch.autograd.grad(pushed, u, stack.unflatten(z), retain_graph=True)[0][0])
    return torch.stack(found).double()


def _curvature(checkpoint: Checkpoint, v: Tensor, sigma: float, log_gradient: Tensor) -> Tensor:
    """v·∇²p v/p, [P, B], for v [P, B, K], by the difference of ∇log p: ∇²p/p = ∇²log p + ∇log p ∇log pᵀ."""
    step = STEP * sigma / v.abs().amax(-1, keepdim=True).clamp(min=1e-300)
    targets = checkpoint.targets.expand(v.shape[:2])
    ahead, behind = (
        (log_probability_and_gradient(checkpoint.logits + shift * v, targets, sigma)[1] * v).sum(-1)
        for shift in (step, -step)
    )
    return (ahead - behind) / (2 * step[..., 0]) + (log_gradient * v).sum(-1) ** 2
