"""`esgrad.kernels.hits`, compiled: two ways to the same bits, and the choice between them.

dense   an example at a time, LANES samples side by side: all of their normals, which of them the target wins, and
        the sums of the noise of those.
early   a sample at a time, its target's block of four numbers first, then the others until one competitor is seen to
        win. At level logits that takes 1 + H_{K−1} numbers a sample (8.5 of 1,000), in whole blocks. It only serves
        weights that are 0 on failure, and loses where hits are common.
"""

from collections.abc import Sequence

import numba
import numpy as np
import torch
from numpy import float32, uint32, uint64
from torch import Tensor

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.fill import (
    _COEFFICIENTS,
    HIGH,
    LOW,
    M0,
    M1,
    TILE,
    W0,
    W1,
    Floats,
    _normal,
    _philox,
)
from esgrad.kernels.weighted_sum import LANES

SIDE = 256  # samples side by side of few classes; of more LANES of them
FEW = 8  # blocks of four classes
FULL = 32  # blocks drawn at a time while fewer samples than that are undecided: what fills the vector registers
FIRST = 16  # samples drawn early before what they took is looked at; then twice as many, and so on
FEWEST = 8  # blocks: with fewer there is nothing to reject early
NEAR = 12  # competitors within σ of the target: with fewer of them it may win too often
PROBED = 1000  # samples: of so many the first few are drawn early all the same, to see what they take
PRICE = 1.5  # of a number drawn early, in those drawn dense


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
    offset: int,
    pairs: bool,
    way: str,
) -> int:
    """As `esgrad.kernels.hits.add`, for float32 on a CPU; `way` is "dense", "early" or "auto"."""
    of_all = sums[:, :1] if totals is None else totals
    keys = torch.tensor(list(seeds), dtype=torch.int64, device="cpu")
    arrays = (each.numpy() for each in (sums, counts, of_all, logits, targets, sigma, active, keys))
    place = int(role), int(step), int(start), int(stop), int(offset)
    return _add(*arrays, totals is not None, pairs, way == "dense", way == "early", *place, *_COEFFICIENTS)


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
    pairs: bool,
    always_dense: bool,
    always_early: bool,
    role: int,
    step: int,
    start: int,
    stop: int,
    offset: int,
    log2: Floats,
    p: Floats,
    q: Floats,
) -> int:
    seeded, group, positions, lanes, dimension = sums.shape
    blocks = (dimension + 3) // 4
    most = (stop - start + 2 * lanes - 2) // lanes  # rounds of the lanes
    side = lanes * (max(1, min(SIDE // lanes, most)) if blocks <= FEW else 1)
    room = max(TILE, blocks, blocks * side)
    places, words = np.zeros((3, room), uint32), np.empty(4 * room, uint32)
    normals, logarithms = np.empty(4 * room, float32), np.empty(4 * room, float32)
    mirrored = np.empty(4 * blocks * side if pairs else 0, float32)
    alive, value = np.empty(TILE, np.int64), np.empty(TILE, float32)
    noisy, level = np.empty(4 * blocks * side, float32), np.empty((group, 4 * blocks * side), float32)
    hit, lane_sums = np.empty(4 * blocks * side, float32), np.empty((group + 1, 4 * blocks * lanes), float32)
    drawn = 0
    for s in range(seeded):
        for m in range(positions):
            if not active[m]:
                continue
            first, ahead, probed = start, FIRST, stop - start >= PROBED
            early = always_early or not (summed or always_dense or blocks < FEWEST)
            for g in range(group):
                early = early and (
                    always_early or probed or _near(logits[s, g, m], targets[s, g, m], sigma[s, g, m]) >= NEAR
                )
            while early and first < stop:
                last = min(stop, first + ahead)
                took = 0
                for g in range(group):
                    hits, met = _survivors(
                        first, last - first, blocks, pairs, logits[s, g, m], targets[s, g, m], sigma[s, g, m],
                        seeds[s], role, step, offset + m, places, words, normals, logarithms, alive, value, log2, p, q,
                    )  # fmt: skip
                    took += 4 * (met + hits * blocks)
                    counts[s, g, m] += hits
                    for i in range(hits):
                        sample = alive[i]
                        _draw(
                            sample // 2 if pairs else sample, blocks, seeds[s], role, step, offset + m,
                            places, words, normals, logarithms, log2, p, q,
                        )  # fmt: skip
                        sign = float32(-1 if pairs and sample % 2 == 1 else 1)
                        for k in range(dimension):
                            sums[s, g, m, sample % lanes, k] += sign * normals[k]
                drawn += took
                early = always_early or PRICE * took < (last - first) * dimension
                first, ahead = last, min(2 * ahead, TILE)
            if first < stop:
                drawn += _dense(
                    sums[s, :, m], counts[s, :, m], totals[s, 0, m], logits[s, :, m], targets[s, :, m], sigma[s, :, m],
                    summed, pairs, first, stop, seeds[s], role, step, offset + m,
                    side, words, logarithms, normals, mirrored, noisy, level, hit, lane_sums, log2, p, q,
                )  # fmt: skip
    return drawn


@numba.njit(nogil=True)
def _near(logits: np.ndarray, target: int, sigma: np.float32) -> int:
    """How many competitors lie within σ of the target, or above."""
    least, count = float32(logits[target] - sigma), -1
    for k in range(logits.size):
        count += int(logits[k] >= least)
    return count


@numba.njit(nogil=True)
def _dense(
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
    seed: int,
    role: int,
    step: int,
    position: int,
    side: int,
    words: np.ndarray,
    logarithms: np.ndarray,
    drawn: np.ndarray,
    mirrored: np.ndarray,
    noisy: np.ndarray,
    level: np.ndarray,
    hit: np.ndarray,
    lane_sums: np.ndarray,
    log2: Floats,
    p: Floats,
    q: Floats,
) -> int:
    """Samples start to stop of one position for the runs that share its noise; returns the numbers drawn.

    The normals lie coordinate by coordinate, of each those of all `side` samples: loops then run over many neighbours.
    """
    runs, lanes, dimension = sums.shape
    blocks = (dimension + 3) // 4
    for r in range(runs):
        _spread(sums[r], lane_sums[r])
        _levels(logits[r], level[r], side)
    if summed:
        _spread(totals, lane_sums[runs])
    normals = mirrored if pairs else drawn
    for first in range(start - start % lanes, stop, side):
        own = side // 2 if pairs else side
        _philox_side(step, position, first // 2 if pairs else first, blocks, seed, role, words, own)
        _normal(words, logarithms, drawn, 4 * blocks * own, log2, p, q)
        if pairs:
            _mirror(drawn, mirrored)
        low, high = start - first, stop - first
        for r in range(runs):
            hits = _decide(noisy, normals, level[r], targets[r], sigma[r], hit, low, high, side)
            if hits > 0:
                counts[r] += hits
                _add_hits(lane_sums[r], normals, hit, side, lanes)
        if summed:
            for i in range(side):
                hit[i] = float32(1) if low <= i < high else float32(0)
            _add_hits(lane_sums[runs], normals, hit, side, lanes)
    for r in range(runs):
        _collect(lane_sums[r], sums[r])
    if summed:
        _collect(lane_sums[runs], totals)
    return 4 * blocks * (stop - start) // (2 if pairs else 1)


@numba.njit(nogil=True)
def _philox_side(
    step: int, position: int, sample: int, blocks: int, seed: int, role: int, words: np.ndarray, side: int
) -> None:
    """The words of `side` samples: of each block all first ones, then all second ones, and so on."""
    for block in range(blocks):
        at = 4 * side * block
        for i in range(side):
            k0, k1 = uint64(seed), uint64(role)
            c0, c1 = uint64(step), uint64(position)
            c2, c3 = uint64(sample + i), uint64(block)
            for _ in range(10):
                product0, product1 = M0 * c0, M1 * c2
                c0, c1 = (product1 >> HIGH) ^ c1 ^ k0, product1 & LOW
                c2, c3 = (product0 >> HIGH) ^ c3 ^ k1, product0 & LOW
                k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            words[at + i], words[at + side + i] = uint32(c0), uint32(c1)
            words[at + 2 * side + i], words[at + 3 * side + i] = uint32(c2), uint32(c3)


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
def _add_hits(lane_sums: np.ndarray, normals: np.ndarray, hit: np.ndarray, side: int, lanes: int) -> None:
    """LANES samples after the other. A miss adds 0, which changes no sum: none is ever −0."""
    if side == lanes:  # of many classes: over all of them at once
        _repeat(hit, side)
        _add_row(lane_sums, normals, hit)
        return
    for k in range(lane_sums.size // lanes):
        row, sums = normals[k * side : (k + 1) * side], lane_sums[k * lanes : (k + 1) * lanes]
        for first in range(0, side, LANES):
            for lane in range(LANES):
                sums[lane] += hit[first + lane] * row[first + lane]


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
    """Sums [LANES, K] as a round's numbers lie."""
    lanes, dimension = sums.shape
    lane_sums[:] = float32(0)
    for k in range(dimension):
        for lane in range(lanes):
            lane_sums[k * lanes + lane] = sums[lane, k]


@numba.njit(nogil=True)
def _collect(lane_sums: np.ndarray, sums: np.ndarray) -> None:
    """And back."""
    lanes, dimension = sums.shape
    for k in range(dimension):
        for lane in range(lanes):
            sums[lane, k] = lane_sums[k * lanes + lane]


@numba.njit(nogil=True)
def _draw(
    sample: int,
    blocks: int,
    seed: int,
    role: int,
    step: int,
    position: int,
    places: np.ndarray,
    words: np.ndarray,
    normals: np.ndarray,
    logarithms: np.ndarray,
    log2: Floats,
    p: Floats,
    q: Floats,
) -> None:
    """All blocks of a sample, side by side."""
    for block in range(blocks):
        places[0, block], places[1, block], places[2, block] = 0, 0, block
    _philox(step, position, sample, 0, places, seed, role, words, blocks)
    _normal(words, logarithms, normals, 4 * blocks, log2, p, q)


@numba.njit(nogil=True)
def _survivors(
    first: int,
    count: int,
    blocks: int,
    pairs: bool,
    logits: np.ndarray,
    target: int,
    sigma: np.float32,
    seed: int,
    role: int,
    step: int,
    position: int,
    places: np.ndarray,
    words: np.ndarray,
    normals: np.ndarray,
    logarithms: np.ndarray,
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
                places[0, i * ahead + j] = 0
                places[1, i * ahead + j] = alive[i] // 2 if pairs else alive[i]
                places[2, i * ahead + j] = own if block < 0 else block + j
        _philox(step, position, 0, 0, places, seed, role, words, left * ahead)
        _normal(words, logarithms, normals, 4 * left * ahead, log2, p, q)
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
