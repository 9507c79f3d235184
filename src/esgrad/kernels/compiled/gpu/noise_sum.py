"""`esgrad.kernels.noise_sum` on a GPU: all lanes of some coordinates a program."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from esgrad.kernels.compiled.gpu import LAUNCH
from esgrad.kernels.compiled.gpu.fill import keys_of
from esgrad.kernels.compiled.gpu.normals import normals

BLOCKS = 32  # of four coordinates, a program
LANES = tl.constexpr(16)


def noise_sum(
    weights: Tensor, seeds: list[int], role: int, step: int, dimension: int, position: int, square: bool
) -> Tensor:
    """The sums [S, G, d] for weights [S, G, n], float32 on a GPU."""
    seeded, group, samples = weights.shape
    out = torch.empty(seeded, group, dimension, dtype=torch.float32, device=weights.device)
    keys, tiles = keys_of(seeds, role, weights.device), triton.cdiv(dimension, 4 * BLOCKS)
    _noise_sum[(seeded * group * tiles,)](
        out, weights.contiguous(), keys, step, position, group, samples, dimension, tiles, BLOCKS, square, **LAUNCH
    )
    return out


@triton.jit(do_not_specialize=["step", "position", "group", "samples", "dimension", "tiles"])
def _noise_sum(
    out, weights, keys, step, position, group, samples, dimension, tiles, BLOCKS: tl.constexpr, SQUARE: tl.constexpr
):
    program = tl.program_id(0)
    run = program // tiles
    block = program % tiles * BLOCKS + tl.arange(0, BLOCKS)[None, :]
    lane = tl.arange(0, LANES)[:, None]
    key = tl.load(keys + run // group) + 0 * block.to(tl.int64) + 0 * lane
    a0 = tl.zeros((LANES, BLOCKS), tl.float32)
    a1, a2, a3 = a0, a0, a0
    for first in range(0, samples, LANES):
        n = first + lane
        weight = tl.load(weights + run.to(tl.int64) * samples + n, mask=n < samples, other=0.0)
        place = (step + 0 * key).to(tl.uint32), (position + 0 * key).to(tl.uint32)
        z0, z1, z2, z3 = normals(key, place[0], place[1], (n + 0 * key).to(tl.uint32), (block + 0 * key).to(tl.uint32))
        if SQUARE:
            z0, z1, z2, z3 = z0 * z0 - 1.0, z1 * z1 - 1.0, z2 * z2 - 1.0, z3 * z3 - 1.0
        a0 += weight * z0
        a1 += weight * z1
        a2 += weight * z2
        a3 += weight * z3
    to = out + run.to(tl.int64) * dimension + 4 * tl.reshape(block, (BLOCKS,))
    inside = 4 * tl.reshape(block, (BLOCKS,))
    tl.store(to, _fold(a0, BLOCKS), mask=inside < dimension)
    tl.store(to + 1, _fold(a1, BLOCKS), mask=inside + 1 < dimension)
    tl.store(to + 2, _fold(a2, BLOCKS), mask=inside + 2 < dimension)
    tl.store(to + 3, _fold(a3, BLOCKS), mask=inside + 3 < dimension)


@triton.jit
def _fold(lanes, BLOCKS: tl.constexpr):
    """The sum over the lanes in halves."""
    lanes = tl.sum(tl.reshape(lanes, (2, 8, BLOCKS)), 0)
    lanes = tl.sum(tl.reshape(lanes, (2, 4, BLOCKS)), 0)
    lanes = tl.sum(tl.reshape(lanes, (2, 2, BLOCKS)), 0)
    return tl.sum(lanes, 0)
