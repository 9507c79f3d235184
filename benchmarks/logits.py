"""Noise at the logits: one estimate for a batch of 64 with 1,000 samples, one core, by esgrad and by its peers."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import adapters
import torch
from rounds import ratios
from torch import Tensor

import esgrad

BATCH, SAMPLES = 64, 1000
WHOLE = "whole-tensor torch"
PLACES = {"start": 0.0, "sure": 12.0}
"""How far ahead the target is: at a network's start not at all, at its end so far that every sample hits."""


def whole_tensor(logits: Tensor, targets: Tensor, num_samples: int = SAMPLES) -> Tensor:
    """The lecture's estimate as a good user writes it, for all samples at once."""
    q = torch.randn(num_samples, *logits.shape, device=logits.device)
    f = ((logits + q).argmax(-1) == targets).float()
    return torch.einsum("nb,nbk->bk", f, q) / num_samples


def leave_one_out(logits: Tensor, targets: Tensor) -> Tensor:
    """The same with the mean of the other samples taken off."""
    q = torch.randn(SAMPLES, *logits.shape)
    f = ((logits + q).argmax(-1) == targets).float()
    return torch.einsum("nb,nbk->bk", f - f.mean(0), q) / (SAMPLES - 1)


def slide(logits: Tensor, targets: Tensor) -> Tensor:
    """The lecture's lines, a sample at a time."""
    g = torch.zeros_like(logits)
    for _ in range(SAMPLES):
        q = torch.randn_like(logits)
        g += ((logits + q).argmax(-1) == targets)[:, None] * q
    return g / SAMPLES


def ours(logits: Tensor, targets: Tensor, **words: Any) -> Tensor:
    """esgrad's."""
    asked = {"num_samples": SAMPLES, "noise_variance": 1.0, "seed": 0, "step": 0}
    return esgrad.es_gradient(logits, targets, **asked, **words)


def peers(logits: Tensor, targets: Tensor) -> dict[str, Callable[[], Any]]:
    """The contestants at some logits."""
    at = logits, targets
    asked = {"num_samples": SAMPLES, "noise_variance": 1.0, "seed": 0}
    return {
        WHOLE: partial(whole_tensor, *at),
        "whole-tensor torch, leave_one_out": partial(leave_one_out, *at),
        "its torch.randn alone": partial(torch.randn, SAMPLES, *logits.shape),
        "the lecture's lines": partial(slide, *at),
        "optax: make_perturbed_fun, jit": partial(adapters.optax_perturbations, *at, baseline=False, **asked),
        "TorchOpt: zero_order, naive": partial(adapters.torchopt_zero_order, *at, method="naive", **asked),
        "esgrad: raw": partial(ours, *at),
        "esgrad: maxrl": partial(ours, *at, shaping="maxrl"),
        "esgrad: leave_one_out": partial(ours, *at, shaping="leave_one_out"),
        "esgrad: raw, mirrored": partial(ours, *at, noise="mirrored"),
        "esgrad: raw, class": partial(ours, *at, credit="class"),
        "esgrad: success, class, gumbel": partial(ours, *at, credit="class", noise="gumbel", shaping="success"),
    }


def rows(num_rounds: int) -> Iterator[dict]:
    """All contestants at each K and place, beside the whole-tensor form."""
    torch.set_num_threads(1)
    for num_logits in (10, 100, 1000):
        for place, ahead in PLACES.items():
            targets = torch.arange(BATCH) % num_logits
            logits = torch.zeros(BATCH, num_logits).scatter(1, targets[:, None], ahead)
            for row in ratios(peers(logits, targets), WHOLE, num_rounds):
                yield {"bench": "logits", "K": num_logits, "N": SAMPLES, "B": BATCH, "place": place} | row
