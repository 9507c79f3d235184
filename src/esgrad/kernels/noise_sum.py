"""Σ_n w_n z_n of standard normals that are never whole in memory: some coordinates of all samples are drawn at a time.

The order is that of `esgrad.kernels.weighted_sum`. The oracle is plain torch; the compiled twin gives the same bits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, float32

from esgrad.kernels import parallel, streams, weighted_sum

CHUNK = 2**20  # numbers of noise that the oracle holds at a time
PART = 2**12  # coordinates that one thread sums at a time


def noise_sum(
    weights: Tensor,
    seeds: Sequence[int],
    role: int,
    step: int,
    dimension: int,
    *,
    position: int = 0,
    square: bool = False,
    body: str = "auto",
) -> Tensor:
    """The sums [S, G, d] over the samples 0, …, n − 1 of weights [S, G, n], for the noise of S seeds at a position.

    With `square` they are Σ_n w_n (z_n² − 1).

    `body` is "numba" (float32 on a CPU), "triton" (float32 on a GPU), "torch" or "auto", the fastest there is: all
    give the same bits.
    """
    streams.check_stream(seeds, step, position)
    single = weights.dtype == float32
    chosen = streams.body_for(weights.device, body) if single or body != "auto" else "torch"
    if chosen != "torch" and not single:
        raise ValueError(f"body '{body}' takes float32, not {weights.dtype}; 'auto' would do.")
    if chosen == "torch":
        return _by_torch(weights, seeds, role, step, dimension, position, square)
    if chosen == "triton":
        from esgrad.kernels.compiled.gpu.noise_sum import noise_sum as on_gpu

        return on_gpu(weights, list(seeds), role, step, dimension, position, square)
    from esgrad.kernels.compiled.noise_sum import add

    out = weights.new_empty(*weights.shape[:2], dimension)
    keys, weighed = torch.tensor(seeds, dtype=torch.int64, device="cpu").numpy(), weights.contiguous().numpy()

    place = int(role), int(step), int(position)

    def part(low: int) -> None:
        add(out.numpy(), weighed, keys, *place, low, min(low + PART, dimension), square)

    parallel.each(part, range(0, dimension, PART))
    return out


def _by_torch(
    weights: Tensor, seeds: Sequence[int], role: int, step: int, dimension: int, position: int, square: bool
) -> Tensor:
    """The oracle, on any device."""
    lanes, samples = weighted_sum.LANES, weights.shape[-1]
    chunk = max(1, CHUNK // (lanes * len(seeds) * dimension)) * lanes
    total = weights.new_zeros(*weights.shape[:2], 1, lanes, dimension)
    for first in range(0, samples, chunk):
        last = min(first + chunk, samples)
        drawn = streams.normals(seeds, role, step, first, last, 1, dimension, weights.device, offset=position)
        drawn = drawn * drawn - 1 if square else drawn
        weighted_sum.add(total, weights[:, :, first:last, None], drawn.to(weights.dtype))
    return weighted_sum.fold(total)[:, :, 0]
