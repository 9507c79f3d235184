"""Softmax regression: one linear map from the pixels to the logits."""

from math import prod

from esgrad.types import Network


def build(shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> Network:
    """A network from images [n, C, H, W] to logits [n, K]; `hidden_size` has no meaning here."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), logit_dim))


def num_parameters(shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> int:
    """d, counted without building anything."""
    return (prod(shape) + 1) * logit_dim
