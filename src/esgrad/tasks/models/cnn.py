"""A LeNet-like convolutional network (LeCun et al. 1998): two 5×5 convolutions, each pooled, and two linear layers."""

from math import prod

from esgrad.types import Network

CHANNELS = (6, 16)
KERNEL = 5


def build(shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> Network:
    """A network from images [n, C, H, W] to logits [n, K]."""
    from torch import nn

    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(shape[0], first, KERNEL, padding=KERNEL // 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, KERNEL, padding=KERNEL // 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(_features(shape), hidden_size),
        nn.ReLU(),
        nn.Linear(hidden_size, logit_dim),
    )


def num_parameters(shape: tuple[int, int, int], logit_dim: int, hidden_size: int) -> int:
    """d, counted without building anything."""
    first, second = CHANNELS
    convolutions = (shape[0] * KERNEL**2 + 1) * first + (first * KERNEL**2 + 1) * second
    return convolutions + (_features(shape) + 1) * hidden_size + (hidden_size + 1) * logit_dim


def _features(shape: tuple[int, int, int]) -> int:
    """What is left of an image after two halvings."""
    return CHANNELS[-1] * prod(side // 4 for side in shape[1:])
