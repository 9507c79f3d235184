"""Hits and their noise where there are many classes, a position at a time: all normals of LANES samples side by side,
which of them the target wins, and the sums of the noise of those.

The normals lie class by class, of each class those of all the samples: loops then run over many neighbours.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy import float32

from esgrad.kernels.compiled.normals import Room, Stream, normal, philox_side
from esgrad.kernels.weighted_sum import LANES

PIECE = 16 * LANES  # numbers of a row that are gone through at a time: what all pieces are held against stays in cache


class Desk(NamedTuple):
    """Where the samples of a position are judged; a row [4·blocks · LANES] holds a number of each sample and class."""

    mirrored: np.ndarray
    highest: np.ndarray
    """The largest noisy logits so far, of a piece of a row."""
    level: np.ndarray
    """The logits of each run, a row each."""
    hit: np.ndarray
    """Of each sample, over and over, as long as a piece of a row."""
    lane_sums: np.ndarray
    """[G + 1, row]: of the hits of each run, and of all samples."""


@numba.njit(nogil=True)
def desk(group: int, blocks: int, pairs: bool) -> Desk:
    """Room to judge."""
    width = 4 * blocks * LANES
    mirrored, highest = np.empty(width if pairs else 0, float32), np.empty(PIECE, float32)
    level, hit = np.empty((group, width), float32), np.empty(PIECE, float32)
    return Desk(mirrored, highest, level, hit, np.empty((group + 1, width), float32))


@numba.njit(nogil=True)
def add(
    sums: np.ndarray,
    counts: np.ndarray,
    totals: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    sigma: np.ndarray,
    summed: bool,
    pairs: bool,
    start: int,
    stop: int,
    stream: Stream,
    position: int,
    room: Room,
    desk: Desk,
) -> int:
    """Samples start to stop of one position for the runs that share its noise; returns the numbers drawn."""
    runs, _, dimension = sums.shape
    side, blocks = LANES, (dimension + 3) // 4
    for r in range(runs):
        _spread(sums[r], desk.lane_sums[r])
        _levels(logits[r], desk.level[r], side)
    if summed:
        _spread(totals, desk.lane_sums[runs])
    normals, hit = desk.mirrored if pairs else room.normals, desk.hit
    for first in range(start - start % side, stop, side):
        own = side // 2 if pairs else side
        philox_side(stream, position, first // 2 if pairs else first, blocks, room.words, own)
        normal(room.words, room.logarithms, room.normals, 4 * blocks * own)
        if pairs:
            _mirror(room.normals, desk.mirrored)
        low, high = start - first, stop - first
        for r in range(runs):
            hits = _decide(desk.highest, normals, desk.level[r], targets[r], sigma[r], hit, low, high, side)
            if hits > 0:
                counts[r] += hits
                _add_hits(desk.lane_sums[r], normals, hit)
        if summed:
            for i in range(side):
                hit[i] = float32(1) if low <= i < high else float32(0)
            _add_hits(desk.lane_sums[runs], normals, hit)
    for r in range(runs):
        _collect(desk.lane_sums[r], sums[r])
    if summed:
        _collect(desk.lane_sums[runs], totals)
    return 4 * blocks * (stop - start) // (2 if pairs else 1)


@numba.njit(nogil=True)
def _mirror(own: np.ndarray, out: np.ndarray) -> None:
    """z_0, z_1, … to z_0, −z_0, z_1, −z_1, …: a row of normals makes one of twice as many samples."""
    for i in range(out.size // 2):
        out[2 * i], out[2 * i + 1] = own[i], -own[i]


@numba.njit(nogil=True)
def _decide(
    highest: np.ndarray,
    normals: np.ndarray,
    level: np.ndarray,
    target: int,
    sigma: np.float32,
    hit: np.ndarray,
    low: int,
    high: int,
    side: int,
) -> int:
    """1 for the samples low to high whose target is the first of the largest, else 0; how many there are.

    The coordinates before the target and those after it are judged by themselves, as equals before it win.
    """
    here, after = target * side, (target + 1) * side  # pieces of arrays, as a sum of places might count from the end
    mine, hit = np.empty(side, float32), hit[:side]
    for i in range(side):
        mine[i] = level[here + i] + float32(sigma * normals[here + i])
        hit[i] = float32(1) if low <= i < high else float32(0)
    _find_highest(highest, level[:here], normals[:here], sigma, side)
    for i in range(side):
        hit[i] = float32(0) if highest[i] >= mine[i] else hit[i]
    _find_highest(highest, level[after:], normals[after:], sigma, side)
    for i in range(side):
        hit[i] = float32(0) if highest[i] > mine[i] else hit[i]
    return int(hit.sum())


@numba.njit(nogil=True)
def _find_highest(highest: np.ndarray, level: np.ndarray, normals: np.ndarray, sigma: np.float32, side: int) -> None:
    """Into the first places, the largest noisy logit of each of the samples; −∞ where there are no classes."""
    highest[:] = float32(-np.inf)
    for first in range(0, level.size, PIECE):
        last = min(first + PIECE, level.size)
        _raise(highest[: last - first], level[first:last], normals[first:last], sigma)
    half = PIECE // 2
    while half >= side:
        for i in range(half):
            highest[i] = max(highest[i], highest[half + i])
        half //= 2


@numba.njit(nogil=True)
def _raise(highest: np.ndarray, level: np.ndarray, normals: np.ndarray, sigma: np.float32) -> None:
    for i in range(highest.size):
        noisy = level[i] + float32(sigma * normals[i])
        highest[i] = noisy if noisy > highest[i] else highest[i]


@numba.njit(nogil=True)
def _levels(logits: np.ndarray, level: np.ndarray, side: int) -> None:
    """Logits [K] as the normals lie; −∞ beyond the last of them."""
    for k in range(level.size // side):
        value = logits[k] if k < logits.size else float32(-np.inf)
        for i in range(side):
            level[k * side + i] = value


@numba.njit(nogil=True)
def _add_hits(lane_sums: np.ndarray, normals: np.ndarray, hit: np.ndarray) -> None:
    """LANES samples, of all classes at once. A miss adds 0, which changes no sum: none is ever −0."""
    filled = LANES
    while filled < PIECE:
        hit[filled : 2 * filled] = hit[:filled]
        filled *= 2
    for first in range(0, lane_sums.size, PIECE):
        last = min(first + PIECE, lane_sums.size)
        _add_piece(lane_sums[first:last], normals[first:last], hit)


@numba.njit(nogil=True)
def _add_piece(lane_sums: np.ndarray, normals: np.ndarray, hit: np.ndarray) -> None:
    for i in range(lane_sums.size):
        lane_sums[i] += hit[i] * normals[i]


@numba.njit(nogil=True)
def _spread(sums: np.ndarray, lane_sums: np.ndarray) -> None:
    """Sums [LANES, K] as a round's numbers lie; one lane holds nothing yet."""
    lanes, dimension = sums.shape
    lane_sums[:] = float32(0)
    if lanes == 1:
        return
    for k in range(dimension):
        for lane in range(lanes):
            lane_sums[k * lanes + lane] = sums[lane, k]


@numba.njit(nogil=True)
def _collect(lane_sums: np.ndarray, sums: np.ndarray) -> None:
    """And back; into one lane their fold."""
    lanes, dimension = sums.shape
    if lanes == 1:
        for k in range(dimension):
            row = lane_sums[k * LANES : (k + 1) * LANES]
            half = LANES // 2
            while half > 0:
                for lane in range(half):
                    row[lane] += row[lane + half]
                half //= 2
            sums[0, k] = row[0]
        return
    for k in range(dimension):
        for lane in range(lanes):
            sums[lane, k] = lane_sums[k * lanes + lane]
