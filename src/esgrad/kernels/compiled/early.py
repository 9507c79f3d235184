"""Hits and their noise, a sample at a time: its target's block of four numbers first, then the others until one
competitor is seen to win.

At level logits that takes 1 + H_{K−1} numbers a sample (8.5 of 1,000), in whole blocks. It serves only weights that are
0 on failure, and loses where hits are common.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy import float32, int64

from esgrad.kernels.compiled.normals import Room, Stream, normal, philox_at

FULL = 32  # blocks drawn at a time while fewer samples than that are undecided: what fills the vector registers


class Undecided(NamedTuple):
    """Samples that no competitor has won yet, in front."""

    sample: np.ndarray
    """int64 [n]."""
    value: np.ndarray
    """Of its target's noisy logit, float32 [n]."""


@numba.njit(nogil=True)
def undecided(samples: int) -> Undecided:
    """Room for so many."""
    return Undecided(np.empty(samples, int64), np.empty(samples, float32))


@numba.njit(nogil=True)
def add(
    sums: np.ndarray,
    used: np.ndarray,
    logits: np.ndarray,
    target: int,
    sigma: np.float32,
    pairs: bool,
    first: int,
    count: int,
    stream: Stream,
    position: int,
    room: Room,
    left: Undecided,
) -> tuple[int, int]:
    """The samples from `first` on, `count` of them, for one run at one position; returns the hits and the numbers that
    it took. `sums` is [LANES, K]; a lane that is not `used` holds nothing yet, whatever there is."""
    lanes, dimension = sums.shape
    blocks = (dimension + 3) // 4
    hits, met = _survivors(logits, target, sigma, pairs, first, count, stream, position, room, left)
    for block in range(blocks):
        room.places[0, block], room.places[1, block], room.places[2, block] = 0, 0, block
    for i in range(hits):
        sample = left.sample[i]
        philox_at(stream, position, sample // 2 if pairs else sample, 0, room.places, room.words, blocks)
        normal(room.words, room.logarithms, room.normals, 4 * blocks)
        sign = float32(-1 if pairs and sample % 2 == 1 else 1)
        lane = sample % lanes
        if not used[lane]:
            sums[lane], used[lane] = float32(0), True
        for k in range(dimension):
            sums[lane, k] += sign * room.normals[k]
    return hits, 4 * (met + hits * blocks)


@numba.njit(nogil=True)
def clear(sums: np.ndarray, used: np.ndarray) -> None:
    """Put 0 into the lanes that are not used."""
    for lane in range(used.size):
        if not used[lane]:
            sums[lane], used[lane] = float32(0), True


@numba.njit(nogil=True)
def fold(sums: np.ndarray, used: np.ndarray, out: np.ndarray) -> None:
    """The sum over the lanes in halves (`esgrad.kernels.weighted_sum.fold`); a lane that is not used adds nothing."""
    half = used.size // 2
    while half > 0:
        for lane in range(half):
            if used[lane + half]:
                if used[lane]:
                    for k in range(out.size):
                        sums[lane, k] += sums[lane + half, k]
                else:
                    sums[lane], used[lane] = sums[lane + half], True
        half //= 2
    for k in range(out.size):
        out[k] = sums[0, k] if used[0] else float32(0)


@numba.njit(nogil=True)
def _survivors(
    logits: np.ndarray,
    target: int,
    sigma: np.float32,
    pairs: bool,
    first: int,
    count: int,
    stream: Stream,
    position: int,
    room: Room,
    undecided: Undecided,
) -> tuple[int, int]:
    """Which of the samples hit, in front of the undecided: how many, and how many blocks it took."""
    places, normals, alive, value = room.places, room.normals, undecided.sample, undecided.value
    blocks = (logits.size + 3) // 4
    own, left, met, block = target // 4, count, 0, -1  # block −1 stands for the target's own
    for i in range(count):
        alive[i] = first + i
    while left > 0 and block < blocks:
        ahead = 1 if block < 0 else min(max(1, FULL // left), blocks - block)
        for i in range(left):
            for j in range(ahead):
                places[0, i * ahead + j] = 0
                places[1, i * ahead + j] = alive[i] // 2 if pairs else alive[i]
                places[2, i * ahead + j] = own if block < 0 else block + j
        philox_at(stream, position, 0, 0, places, room.words, left * ahead)
        normal(room.words, room.logarithms, normals, 4 * left * ahead)
        met += left * ahead
        start = 4 * own if block < 0 else 4 * block
        kept = 0
        for i in range(left):
            scale = -sigma if pairs and alive[i] % 2 == 1 else sigma
            row = normals[4 * i * ahead : 4 * (i + 1) * ahead]
            mine = _noisy(logits[target], scale, row[target - start]) if block < 0 else value[i]
            lost = False
            for k in range(min(row.size, logits.size - start)):
                other = _noisy(logits[start + k], scale, row[k])
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
def _noisy(logit: np.float32, sigma: np.float32, normal: np.float32) -> np.float32:
    """l + σq, product and sum each rounded."""
    return float32(logit + float32(sigma * normal))
