"""Estimates at networks that are not trained by them, as N grows."""

import torch
from torch import Tensor

from esgrad.gradients.estimator import of_tally
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.gradients.shapings import CountsLaw
from esgrad.kernels.streams import Role
from esgrad.measurement.sampler import Sampler
from esgrad.tasks.blackboxes import zero_one


class Growing:
    """D draws at B examples, each a seed of the QUALITY stream, with N samples so far.

    `step` tells one use of the stream from another; `misses`: whether weights of a miss will be asked for.
    """

    def __init__(
        self, sampler: Sampler, logits: Tensor, targets: Tensor, variance: float, draws: int, step: int, misses: bool
    ) -> None:
        self.num_samples = 0
        point = logits.float().expand(draws, *logits.shape)
        arguments = (PerExample(zero_one, targets[None]), point, torch.full((draws,), variance))
        key = Key(range(draws), Role.QUALITY, step)
        self.tally = sampler.credit.tally(sampler.noise, *arguments, key, misses)

    def grow(self, num_samples: int, active: Tensor) -> None:
        """Take the samples up to N, where the body can leave others out at the active [B] examples only."""
        self.num_samples = num_samples
        self.tally.grow(num_samples, active)

    def estimates(self, law: CountsLaw) -> Tensor:
        """The estimates [D, B, K] that a law of counts makes of the N samples."""
        return of_tally(law, self.tally, self.num_samples)
