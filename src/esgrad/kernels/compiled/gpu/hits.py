"""`esgrad.kernels.hits` on a GPU: a lane of a position of a run a program, which holds none of its noise in memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from esgrad.kernels.compiled.gpu import LAUNCH
from esgrad.kernels.compiled.gpu.fill import keys_of
from esgrad.kernels.compiled.gpu.normals import normals

MOST = 4096  # classes
LANES = tl.constexpr(16)


def add(
    sums: Tensor,
    counts: Tensor,
    totals: Tensor | None,
    logits: Tensor,
    targets: Tensor,
    sigma: Tensor,
    active: Tensor,
    seeds: list[int],
    role: int,
    step: int,
    start: int,
    stop: int,
    offset: int,
    pairs: bool,
) -> int:
    """As `esgrad.kernels.hits.add`, for lanes, float32 and no more than MOST classes."""
    seeded, group, positions, dimension = logits.shape
    blocks = triton.next_power_of_2(-(-dimension // 4))
    keys = keys_of(seeds, role, logits.device)
    hits = torch.zeros(seeded, group, positions, LANES.value, dtype=torch.int32, device=logits.device)
    of_all = sums if totals is None else totals
    logits, targets, sigma, active = (each.contiguous() for each in (logits, targets, sigma, active))
    _add[(hits.numel(),)](
        sums, hits, of_all, logits, targets, sigma, active, keys, step, start, stop, offset, group, positions,
        dimension, blocks, pairs, totals is not None, **LAUNCH,
    )  # fmt: skip
    counts += hits.sum(-1)
    drawn = (stop - start) // (2 if pairs else 1) * int(active.sum())
    return seeded * drawn * dimension


@triton.jit(do_not_specialize=["step", "start", "stop", "offset", "group", "positions", "dimension"])
def _add(
    sums, hits, totals, logits, targets, sigma, active, keys, step, start, stop, offset, group, positions, dimension,
    BLOCKS: tl.constexpr, PAIRS: tl.constexpr, SUMMED: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    lane, place = program % LANES, program // LANES  # place: run and position
    position, run = place % positions, place // positions
    block = tl.arange(0, BLOCKS)
    k = 4 * block
    key = tl.load(keys + run // group) + 0 * block.to(tl.int64)
    at = logits + place * dimension + k
    low = float("-inf")
    l0 = tl.load(at, mask=k < dimension, other=low)
    l1 = tl.load(at + 1, mask=k + 1 < dimension, other=low)
    l2 = tl.load(at + 2, mask=k + 2 < dimension, other=low)
    l3 = tl.load(at + 3, mask=k + 3 < dimension, other=low)
    target, scale = tl.load(targets + place), tl.load(sigma + place)
    row = sums + program * dimension + k
    s0 = tl.load(row, mask=k < dimension, other=0.0)
    s1 = tl.load(row + 1, mask=k + 1 < dimension, other=0.0)
    s2 = tl.load(row + 2, mask=k + 2 < dimension, other=0.0)
    s3 = tl.load(row + 3, mask=k + 3 < dimension, other=0.0)
    mine = SUMMED & (run % group == 0)  # of the runs that share their noise the first sums all of it
    whole = totals + ((run // group * positions + position) * LANES + lane) * dimension + k
    t0 = tl.load(whole, mask=mine & (k < dimension), other=0.0)
    t1 = tl.load(whole + 1, mask=mine & (k + 1 < dimension), other=0.0)
    t2 = tl.load(whole + 2, mask=mine & (k + 2 < dimension), other=0.0)
    t3 = tl.load(whole + 3, mask=mine & (k + 3 < dimension), other=0.0)
    count = 0
    counter = (step + 0 * key).to(tl.uint32), (offset + position + 0 * key).to(tl.uint32)
    first = start + (lane - start % LANES + LANES) % LANES
    last = tl.where(tl.load(active + position), stop, start).to(tl.int64)
    for n in range(first, last, LANES):
        sample = (n // 2 if PAIRS else n) + 0 * key
        z0, z1, z2, z3 = normals(key, counter[0], counter[1], sample.to(tl.uint32), block.to(tl.uint32))
        if PAIRS:
            sign = 1.0 - 2.0 * (n % 2)
            z0, z1, z2, z3 = sign * z0, sign * z1, sign * z2, sign * z3
        x0, x1, x2, x3 = l0 + scale * z0, l1 + scale * z1, l2 + scale * z2, l3 + scale * z3
        top = tl.max(tl.maximum(tl.maximum(x0, x1), tl.maximum(x2, x3)), 0)
        none = 4 * BLOCKS
        w0, w1 = tl.where(x0 == top, k, none), tl.where(x1 == top, k + 1, none)
        w2, w3 = tl.where(x2 == top, k + 2, none), tl.where(x3 == top, k + 3, none)
        winner = tl.min(tl.minimum(tl.minimum(w0, w1), tl.minimum(w2, w3)), 0)
        hit = (winner == target).to(tl.float32)
        count += (winner == target).to(tl.int32)
        s0 += hit * z0
        s1 += hit * z1
        s2 += hit * z2
        s3 += hit * z3
        if SUMMED:
            t0 += z0
            t1 += z1
            t2 += z2
            t3 += z3
    tl.store(hits + program, count)
    tl.store(row, s0, mask=k < dimension)
    tl.store(row + 1, s1, mask=k + 1 < dimension)
    tl.store(row + 2, s2, mask=k + 2 < dimension)
    tl.store(row + 3, s3, mask=k + 3 < dimension)
    if SUMMED:
        tl.store(whole, t0, mask=mine & (k < dimension))
        tl.store(whole + 1, t1, mask=mine & (k + 1 < dimension))
        tl.store(whole + 2, t2, mask=mine & (k + 2 < dimension))
        tl.store(whole + 3, t3, mask=mine & (k + 3 < dimension))
