"""Real networks at the start, half-way and at the end of a training by backprop, and examples to ask them about.

Where an estimator is measured without being trained by it, it is measured at these: all methods at the same networks,
on the same images. A checkpoint comes out of the project's own loop and is the same to the bit every time.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd import grad

from esgrad import menu
from esgrad.gradients.spaces import logits as at_logits
from esgrad.kernels.streams import Role, permutation
from esgrad.tasks.blackboxes import zero_one
from esgrad.tasks.data import Data, split
from esgrad.tasks.stack import Stack
from esgrad.training.job import Job
from esgrad.training.loop import train

STAGES = {"start": 0.0, "half": 0.5, "trained": 1.0}
"""The words for a network's age, and the share of the run's steps it has seen."""

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Checkpoint:
    """One network and E examples; `num_classes` counts the labels, which may be fewer than the logits K."""

    stage: str
    step: int
    job: Job
    num_classes: int
    stack: Stack  # of one run
    images: Tensor  # [E, C, H, W]
    targets: Tensor  # [E]

    @cached_property
    def logits(self) -> Tensor:
        """[E, K], without a gradient."""
        with torch.no_grad():
            return self.stack(self.images[None])[0]

    @property
    def spread(self) -> float:
        """Standard deviation of an example's logits (root mean square over the examples); only those that a label
        uses count: the others, trained away together, would say how many they are."""
        return float(self.logits[:, : self.num_classes].double().var(-1, correction=0).mean().sqrt())

    @property
    def accuracy(self) -> float:
        """Share of the examples that the network reads right."""
        return float((self.logits.argmax(-1) == self.targets).double().mean())

    def few(self, count: int) -> "Checkpoint":
        """The same network with the first `count` examples."""
        return replace(self, images=self.images[:count], targets=self.targets[:count])

    def push(self, gradients: Tensor, start: int = 0) -> Tensor:
        """The chain rule: n gradients at the logits of the batch that begins at an example, [n, B, K], to [n, d].

        It is the training's own (`esgrad.gradients.spaces.logits`), on n copies of the network: of the batch's mean.
        """
        count, batch = gradients.shape[:2]
        images, targets = (part[None, start : start + batch] for part in (self.images, self.targets))
        return self._pushed(images.expand(count, *images.shape[1:]), targets.expand(count, -1), gradients)

    def push_each(self, gradients: Tensor, start: int = 0) -> Tensor:
        """The gradients at the logits of B examples, [B, K], each pushed as a batch of one: [B, d]."""
        here = slice(start, start + len(gradients))
        return self._pushed(self.images[here, None], self.targets[here, None], gradients[:, None])

    def directional(self, directions: Iterable[Tensor]) -> Iterator[Tensor]:
        """How the E examples' logits change along each direction [d] as `push` lays it out, J·direction [E, K]."""
        logits = self.stack(self.images[None])[0]
        weights = torch.zeros_like(logits, requires_grad=True)
        pushed = grad(logits, self.stack.parameters, weights, create_graph=True)  # weights · J, linear in them
        for direction in directions:
            pieces = direction.to(logits.dtype).split([each.numel() for each in self.stack.parameters])
            along = [piece.view_as(each) for piece, each in zip(pieces, self.stack.parameters, strict=True)]
            yield grad(pushed, weights, along, retain_graph=True)[0]

    def _pushed(self, images: Tensor, targets: Tensor, gradients: Tensor) -> Tensor:
        """[n, B, K] to [n, d], the batches [n, B, ...] of n copies of the network."""
        space = at_logits.place(copies(self.stack, len(gradients)), images, targets, zero_one)
        pushed = space.push(gradients.to(self.logits.dtype))
        return torch.cat([gradient.flatten(1) for gradient in pushed], 1)


def make(
    job: Job, data: Data, num_examples: int, stages: Sequence[str] = tuple(STAGES), part: str = "train", seed: int = 0
) -> list[Checkpoint]:
    """Train one run of `job`, an exact gradient's, at its first learning rate, and stop by at each stage.

    The examples, at most as many as there are, are drawn from a part of the seed's split and are the same at every
    stage. ValueError for an unknown stage or part and for a job that is not exact.
    """
    for stage in stages:
        if stage not in STAGES:
            raise menu.unknown("stage", stage, STAGES)
    if part not in PARTS:
        raise menu.unknown("part", part, PARTS)
    if job.exact is None:
        raise ValueError(f"checkpoints come from an exact gradient, but '{job.method}' is none: backprop would do")
    data = job.task.blackbox.prepare(data)
    wanted = {stage: round(STAGES[stage] * job.max_steps) for stage in STAGES if stage in stages}
    kept: dict[int, Stack] = {}

    def watch(step: int, stack: Stack) -> None:
        if step in wanted.values():
            kept[step] = detached(stack)

    groups = [(job.noise_variance[0], job.learning_rates[0])]
    for _ in train(job, data, None, groups, [seed], max(1, *wanted.values()), "cpu", ends_only=True, watch=watch):
        pass
    members = split(data, seed)[PARTS.index(part)]
    index = members[permutation(seed, Role.QUALITY, 0, len(members))[:num_examples]]
    images, targets = data.images[index].float() / data.scale, data.targets[index]
    made = [Checkpoint(stage, at, job, data.num_classes, kept[at], images, targets) for stage, at in wanted.items()]
    if lost := [at.stage for at in made if not at.logits.isfinite().all()]:
        raise ValueError(f"the run diverged before '{lost[0]}': a learning_rate below {groups[0][1]:g} would do")
    return made


def enough(logit_dim: int) -> int:
    """Examples a checkpoint has where there are as many: beside those measured, they tell the noise of the data."""
    return max(256, min(1024, 2**17 // logit_dim))  # exact gradients at 1,000 logits are not free


def detached(stack: Stack) -> Stack:
    """A copy that goes on being what it is when the training goes on."""
    made = copy.copy(stack)
    made.parameters = [parameter.detach().clone().requires_grad_() for parameter in stack.parameters]
    return made


def copies(stack: Stack, count: int) -> Stack:
    """n runs that share one network's numbers, each with a gradient of its own."""
    made = copy.copy(stack)
    made.parameters = [p.detach().expand(count, *p.shape[1:]).requires_grad_() for p in stack.parameters]
    return made
