"""Sums of the noise over the samples that hit, on a CPU: one competitor above the target, and no more is drawn.

    S_n = Σ_{i<n} f_i q_i,   f_i = isequal(argmax(l + σ q_i), y)        the raw estimate is S_N / (N σ)

The noise of a sample is a function of its place (`esgrad.kernels.streams`), so it need not be drawn in order, nor
whole: the target's block of four numbers comes first, then the others until a competitor is seen to win. Hits and sums
are, to the bit, those of `esgrad.gradients.credits.noise.Tally` with `blackboxes.zero_one`. At level logits a sample
meets 1 + H_{K−1} numbers until it is decided (8.5 of 1,000), in whole blocks; `totals` asks for all of them, for
weights that are not 0 on failure.
"""

from collections.abc import Sequence

import numba
import numpy as np
import torch
from numpy import float32
from torch import Tensor

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.fill import _COEFFICIENTS, TILE, Floats, _normal, _philox

FEW = 2  # blocks of a sample that are drawn at once, as deciding what to draw would take longer
FULL = 32  # blocks drawn at a time while fewer samples than that are undecided: what fills the vector registers


def add(
    sums: Tensor,
    counts: Tensor,
    totals: Tensor | None,
    logits: Tensor,
    targets: Tensor,
    sigma: Tensor,
    active: Tensor,
    seeds: Sequence[int],
    role: int,
    step: int,
    start: int,
    stop: int,
) -> int:
    """Add what the samples start, …, stop − 1 give; returns the numbers drawn.

    sums [S, B, LANES, K] float32 += Σ f q (`esgrad.kernels.weighted_sum`), counts [S, B] float64 += Σ f and, if given,
    totals [S, B, LANES, K] float32 += Σ q, all for standard normal q of S seeds, at logits [B, K] float32 and finite,
    targets [B] int64, sigma [B] float32. Positions whose `active` [B] is False are left alone.
    """
    summed, of_all = totals is not None, totals if totals is not None else sums
    place = (int(role), int(step), int(start), int(stop))
    keys = torch.tensor(list(seeds), dtype=torch.int64)
    s, c, a, x, y, t, m, k = (each.numpy() for each in (sums, counts, of_all, logits, targets, sigma, active, keys))
    return _add(s, c, a, x, y, t, m, k, summed, *place, *_COEFFICIENTS)


@njit
def _add(
    sums: np.ndarray,
    counts: np.ndarray,
    totals: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    sigma: np.ndarray,
    active: np.ndarray,
    seeds: np.ndarray,
    summed: bool,
    role: int,
    step: int,
    start: int,
    stop: int,
    log2: Floats,
    p: Floats,
    q: Floats,
) -> int:
    draws, positions, _, dimension = sums.shape
    blocks = (dimension + 3) // 4
    whole = summed or blocks <= FEW
    rows = max(1, TILE // blocks) if whole else TILE  # samples at a time
    room = max(TILE, rows * blocks if whole else blocks)
    counters, words = np.zeros((3, room), np.uint32), np.empty(4 * room, np.uint32)
    normals, alive, value = np.empty(4 * room, float32), np.empty(TILE, np.int64), np.empty(TILE, float32)
    drawn = 0
    for d in range(draws):
        for b in range(positions):
            if not active[b]:
                continue
            for first in range(start, stop, rows):
                count = min(rows, stop - first)
                if whole:
                    _draw(seeds[d], role, step, b, first, count, blocks, counters, words, normals, log2, p, q)
                    drawn += 4 * count * blocks
                    for i in range(count):
                        row = normals[4 * i * blocks : 4 * i * blocks + dimension]
                        if summed:
                            _sum(totals, d, b, first + i, row)
                        if _wins(row, logits[b], targets[b], sigma[b]):
                            counts[d, b] += 1
                            _sum(sums, d, b, first + i, row)
                    continue
                hits, met = _survivors(
                    first, count, blocks, logits[b], targets[b], sigma[b], seeds[d], role, step, b,
                    counters, words, normals, alive, value, log2, p, q,
                )  # fmt: skip
                drawn += 4 * (met + hits * blocks)
                counts[d, b] += hits
                for i in range(hits):
                    _draw(seeds[d], role, step, b, alive[i], 1, blocks, counters, words, normals, log2, p, q)
                    _sum(sums, d, b, alive[i], normals)
    return drawn


@numba.njit(nogil=True)
def _sum(total: np.ndarray, d: int, b: int, sample: int, row: np.ndarray) -> None:
    for k in range(total.shape[3]):
        total[d, b, sample % total.shape[2], k] += row[k]


@numba.njit(nogil=True)
def _draw(
    seed: int,
    role: int,
    step: int,
    position: int,
    first: int,
    count: int,
    blocks: int,
    counters: np.ndarray,
    words: np.ndarray,
    normals: np.ndarray,
    log2: Floats,
    p: Floats,
    q: Floats,
) -> None:
    """All blocks of the samples first, …, first + count − 1, side by side."""
    for i in range(count):
        for block in range(blocks):
            counters[0, i * blocks + block] = position
            counters[1, i * blocks + block] = first + i
            counters[2, i * blocks + block] = block
    _philox(step, counters, seed, role, words, count * blocks)
    _normal(words, normals, 4 * count * blocks, log2, p, q)


@numba.njit(nogil=True)
def _survivors(
    first: int,
    count: int,
    blocks: int,
    logits: np.ndarray,
    target: int,
    sigma: np.float32,
    seed: int,
    role: int,
    step: int,
    position: int,
    counters: np.ndarray,
    words: np.ndarray,
    normals: np.ndarray,
    alive: np.ndarray,
    value: np.ndarray,
    log2: Floats,
    p: Floats,
    q: Floats,
) -> tuple[int, int]:
    """Which of `count` ≤ TILE samples hit, in the front of `alive`: how many, and how many blocks it took."""
    own, left, met, block = target // 4, count, 0, -1  # block −1 stands for the target's own
    for i in range(count):
        alive[i] = first + i
    while left > 0 and block < blocks:
        ahead = 1 if block < 0 else min(max(1, FULL // left), blocks - block)
        for i in range(left):
            for j in range(ahead):
                counters[0, i * ahead + j] = position
                counters[1, i * ahead + j] = alive[i]
                counters[2, i * ahead + j] = own if block < 0 else block + j
        _philox(step, counters, seed, role, words, left * ahead)
        _normal(words, normals, 4 * left * ahead, log2, p, q)
        met += left * ahead
        start = 4 * own if block < 0 else 4 * block
        kept = 0
        for i in range(left):
            row = normals[4 * i * ahead : 4 * (i + 1) * ahead]
            mine = _noisy(logits[target], sigma, row[target - start]) if block < 0 else value[i]
            lost = False
            for k in range(min(row.size, logits.size - start)):
                other = _noisy(logits[start + k], sigma, row[k])
                if other > mine or (other == mine and start + k < target):
                    lost = True
                    break
            if not lost:
                alive[kept], value[kept] = alive[i], mine
                kept += 1
        left = kept
        block = 0 if block < 0 else block + ahead
    return left, met


@numba.njit(nogil=True)
def _wins(row: np.ndarray, logits: np.ndarray, target: int, sigma: np.float32) -> bool:
    """Whether the target is the first of the largest; no branches, as every number is there already."""
    mine, lost = _noisy(logits[target], sigma, row[target]), 0
    for k in range(target):
        lost += int(_noisy(logits[k], sigma, row[k]) >= mine)
    for k in range(target + 1, row.size):
        lost += int(_noisy(logits[k], sigma, row[k]) > mine)
    return lost == 0


@numba.njit(nogil=True)
def _noisy(logit: np.float32, sigma: np.float32, normal: np.float32) -> np.float32:
    """l + σq, product and sum each rounded."""
    return float32(logit + float32(sigma * normal))
