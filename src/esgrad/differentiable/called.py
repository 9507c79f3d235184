"""A function of tensors as a fitness: it is handed many samples at a time, and its answers are checked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from esgrad.differentiable.layout import Layout
from esgrad.gradients.facts import Facts
from esgrad.gradients.fitness import Points
from esgrad.kernels.ordered_sum import ordered_sum

PART = 2**24  # numbers of all inputs that the function is handed at a time, or that it answers with


@dataclass
class Called:
    """The fitness of a function around its inputs (`esgrad.gradients.fitness.ClassFitness`).

    An answer [B, ...] of more than a number an example is made one by `weights`, the gradient that came from above:
    f = Σ_j v_j fn(x + q)_j.
    """

    ask: Callable[[list[Tensor]], Tensor]
    layout: Layout
    examples: int
    facts: Facts
    sigma: Tensor  # [D]
    weights: Tensor | None = None  # v [M, J]
    mask: Tensor | None = None  # bool [M]
    nonnegative: bool = False  # whether the shaping bears no fitness below 0
    answers: int = 1  # numbers that a position is answered with
    max_examples: int | None = None
    where: str = ""  # which step it is, for messages
    first: int = 0  # the place of the first position among all of the call, for messages
    asked: int = field(default=0, init=False)  # samples so far

    def __call__(self, points: Points) -> Tensor:
        """The fitness [1, n, M] of x + σz."""
        (directions,) = points.directions  # [n, M, D]
        centre = points.centre[0]

        def inputs(start: int, stop: int) -> list[Tensor]:
            noise = self.sigma * directions[start:stop]  # rounded, and so is the sum, as in `Points.tensor`
            if self.mask is not None:
                noise = noise.where(self.mask[:, None], 0.0)
            return self.layout.perturbed(noise + centre)

        said = self._in_parts(inputs, len(directions))
        if said.is_floating_point():  # an answer may have more digits than the input
            return said.to(torch.promote_types(said.dtype, centre.dtype))
        return said.to(centre.dtype if self.facts.binary else torch.float64)

    def reading_shape(self, dimension: int) -> tuple[int, int]:
        """Of the D coordinates of a position: k readings of K logits each, the last axis of the input."""
        (logits,) = self.layout.chosen
        return dimension // logits.shape[-1], logits.shape[-1]

    def judge(self, classes: Tensor) -> Tensor:
        """The fitness [1, n, M] of classes [1, n, M, k]."""
        said = self._in_parts(lambda start, stop: self.layout.with_classes(classes[0, start:stop]), classes.shape[1])
        return said if said.is_floating_point() or self.facts.binary else said.double()

    def _in_parts(self, inputs: Callable[[int, int], list[Tensor]], samples: int) -> Tensor:
        """The answers [1, n, M] to n samples, no more of them at a time than the function may be handed."""
        numbers = max(1, self.answers * self.layout.positions, sum(each.numel() for each in self.layout.inputs))
        size = min(samples, max(1, PART // numbers)) if self.layout.axes else 1
        if self.max_examples is not None:
            size = min(size, max(1, self.max_examples // self.layout.positions))
        said = [self._part(inputs, start, min(start + size, samples)) for start in range(0, samples, size)]
        self.asked += samples
        return torch.cat(said)[None]

    def _part(self, inputs: Callable[[int, int], list[Tensor]], start: int, stop: int) -> Tensor:
        """The answers [n, M] to the samples start to stop of those asked now."""
        first, last = self.asked + start, self.asked + stop - 1
        which = f"sample {first}" if first == last else f"samples {first} to {last}"
        handed = (stop - start) * self.layout.positions
        try:
            said = self.ask(inputs(start, stop))
        except Exception as error:
            raise RuntimeError(
                f"the black box failed at {which}{self.where}, {handed} examples at once: {said_by(error)}"
            ) from error
        each = self._numbers(said, stop - start, which)
        self._check(each, first)
        if self.mask is not None:
            each = each.where(self.mask[:, None], 0)
        if self.weights is None:
            return each[..., 0]
        return ordered_sum(each.to(self.weights.dtype) * self.weights, -1)[..., 0]

    def _numbers(self, said: Tensor, samples: int, which: str) -> Tensor:
        """The answers to some samples as [n, M, J], J numbers an example."""
        batch, positions = self.layout.batch, self.layout.positions
        expected = (samples * batch[0], *batch[1:]) if batch else ()
        if said.shape[: len(expected)] != expected or (self.weights is None and said.shape != expected):
            shape = shape_of(*expected, *(["..."] if self.weights is not None else []))
            raise ValueError(
                f"the black box was handed {which}{self.where} at once, {samples * positions} examples, and answers "
                f"with shape {list(said.shape)}, where {shape} was expected; if it takes {positions} examples only, "
                f"max_examples={positions} hands it no more"
            )
        return said.reshape(samples, positions, -1)

    def _check(self, said: Tensor, first: int) -> None:
        """ValueError for the first of the answers [n, M, J] that cannot be used."""
        wrong, what = ~torch.isfinite(said), "finite numbers"
        if self.facts.binary:
            wrong, what = (said != 0) & (said != 1), "0 or 1"
        elif self.nonnegative:
            wrong, what = wrong | (said < 0), "numbers not below 0, which this shaping needs"
        if self.mask is not None:
            wrong = wrong & self.mask[:, None]
        if wrong.any():
            sample, position, _ = wrong.nonzero()[0].tolist()
            value = said[sample, position][wrong[sample, position]][0].item()
            which = f"example {self.first + position} in sample {first + sample}{self.where}"
            raise ValueError(f"the black box answers {value} for {which}; its answers are {what}")


def said_by(error: Exception) -> str:
    """What an error says, in one line; the rest stands in the error behind it."""
    return f"{type(error).__name__}: " + str(error).strip().partition("\n")[0]


def tensor(said: Any, like: Tensor) -> Tensor:
    """What a function answered, as a tensor beside its input: a number, a list or an array of numbers will do."""
    if isinstance(said, Tensor):
        return said
    if isinstance(said, (list, tuple)) and said and all(isinstance(each, Tensor) for each in said):
        return torch.stack(list(said))  # as_tensor would cut them from their graph
    try:
        return torch.as_tensor(said, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(said).__name__
        raise ValueError(
            f"a black box answers with a tensor, or with an array, a list or a number that is one, not with this "
            f"{kind}: {said_by(error)}"
        ) from None


def shape_of(*sizes: int | str) -> str:
    """A shape, for messages."""
    return f"[{', '.join(map(str, sizes))}]"
