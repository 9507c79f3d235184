"""Strings of digits, taken apart."""

import torch

from esgrad.tasks.data import Data


def crops(decoded: Data, part: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The digit images [n · k, H · W] of a part, string after string, and the digits their labels say."""
    k = len(str(decoded.num_classes - 1))
    images = decoded.images.split(list(decoded.counts))[part].squeeze(1).unflatten(-1, (k, -1)).transpose(1, 2)
    numbers = decoded.targets.split(list(decoded.counts))[part]
    digits = torch.tensor([[int(c) for c in f"{number:0{k}}"] for number in numbers.tolist()])
    return images.flatten(2).flatten(0, 1), digits.flatten()
