"""The inputs of a function as one point: which tensors get noise, and where each example's numbers lie."""

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The inputs of one call, [B, ...] each, and how they become M positions of D coordinates."""

    inputs: tuple[Tensor, ...]
    noisy: tuple[int, ...]
    """The places among the inputs of those that get noise."""
    axes: int
    """How many leading axes tell one judged example from another; 0 where all is judged as a whole."""

    @property
    def batch(self) -> torch.Size:
        """The shape of the leading axes."""
        return self.chosen[0].shape[: self.axes]

    @property
    def positions(self) -> int:
        """M."""
        return prod(self.batch)

    @property
    def chosen(self) -> list[Tensor]:
        """The inputs that get noise."""
        return [self.inputs[place] for place in self.noisy]

    @property
    def sizes(self) -> list[int]:
        """The coordinates of a position in each of them; D is their sum."""
        return [prod(each.shape[self.axes :]) for each in self.chosen]

    def point(self) -> Tensor:
        """The point [1, M, D], in single precision or better: half of it has no room for the noise."""
        flat = [each.detach().reshape(self.positions, size) for each, size in zip(self.chosen, self.sizes, strict=True)]
        kind = torch.float32
        for each in flat:
            kind = torch.promote_types(kind, each.dtype)
        return torch.cat([each.to(kind) for each in flat], 1)[None]

    def each(self, values: Tensor) -> Tensor:
        """A value for each noisy input, or one for all, as one for each coordinate, [D]."""
        counts = torch.tensor(self.sizes, device=values.device)
        return values.expand(len(counts)).repeat_interleave(counts)

    def split(self, gradient: Tensor) -> list[Tensor]:
        """A gradient [M, D] in the shapes and types of the noisy inputs."""
        pieces = gradient.split(self.sizes, -1)
        return [piece.reshape(each.shape).to(each.dtype) for piece, each in zip(pieces, self.chosen, strict=True)]

    def perturbed(self, points: Tensor) -> list[Tensor]:
        """All inputs at points [n, M, D], the samples one after the other along the first axis: [n·B, ...].

        Without leading axes there is one sample, n = 1, in the inputs' own shapes.
        """
        filled = [self._repeated(each, len(points)) for each in self.inputs]
        for place, piece in zip(self.noisy, points.split(self.sizes, -1), strict=True):
            filled[place] = piece.reshape(filled[place].shape).to(self.inputs[place].dtype)
        return filled

    def with_classes(self, classes: Tensor) -> list[Tensor]:
        """All inputs with classes [n, M, k] in the place of the noisy one's logits, [n·B, ...] without their last
        axis."""
        (place,) = self.noisy
        filled = [self._repeated(each, len(classes)) for each in self.inputs]
        filled[place] = classes.reshape(filled[place].shape[:-1])
        return filled

    def rows(self, start: int, stop: int) -> "Layout":
        """The examples start to stop of the first axis."""
        return replace(self, inputs=tuple(each[start:stop] for each in self.inputs))

    def _repeated(self, each: Tensor, samples: int) -> Tensor:
        """Copies, as a function may change what it is handed."""
        many = each.detach().expand(samples, *each.shape).clone()
        return many.flatten(0, 1) if self.axes else many[0]
