"""Networks from images to logits; plain torch modules."""

from typing import Protocol

from esgrad.types import Network


class Model(Protocol):
    """What a file states of its network."""

    def build(self, shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> Network:
        """A network from images [n, C, H, W] to logits [n, K]."""

    def num_parameters(self, shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> int:
        """d, counted without building anything."""


Contract = Model
"""What mypy holds every file of this menu to."""
