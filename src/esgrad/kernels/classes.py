"""Draws of a class from given log-probabilities by inversion, O(log K) each, and sums over what was drawn.

    W_k    =  rint(2^s · 2^{(l_k − max l) log2 e})      s = 52 − ⌈log2 K⌉: whole numbers, hence exact sums in any order
    x      =  (u + ½) · 2⁻⁵² · ΣW                       u: 52 bits of a Philox block, two samples a block
    class  =  the number of partial sums W_0 + … + W_k that are at most x

The exponential is a polynomial of our own, so that every body on every device gives the same bits; a class with less
than 2⁻⁵² of the largest probability is never drawn.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from esgrad.kernels import compiled
from esgrad.kernels.exp2 import EXP2, LOG2_E
from esgrad.kernels.philox import philox
from esgrad.kernels.streams import check_stream

BITS = 52


def weights(log_probability: Tensor) -> Tensor:
    """Whole-number weights W, float64 [..., K], of log-probabilities up to a constant, float64 [..., K]."""
    bits = BITS - (log_probability.shape[-1] - 1).bit_length()
    if compiled.AVAILABLE and log_probability.device.type == "cpu" and bool(log_probability.isfinite().all()):
        from esgrad.kernels.compiled import classes as body

        found = torch.empty_like(log_probability, memory_format=torch.contiguous_format)
        rows = log_probability.contiguous().view(-1, log_probability.shape[-1])
        body.weights(rows.numpy(), bits, found.view(rows.shape).numpy())
        return found
    return weights_torch(log_probability, bits)


def weights_torch(log_probability: Tensor, bits: int) -> Tensor:
    """The same in plain torch, on any device: the oracle, equal to the bit."""
    power = (log_probability - log_probability.amax(-1, keepdim=True)) * LOG2_E
    whole = power.clamp(min=-bits - 2.0).round()
    fraction = (power - whole).clamp(min=-0.5)  # where the clamp above has acted, W is 0 all the same
    value = torch.full_like(fraction, EXP2[-1])
    for coefficient in EXP2[-2::-1]:
        value = value * fraction + coefficient
    scale = ((whole.long() + bits + 1023) << 52).view(torch.float64)
    return (value * scale).round()


def draw(
    cumulative: Tensor, seeds: Sequence[int], role: int, step: int, start: int, stop: int, offset: int = 0
) -> Tensor:
    """Classes of the samples start (even) to stop, int64 [R, n, Q], from the partial sums [R, Q, K] of weights.

    R = S·G runs, those of a seed in a row: they share their uniform numbers, which depend on (seed, role; step, place,
    sample) alone. The Q places are those from `offset` on. ValueError for a seed, step or place beyond 32 bits.
    """
    check_stream(seeds, step, offset, cumulative.shape[1])
    if compiled.AVAILABLE and cumulative.device.type == "cpu":
        from esgrad.kernels.compiled import classes as body

        out = torch.empty(len(cumulative), stop - start, cumulative.shape[1], dtype=torch.int64, device="cpu")
        keys = torch.tensor(seeds, dtype=torch.int64, device="cpu").numpy()
        place = int(role), int(step), int(start), int(offset)
        body.draw(cumulative.contiguous().numpy(), keys, *place, out.numpy())
        return out
    return draw_torch(cumulative, seeds, role, step, start, stop, offset)


def draw_torch(
    cumulative: Tensor, seeds: Sequence[int], role: int, step: int, start: int, stop: int, offset: int = 0
) -> Tensor:
    """The same in plain torch, on any device: the oracle, equal to the bit."""
    device, places = cumulative.device, cumulative.shape[1]
    pair = torch.arange(start // 2, -(-stop // 2), device=device)[:, None]  # [n/2, 1]
    place = torch.arange(places, device=device) + offset
    block = torch.zeros_like(place)
    counter = torch.stack(torch.broadcast_tensors(block + step, place, pair, block), -1)  # [n/2, Q, 4]
    key = torch.tensor([[seed, role] for seed in seeds], device=device)[:, None, None]  # [S, 1, 1, 2]
    words = philox(counter, key).unflatten(-1, (2, 2))  # [S, n/2, Q, 2, 2]
    bits = (words[..., 0] << 20) | (words[..., 1] >> 12)
    uniform = (bits.double() + 0.5) * 2.0**-BITS
    uniform = uniform.movedim(-1, 2).flatten(1, 2)[:, : stop - start]  # [S, n, Q]
    uniform = uniform.repeat_interleave(len(cumulative) // len(seeds), 0)
    total = cumulative[..., -1]
    at = torch.minimum(uniform * total[:, None], total[:, None] - 0.5)
    return torch.searchsorted(cumulative, at.movedim(1, -1).contiguous(), right=True).movedim(-1, 1)


def tally(sums: Tensor, weight: Tensor, classes: Tensor) -> None:
    """sums [R, Q, K] float64 += weight [R, n, M] at the classes [R, n, Q], Q = M·k, n ascending, in place."""
    if compiled.AVAILABLE and sums.device.type == "cpu":
        from esgrad.kernels.compiled import classes as body

        body.tally(sums.numpy(), weight.double().contiguous().numpy(), classes.contiguous().numpy())
    else:
        tally_torch(sums, weight, classes)


def tally_torch(sums: Tensor, weight: Tensor, classes: Tensor) -> None:
    """The same in plain torch, on any device: the oracle, equal to the bit."""
    each = weight.double().repeat_interleave(classes.shape[2] // weight.shape[2], 2)  # [R, n, Q]
    for n in range(classes.shape[1]):
        sums.scatter_add_(2, classes[:, n, :, None], each[:, n, :, None])
