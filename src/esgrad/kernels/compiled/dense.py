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


class Desk(NamedTuple):
    """Where the samples of a position are judged; a row [4·blocks · LANES] holds a number of each sample and class."""

    mirrored: np.ndarray
    noisy: np.ndarray
    level: np.ndarray
    """The logits of each run, a row each."""
    hit: np.ndarray
    lane_sums: np.ndarray
    """[G + 1, row]: of the hits of each run, and of all samples."""


@numba.njit(nogil=True)
def desk(group: int, blocks: int, pairs: bool) -> Desk:
    """Room to judge."""
    width = 4 * blocks * LANES
    mirrored, noisy = np.empty(width if pairs else 0, float32), np.empty(width, float32)
    level, hit = np.empty((group, width), float32), np.empty(width, float32)
    return Desk(mirrored, noisy, level, hit, np.empty((group + 1, width), float32))


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
            hits = _decide(desk.noisy, normals, desk.level[r], targets[r], sigma[r], hit, low, high, side)
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
    noisy: np.ndarray,
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

    The largest is found by halves; of the coordinates before the target and of those after it by themselves, as equals
    before it win.
    """
    count = noisy.size // side
    _perturb(noisy, normals, level, sigma)  # pieces of arrays, as a sum of places might count from the end
    before, mine = noisy[: target * side], noisy[target * side : (target + 1) * side]
    after = noisy[(target + 1) * side :]
    _highest(before, target, side)
    _highest(after, count - target - 1, side)
    for i in range(side):
        hit[i] = float32(1) if low <= i < high else float32(0)
    if target > 0:
        _beaten(hit[:side], mine, before, True)
    if target + 1 < count:
        _beaten(hit[:side], mine, after, False)
    hits = 0
    for i in range(side):
        hits += int(hit[i])
    return hits


@numba.njit(nogil=True)
def _beaten(hit: np.ndarray, mine: np.ndarray, others: np.ndarray, equals: bool) -> None:
    """0 for those that another is larger than, or equal to."""
    for i in range(hit.size):
        lost = others[i] >= mine[i] if equals else others[i] > mine[i]
        hit[i] = float32(0) if lost else hit[i]


@numba.njit(nogil=True)
def _perturb(noisy: np.ndarray, normals: np.ndarray, level: np.ndarray, sigma: np.float32) -> None:
    for i in range(noisy.size):
        noisy[i] = level[i] + float32(sigma * normals[i])


@numba.njit(nogil=True)
def _highest(noisy: np.ndarray, rows: int, side: int) -> None:
    """Raise the first row's numbers to the largest of those at the same places of all rows."""
    while rows > 1:
        half = (rows + 1) // 2
        _raise(noisy[: (rows - half) * side], noisy[half * side : rows * side])
        rows = half


@numba.njit(nogil=True)
def _raise(numbers: np.ndarray, others: np.ndarray) -> None:
    for i in range(numbers.size):
        numbers[i] = others[i] if others[i] > numbers[i] else numbers[i]


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
    _repeat(hit, LANES)
    _add_row(lane_sums, normals, hit)


@numba.njit(nogil=True)
def _repeat(row: np.ndarray, filled: int) -> None:
    """The first numbers over and over, in ever longer copies."""
    while filled < row.size:
        copied = min(filled, row.size - filled)
        _copy(row[filled : filled + copied], row[:copied])
        filled += copied


@numba.njit(nogil=True)
def _copy(to: np.ndarray, numbers: np.ndarray) -> None:
    for i in range(to.size):
        to[i] = numbers[i]


@numba.njit(nogil=True)
def _add_row(lane_sums: np.ndarray, normals: np.ndarray, hit: np.ndarray) -> None:
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
