"""What the laws know of examples behind the chain rule: a `Place` as their Jacobians J show it.

For independent noise the covariance C of an estimate at the logits is a sum of multiples of I, ∇²p and ∇p∇pᵀ. So the
law of tr C gives tr(J C Jᵀ), told |J|², tr(J ∇²p Jᵀ) and |J∇p|² in place of K, Δp and |∇p|²; and v·Cv, told |v|²,
v·∇²p v and (∇p·v)². All are exact for K ≤ 100, and |J∇p|² always. Beyond, with the relative errors of a batch's sum of
tr(J C Jᵀ), measured at K = 150 and 300 against all of C and J:

    |J|²        the mean of |v|² over probes v = Jᵀz, z ~ N(0, I) (Hutchinson 1989): √(2/(PROBES·D)) with D the
                dimension of the noise (`esgrad.measurement.batch_law`); below 3 %
    ∇²p         what it is along ∇p, isotropic across: below 0.05 % (of one example of p ≈ 1, up to a half)

At any K, E[qqᵀ] of a mirrored pair of which one hits is taken as isotropic across ∇p, too: below 10 %.
"""

from typing import Any

import torch
from torch import Tensor

from esgrad import streams
from esgrad.measurement.checkpoints import Checkpoint
from esgrad.theory.binomial import TINY
from esgrad.theory.curvature import hessian
from esgrad.theory.example import Place, place_and_gradient

EXACT_UP_TO = 100  # logits; beyond, neither J nor ∇²p is written out
PROBES = 64
AT_A_TIME = 16  # examples that are pushed: of a million parameters each
FIRST_STEP = 2**31  # the probes' steps in the QUALITY stream of seed 0; those below are `samples_needed`'s


class Pushed:
    """A checkpoint's examples under noise of variance t; `pairs`: whether mirrored pairs are asked for.

    place: at the logits, [E]; log_gradient: ∇log p [E, K]; whole: behind the Jacobians, [E]; probes: along v, [P, E].
    """

    def __init__(self, checkpoint: Checkpoint, variance: float, *, pairs: bool = True) -> None:
        logits, targets = checkpoint.logits, checkpoint.targets
        self.place, self.log_gradient = place_and_gradient(logits, targets, variance, pairs=pairs)
        self.hessian = hessian(logits, targets, variance**0.5) if logits.shape[1] <= EXACT_UP_TO else None
        self.probes = self._probes(checkpoint)
        self.whole = self._whole(checkpoint)

    def along(self, v: Tensor) -> Place:
        """The places along directions v [E, K] at the logits."""
        return self._seen(*self._squares(v))

    def _squares(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """|v|², (∇log p·v)² and v·∇²p v/p, each [E]."""
        square, slope = v.square().sum(-1), (v * self.log_gradient).sum(-1).square()
        if self.hessian is not None:
            return square, slope, torch.einsum("ej,ejk,ek->e", v, self.hessian, v)
        return square, slope, self._isotropic(self.place.relative_laplacian, self.place.along, square, slope)

    def _probes(self, checkpoint: Checkpoint) -> Place:
        """Along v = Jᵀz for PROBES z ~ N(0, I) at the parameters, one by one: at large K they are too many numbers."""
        size, steps = checkpoint.stack.flat().shape[1], range(FIRST_STEP, FIRST_STEP + PROBES)
        z = (streams.normals([0], streams.Role.QUALITY, step, 0, 1, 1, size)[0, 0, 0] for step in steps)
        squares = [self._squares(v.double()) for v in checkpoint.directional(z)]
        return self._seen(*(torch.stack(each) for each in zip(*squares, strict=True)))

    def _whole(self, checkpoint: Checkpoint) -> Place:
        at, parts = self.place, enumerate(self.log_gradient.split(AT_A_TIME))
        lengths = [checkpoint.push_each(part, i * AT_A_TIME).double().square().sum(-1) for i, part in parts]
        slope = torch.cat(lengths)
        if self.hessian is None:
            square = torch.as_tensor(self.probes.num_logits).mean(0)
            return self._seen(square, slope, self._isotropic(at.relative_laplacian, at.along, square, slope))
        unit = torch.eye(self.log_gradient.shape[1])[:, None]  # [K, 1, K]
        jacobians = (checkpoint.push(unit, example) for example in range(len(slope)))  # [K, d]
        gram = torch.stack([(rows @ rows.T).double() for rows in jacobians])  # J Jᵀ [E, K, K]
        return self._seen(gram.diagonal(dim1=-2, dim2=-1).sum(-1), slope, (gram * self.hessian).sum((-2, -1)))

    def _seen(self, square: Tensor, slope: Tensor, bend: Tensor) -> Place:
        """The place with |J|², |J∇log p|² and tr(J ∇²p Jᵀ)/p for K, |∇log p|² and Δp/p."""
        at = self.place
        changed: dict[str, Any] = {"num_logits": square, "log_gradient_square": slope, "relative_laplacian": bend}
        return at._replace(**changed, single_square=self._isotropic(at.single_square, at.single_along, square, slope))

    def _isotropic(self, trace: Tensor, along: Tensor, square: Tensor, slope: Tensor) -> Tensor:
        """tr(J A Jᵀ), A a matrix of that trace, `along` in the gradient's direction v̂ and alike across it."""
        at = self.place
        part = slope / at.log_gradient_square.clamp(min=TINY)  # |J v̂|²
        return along * part + (trace - along) / (at.num_logits - 1) * (square - part)
