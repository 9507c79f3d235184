"""The fill: nanoseconds a standard normal, one core, beside torch.randn."""

from collections.abc import Iterator
from functools import partial

import torch
from rounds import ratios

from esgrad.kernels import streams

SHAPES = {"logits, K = 10": (1000, 64, 10), "logits, K = 1,000": (10, 64, 1000), "parameters": (8, 1, 101_770)}


def rows(num_rounds: int) -> Iterator[dict]:
    """Ours and torch's for a few shapes [n, M, D]."""
    torch.set_num_threads(1)
    for name, (samples, positions, dimension) in SHAPES.items():
        numbers = samples * positions * dimension
        contestants = {
            "torch.randn": partial(torch.randn, samples, positions, dimension),
            "esgrad: counters": partial(streams.normals, [0], 0, 0, 0, samples, positions, dimension),
        }
        for row in ratios(contestants, "torch.randn", num_rounds):
            yield {"bench": "noise", "shape": name} | row | {"ns a number": row["seconds"] / numbers * 1e9}
