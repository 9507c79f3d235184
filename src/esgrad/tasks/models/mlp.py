"""A perceptron with one hidden layer of `hidden_size` ReLU units."""

from math import prod

from esgrad.types import Network


def build(shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> Network:
    """A network from images [n, C, H, W] to logits [n, K]."""
    from torch import nn

    return nn.Sequential(
        nn.Flatten(), nn.Linear(prod(shape), hidden_size), nn.ReLU(), nn.Linear(hidden_size, logit_dim)
    )


def num_parameters(shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> int:
    """d, counted without building anything."""
    return (prod(shape) + 1) * hidden_size + (hidden_size + 1) * logit_dim
