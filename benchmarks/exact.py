"""The exact gradient: its time beside one log Φ of as many numbers as 64 nodes for every logit, one core."""

from collections.abc import Iterator
from functools import partial

import torch
from rounds import ratios

import esgrad
from esgrad.kernels.streams import Role, normals

NODES = 64
SIZES = [(64, 10), (640, 10), (64, 100), (64, 1000)]
"""B and K: a batch, and what 20 stacked runs of 32 examples ask for at once."""
ONCE = f"log Φ of [B, K, {NODES}]"


def rows(num_rounds: int) -> Iterator[dict]:
    """At equal logits and at those of a spread of 3, with σ = 1."""
    torch.set_num_threads(1)
    for batch, num_logits in SIZES:
        points = torch.randn(batch, num_logits, NODES, dtype=torch.float64)
        targets = torch.arange(batch) % num_logits
        spread = 3 * normals([0], Role.QUALITY, 0, 0, 1, batch, num_logits)[0, 0]
        contestants = {
            ONCE: partial(torch.special.log_ndtr, points),
            "esgrad: log p, equal logits": partial(
                esgrad.exact_gradient, torch.zeros(batch, num_logits), targets, 1.0, log=True
            ),
            "esgrad: log p, spread 3": partial(esgrad.exact_gradient, spread, targets, 1.0, log=True),
        }
        for row in ratios(contestants, ONCE, num_rounds):
            yield {"bench": "exact", "K": num_logits, "B": batch} | row
