"""One call of a black box: what it was handed, what it answers, and the estimate when a gradient is asked for."""

import warnings
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, Protocol

import torch
from torch import Tensor

from esgrad import menu
from esgrad.differentiable import chain
from esgrad.differentiable import inputs as handed
from esgrad.differentiable.called import Called, shape_of, tensor
from esgrad.differentiable.layout import Layout
from esgrad.differentiable.node import Node
from esgrad.differentiable.settings import Settings
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.key import Key
from esgrad.kernels.argmax import argmax
from esgrad.kernels.streams import Role, check_stream
from esgrad.kernels.weighted_sum import LANES

BLOCK = 2**24  # numbers of noise in memory at a time, of as many examples as that allows and at least one


class Box(Protocol):
    """The function, and who counts how often it is asked."""

    fn: Any
    queries: int


@dataclass(eq=False)
class Call:
    """One call; `step` and `offset` say which noise, `needs` whether a gradient may be asked for."""

    box: Box
    settings: Settings
    inputs: tuple[Tensor, ...]
    step: int
    offset: int
    mask: Tensor | None
    constants: dict[str, Any]
    needs: bool
    noisy: tuple[int, ...] = field(init=False)
    axes: int = field(init=False)  # those that tell examples apart; 0 where one answer judges all
    estimator: Estimator = field(init=False)  # for answers of the kind that the first one had
    binary: bool = field(init=False)
    vector: bool = field(init=False)  # whether an example is answered with more than a number
    numbers: int = field(init=False)  # of one answer to the whole batch

    def __post_init__(self) -> None:
        self.axes = self.settings.batch_dims
        handed.check(self.inputs, self.axes)
        self.noisy = handed.noisy(self.inputs, self.settings)
        if self.mask is not None:
            handed.check_mask(self.mask, self.batch)
            self.mask = self.mask.clone()  # for the samples asked about later
        check_stream([self.settings.seed], self.step, self.offset)
        check_stream([self.settings.seed], self.step, self.offset * self.unit, max(1, self.batch.numel()))
        self.autocast = _autocast(self.inputs[0].device.type)

    @property
    def batch(self) -> torch.Size:
        """The shape of the axes that tell examples apart."""
        return self.inputs[0].shape[: self.settings.batch_dims]

    @property
    def unit(self) -> int:
        """The examples in one entry of the first axis, by which `offset` counts."""
        return prod(self.batch[1:])

    def result(self) -> Tensor:
        """The answer; with the node that estimates where a gradient may be asked for."""
        if not any(self.inputs[place].requires_grad for place in self.noisy):
            self.needs = False
        if not self.needs:
            return self.answer(self.inputs)
        first = self.offset * self.unit
        noise = chain.Noise(self.settings.seed, self.settings.of_classes, self.step)
        chain.join(self, noise, range(first, first + max(1, self.batch.numel())), self.inputs)
        cut = tuple(each.detach().clone() if place in self.noisy else each for place, each in enumerate(self.inputs))
        try:
            said = self.answer(cut)
        except RuntimeError:
            if not torch._C._are_functorch_transforms_active():
                raise
            said = None  # the function asks for numbers, which a transform's tensors show inside the node alone
        return Node.apply(self, said, *self.inputs)

    def answer(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """What the function says of its inputs as they are, as floating-point numbers."""
        if self.needs:
            handed.check_values(self._layout(inputs), self.settings.variances, self.mask)
        given = list(inputs)
        if self.settings.of_classes:
            (place,) = self.noisy
            given[place] = argmax(given[place].detach())
        said = tensor(self.box.fn(*given, **self.constants), inputs[0])
        self._see(said)
        self.box.queries += _examples(self.batch, self.mask)
        return said if said.is_floating_point() else said.to(inputs[self.noisy[0] if self.noisy else 0].dtype)

    def estimate(self, upstream: Tensor, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        """The gradient of Σ upstream · answer at each of the noisy inputs."""
        layout = self._layout(inputs)
        size = layout.positions * sum(layout.sizes)
        if size == 0:
            return [torch.zeros_like(each) for each in layout.chosen]
        weights = upstream.detach().reshape(layout.positions, -1)
        self._warn(weights)
        if not self.axes:
            return layout.split(self._of_block(layout, weights, None, 0))
        rows, mask = len(inputs[0]), None if self.mask is None else self.mask.flatten()
        most = BLOCK // (LANES * (size // rows))
        if self.settings.max_examples is not None:
            most = min(most, self.settings.max_examples // self.unit)
        parts = []
        for start in range(0, rows, max(1, most)):
            stop = min(start + max(1, most), rows)
            those = slice(start * self.unit, stop * self.unit)
            block = layout.rows(start, stop), weights[those], None if mask is None else mask[those]
            parts.append(self._of_block(*block, those.start))
        return layout.split(torch.cat(parts))

    def _of_block(self, layout: Layout, upstream: Tensor, mask: Tensor | None, first: int) -> Tensor:
        """The gradient [M, D] of some examples, the first of them number `first` of the call."""
        settings, estimator, point = self.settings, self.estimator, layout.point()
        variance = point.new_tensor(settings.variances)
        sigma = layout.each(variance.sqrt())
        called = Called(
            ask=lambda given: tensor(self.box.fn(*given, **self.constants), given[0]),
            layout=layout,
            examples=_examples(layout.batch if self.axes else self.batch, mask),
            facts=settings.facts(self.binary),
            sigma=sigma,
            weights=upstream.to(torch.promote_types(upstream.dtype, point.dtype)) if self.vector else None,
            mask=mask,
            nonnegative=estimator.shaping.NEEDS_NONNEGATIVE,
            answers=self.numbers // max(1, self._layout(self.inputs).positions),
            max_examples=settings.max_examples,
            where=f" of step {self.step}",
            first=first,
        )
        key = Key([settings.seed], Role.NOISE, self.step, self.offset * self.unit + first if self.axes else self.offset)
        with torch.no_grad(), self.autocast():
            if settings.of_classes:
                estimate = estimator.gradient(called, point, variance, key)
                gradient = estimate.gradient[0]
            else:  # in units of σ, of which each input has its own
                estimate = estimator.gradient(called, point, torch.ones_like(variance[:1]), key)
                gradient = estimate.gradient[0] / sigma
        self.box.queries += estimate.queries
        if not self.vector:
            gradient = gradient * upstream.to(gradient.dtype)
        return gradient if mask is None else gradient.where(mask[:, None], 0.0)

    def _warn(self, upstream: Tensor) -> None:
        """Where a loss grows with what is right or wrong, and nobody said how that is to be weighed."""
        chosen = self.settings.shaping is None and self.estimator.shaping.ASCENDS != "p"
        if chosen and bool((upstream > 0).any()):
            warnings.warn(
                f"the loss grows with the black box's 0/1 answers, and the shaping chosen for them, "
                f"{menu.name(self.estimator.shaping)}, estimates the gradient of log P(1): descending it is slow while "
                "most are 1; answer with what is right and negate, or name a shaping, such as leave_one_out",
                stacklevel=2,
            )

    def _layout(self, inputs: tuple[Tensor, ...]) -> Layout:
        return Layout(tuple(inputs), self.noisy, self.axes)

    def _see(self, said: Tensor) -> None:
        """Take from an answer what kind of answers these are; ValueError where its shape does not fit."""
        settings, batch = self.settings, self.batch
        self.axes = settings.batch_dims if said.dim() else 0  # a number alone judges the batch as a whole
        if tuple(said.shape[: self.axes]) != tuple(batch)[: self.axes]:
            raise ValueError(
                f"the black box answers a batch of shape {list(batch)} with shape {list(said.shape)}: a number an "
                f"example, {list(batch)}, more of them, {shape_of(*batch, '...')}, or one for all, [], was expected"
            )
        if said.is_complex():
            raise ValueError(f"the black box answers with {said.dtype}: real numbers were expected")
        if said.numel() == 0 and batch.numel():
            raise ValueError(f"the black box answers with shape {list(said.shape)}, which holds no number")
        self.vector = said.dim() > self.axes
        self.binary = not self.vector and (said.dtype == torch.bool if settings.binary is None else settings.binary)
        self.numbers = said.numel()
        self.estimator = settings.estimator(self.binary)
        if self.vector and not self.estimator.shaping.LINEAR:
            raise ValueError(
                f"the black box answers with shape {list(said.shape)}, and over an example's numbers shaping "
                f"'{menu.name(self.estimator.shaping)}' does not add up: raw or leave_one_out would do, or answers "
                f"{list(batch)}"
            )
        if self.mask is not None and not self.axes:
            raise ValueError("a mask chooses examples, but the black box judges all as a whole: let it do so itself")
        dimension = sum(self._layout(self.inputs).sizes)
        if reason := self.estimator.refuses(settings.facts(self.binary), dimension):
            raise ValueError(reason)


def _examples(batch: torch.Size, mask: Tensor | None) -> int:
    """How many examples are judged."""
    return batch.numel() if mask is None else int(mask.sum())


def _autocast(device: str) -> Any:
    """A maker of contexts with the automatic precision that holds now, for the samples asked about later."""
    enabled, kind = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return partial(torch.autocast, device, dtype=kind, enabled=enabled)
