"""Estimates at networks that are not trained by them, as N grows: a tally, with a faster body where there is one."""

import torch
from torch import Tensor

from esgrad.gradients.credits import noise as noise_credit
from esgrad.gradients.estimator import of_tally
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.gradients.noises import independent
from esgrad.gradients.shapings import CountsLaw
from esgrad.kernels import compiled, weighted_sum
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
        self.sampler, self.num_samples, self.shape = sampler, 0, logits.shape
        self.seeds = range(draws)
        point = logits.float().expand(draws, *logits.shape)
        arguments = (PerExample(zero_one, targets[None]), point, torch.full((draws,), variance))
        key = Key(self.seeds, Role.QUALITY, step)
        early = compiled.AVAILABLE and sampler.noise is independent and sampler.credit is noise_credit
        if early:
            self.tally: noise_credit.Tally = EarlyTally(sampler.noise, *arguments, key, misses)
        else:
            self.tally = sampler.credit.tally(sampler.noise, *arguments, key, misses)  # type: ignore[assignment]

    def grow(self, num_samples: int, active: Tensor) -> float:
        """Take the samples up to N, where the body can leave others out at the active [B] examples only; the random
        numbers drawn for that."""
        before, self.num_samples = self.num_samples, num_samples
        if isinstance(self.tally, EarlyTally):
            return self.tally.grow_at(num_samples, active)
        self.tally.grow(num_samples)
        examples, dimension = self.shape
        each = self.sampler.credit.draws(self.sampler.noise, num_samples - before, examples, dimension, 1)
        return each * len(self.seeds)

    def estimates(self, law: CountsLaw) -> Tensor:
        """The estimates [D, B, K] that a law of counts makes of the N samples."""
        return of_tally(law, self.tally, self.num_samples)


class EarlyTally(noise_credit.Tally):
    """A tally of Gaussian noise on a CPU that draws of a sample no more than it takes to see it lose
    (`esgrad.kernels.compiled.hits`): the same bits."""

    def grow(self, num_samples: int) -> None:
        self.grow_at(num_samples, torch.ones(self.point.shape[1], dtype=torch.bool))

    def grow_at(self, num_samples: int, active: Tensor) -> int:
        """Up to N samples in all at the active [B] examples; the numbers drawn."""
        from esgrad.kernels.compiled import hits

        draws, positions, dimension = self.point.shape
        if self.hit_sum is None:
            size = (draws, 1, positions, weighted_sum.LANES, dimension)
            self.hit_sum = torch.zeros(size)
            self.whole_sum = torch.zeros(size) if self.misses else None
        sums = self.hit_sum[:, 0], self.hits, None if self.whole_sum is None else self.whole_sum[:, 0]
        at = self.point[0].contiguous(), self.fitness_of.targets[0], self.sigma[0].expand(positions).contiguous()
        seeds, role, step, _ = self.key
        start, self.num_samples = self.num_samples, num_samples
        return hits.add(*sums, *at, active.contiguous(), seeds, role, step, start, num_samples)
