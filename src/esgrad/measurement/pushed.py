"""What the laws know of examples behind the chain rule: a `Place` as their Jacobians J show it.

The covariance C of an estimate at the logits is a sum of the second moments of a hit and of a miss and of ∇p∇pᵀ
(`esgrad.laws.variance`). So the law of tr C gives tr(J C Jᵀ), told tr(J A Jᵀ) of each moment A and |J∇p|² in place
of tr A and |∇p|²; and v·Cv, told v·Av and (∇p·v)². |J∇p|² is exact. So is tr(J A Jᵀ) for K ≤ 100; beyond, it is the
mean of v·Av over probes v = Jᵀz, z ~ N(0, I) (Hutchinson 1989), with a relative error of a batch's sum of
√(2/(PROBES·D)), D the dimension of the noise (`esgrad.measurement.batch_law`): below 3 % at K = 150 and 300, measured
against all of C and J.

Of Gaussian noise ∇²p is, beyond K = 100, what it is along ∇p, isotropic across: below 0.05 % (of one example of p ≈ 1,
up to a half). At any K, E[qqᵀ] of a mirrored pair of which one hits is taken as isotropic across ∇p, too: below 10 %.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from esgrad.gradients.credits import Credit
from esgrad.gradients.noises import Noise
from esgrad.kernels import streams
from esgrad.laws import Place, moments
from esgrad.laws.example import Form, of_squares, seen, seen_along
from esgrad.measurement.checkpoints import Checkpoint

EXACT_UP_TO = 100  # logits; beyond, no J is written out
PROBES = 64
AT_A_TIME = 16  # examples that are pushed: of a million parameters each
FIRST_STEP = 2**31  # the probes' steps in the QUALITY stream of seed 0; a step below is a K of `samples_needed`


class Pushed:
    """A checkpoint's examples under noise of variance t, credited so.

    place: at the logits, [E]; moments: those of E examples; whole: behind the Jacobians, [E]; probes: along v, [P, E].
    """

    def __init__(self, checkpoint: Checkpoint, noise: Noise, credit: Credit, variance: float) -> None:
        logits, targets = checkpoint.logits, checkpoint.targets
        self.moments = moments(noise, credit, logits, targets, variance, whole=True)
        self.place = seen(self.moments)
        self.exact = logits.shape[1] <= EXACT_UP_TO
        self.probes = self._probes(checkpoint)
        self.whole = self._whole(checkpoint)

    def along(self, v: Tensor) -> Place:
        """The places along directions v [E, K] at the logits."""
        return seen_along(self.moments, v)

    def _probes(self, checkpoint: Checkpoint) -> Place:
        """Along v = Jᵀz for PROBES z ~ N(0, I) at the parameters, one by one: at large K they are too many numbers."""
        squares = []
        for v in _directions(checkpoint):
            onto = (v * self.moments.gradient).sum(-1).square()
            squares.append((onto, *(form.along(v, onto) for form in self._forms)))
        slope, hit, missed = (torch.stack(each) for each in zip(*squares, strict=True))
        return of_squares(self.moments[:4], slope, (hit, hit), (missed, missed))

    def _whole(self, checkpoint: Checkpoint) -> Place:
        parts = enumerate(self.moments.gradient.split(AT_A_TIME))
        lengths = [checkpoint.push_each(part, i * AT_A_TIME).double().square().sum(-1) for i, part in parts]
        slope = torch.cat(lengths)
        if self.exact:
            gram = _gram(checkpoint)
            hit, missed = ((gram * form.matrix()).sum((-2, -1)) for form in self._forms)
        else:  # with |J∇log p|² as it is, and not as the probes see it
            seen_by = [[form.along(v, slope) for form in self._forms] for v in _directions(checkpoint)]
            hit, missed = (torch.stack(each).mean(0) for each in zip(*seen_by, strict=True))
        return of_squares(self.moments[:4], slope, (hit, hit), (missed, missed))

    @property
    def _forms(self) -> tuple[Form, Form]:
        return self.moments.hit, self.moments.missed


def _directions(checkpoint: Checkpoint) -> Iterator[Tensor]:
    """v = Jᵀz [E, K] for each z ~ N(0, I)."""
    size, steps = checkpoint.stack.flat().shape[1], range(FIRST_STEP, FIRST_STEP + PROBES)
    z = (streams.normals([0], streams.Role.QUALITY, step, 0, 1, 1, size)[0, 0, 0] for step in steps)
    return (v.double() for v in checkpoint.directional(z))


def _gram(checkpoint: Checkpoint) -> Tensor:
    """J Jᵀ of each example, [E, K, K]."""
    examples, logits = checkpoint.logits.shape
    unit = torch.eye(logits)[:, None]  # [K, 1, K]
    jacobians = (checkpoint.push(unit, example) for example in range(examples))  # [K, d]
    return torch.stack([(rows @ rows.T).double() for rows in jacobians])
