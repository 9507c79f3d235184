"""Hits and their noise where there are few classes: a sample after the other, of each many positions side by side.

All numbers of a sample lie class by class, of each class those of a tile of positions: loops then run over many
neighbours, however few samples and classes there are.
"""

from typing import NamedTuple

import numba
import numpy as np
from numpy import float32, int32, uint32, uint64

from esgrad.kernels.compiled.normals import HIGH, LOW, M0, M1, W0, W1, Stream, normal
from esgrad.kernels.weighted_sum import LANES

WIDTH = 64  # positions of a tile


class Tile(NamedTuple):
    """Where the P positions of a tile are judged."""

    words: np.ndarray
    """[rows · P], rows being classes in whole blocks."""
    logarithms: np.ndarray
    normals: np.ndarray
    """[rows, P]."""
    mirrored: np.ndarray
    best: np.ndarray
    """The largest of each position's noisy logits so far, [P]."""
    winner: np.ndarray
    """And whose it is, int32."""
    hit: np.ndarray
    level: np.ndarray
    """Logits, [G, K, P]."""
    scale: np.ndarray
    """σ, [G, P]."""
    targets: np.ndarray
    """int32 [G, P]."""
    counts: np.ndarray
    """[G, P]."""
    lanes: np.ndarray
    """[G + 1, LANES, K, P]: of the hits of each run, and of all samples."""


@numba.njit(nogil=True)
def tile(group: int, dimension: int, width: int, pairs: bool) -> Tile:
    """Room for a tile."""
    rows = 4 * ((dimension + 3) // 4)
    return Tile(
        np.empty(rows * width, uint32), np.empty(rows * width, float32), np.empty((rows, width), float32),
        np.empty((rows if pairs else 0, width), float32), np.empty(width, float32), np.empty(width, int32),
        np.empty(width, float32), np.empty((group, dimension, width), float32), np.empty((group, width), float32),
        np.empty((group, width), int32), np.empty((group, width), float32),
        np.empty((group + 1, LANES, dimension, width), float32),
    )  # fmt: skip


@numba.njit(nogil=True)
def add(
    sums: np.ndarray,
    counts: np.ndarray,
    totals: np.ndarray,
    logits: np.ndarray,
    targets: np.ndarray,
    sigma: np.ndarray,
    positions: np.ndarray,
    summed: bool,
    pairs: bool,
    start: int,
    stop: int,
    stream: Stream,
    offset: int,
    at: Tile,
) -> int:
    """Samples start to stop at the positions of a tile, for the runs that share their noise; returns the numbers drawn.

    `sums` is [G, M, LANES or 1, K], `counts` [G, M], `totals` [M, LANES or 1, K], `logits` [G, M, K], `targets` and
    `sigma` [G, M].
    """
    group, _, _, dimension = sums.shape
    blocks = (dimension + 3) // 4
    _level(logits, sigma, targets, positions, at.level, at.scale, at.targets)
    at.counts[:], at.lanes[:] = float32(0), float32(0)
    for g in range(group):
        _open(sums[g], positions, at.lanes[g])
    if summed:
        _open(totals, positions, at.lanes[group])
    for sample in range(start // 2 if pairs else start, stop // 2 if pairs else stop):
        _philox(stream, offset, positions, sample, blocks, at.words)
        normal(at.words, at.logarithms, at.normals.reshape(-1), dimension * positions.size)
        if pairs:
            at.mirrored[:] = -at.normals
            _take(at, at.normals, 2 * sample % LANES, summed)
            _take(at, at.mirrored, (2 * sample + 1) % LANES, summed)
        else:
            _take(at, at.normals, sample % LANES, summed)
    for g in range(group):
        _close(at.lanes[g], positions, sums[g])
        for p in range(positions.size):
            counts[g, positions[p]] += at.counts[g, p]
    if summed:
        _close(at.lanes[group], positions, totals)
    return 4 * blocks * positions.size * (stop - start) // (2 if pairs else 1)


@numba.njit(nogil=True)
def _philox(stream: Stream, offset: int, positions: np.ndarray, sample: int, blocks: int, words: np.ndarray) -> None:
    """The words of a sample: of each block the first ones of all positions, then the second ones, and so on."""
    width = positions.size
    for block in range(blocks):
        w0, w1 = (
            words[4 * block * width : (4 * block + 1) * width],
            words[(4 * block + 1) * width : (4 * block + 2) * width],
        )
        w2, w3 = (
            words[(4 * block + 2) * width : (4 * block + 3) * width],
            words[(4 * block + 3) * width : (4 * block + 4) * width],
        )
        for i in range(width):
            k0, k1 = uint64(stream.seed), uint64(stream.role)
            c0, c1 = uint64(stream.step), uint64(offset) + uint64(positions[i])
            c2, c3 = uint64(sample), uint64(block)
            for _ in range(10):
                product0, product1 = M0 * c0, M1 * c2
                c0, c1 = (product1 >> HIGH) ^ c1 ^ k0, product1 & LOW
                c2, c3 = (product0 >> HIGH) ^ c3 ^ k1, product0 & LOW
                k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
            w0[i], w1[i], w2[i], w3[i] = uint32(c0), uint32(c1), uint32(c2), uint32(c3)


@numba.njit(nogil=True)
def _take(at: Tile, normals: np.ndarray, lane: int, summed: bool) -> None:
    """One sample: who hits, and the sums of it."""
    group = len(at.level)
    for g in range(group):
        _judge(normals, at.level, at.scale, g, at.best, at.winner)
        for i in range(at.hit.size):
            at.hit[i] = float32(1) if at.winner[i] == at.targets[g, i] else float32(0)
            at.counts[g, i] += at.hit[i]
        _add(at.lanes, g, lane, at.hit, normals)
    if summed:
        at.hit[:] = float32(1)
        _add(at.lanes, group, lane, at.hit, normals)


@numba.njit(nogil=True)
def _judge(
    normals: np.ndarray, level: np.ndarray, scale: np.ndarray, g: int, best: np.ndarray, winner: np.ndarray
) -> None:
    """The first of the largest noisy logits of each position."""
    for i in range(best.size):
        best[i], winner[i] = level[g, 0, i] + float32(scale[g, i] * normals[0, i]), int32(0)
    for k in range(1, level.shape[1]):
        for i in range(best.size):
            value = level[g, k, i] + float32(scale[g, i] * normals[k, i])
            larger = value > best[i]
            winner[i] = int32(k) if larger else winner[i]
            best[i] = value if larger else best[i]


@numba.njit(nogil=True)
def _add(lanes: np.ndarray, g: int, lane: int, hit: np.ndarray, normals: np.ndarray) -> None:
    """A miss adds 0, which changes no sum: none is ever −0."""
    for k in range(lanes.shape[2]):
        for i in range(hit.size):
            lanes[g, lane, k, i] += hit[i] * normals[k, i]


@numba.njit(nogil=True)
def _level(
    logits: np.ndarray,
    sigma: np.ndarray,
    targets: np.ndarray,
    positions: np.ndarray,
    level: np.ndarray,
    scale: np.ndarray,
    own: np.ndarray,
) -> None:
    """Logits, σ and targets of a tile, as its numbers lie."""
    for g in range(len(logits)):
        for p in range(positions.size):
            m = positions[p]
            own[g, p], scale[g, p] = int32(targets[g, m]), sigma[g, m]
            for k in range(logits.shape[2]):
                level[g, k, p] = logits[g, m, k]


@numba.njit(nogil=True)
def _open(sums: np.ndarray, positions: np.ndarray, lanes: np.ndarray) -> None:
    """Sums [M, LANES, K] as a tile's numbers lie; one lane holds nothing yet."""
    if sums.shape[1] == LANES:
        for p in range(positions.size):
            for lane in range(LANES):
                for k in range(sums.shape[2]):
                    lanes[lane, k, p] = sums[positions[p], lane, k]


@numba.njit(nogil=True)
def _close(lanes: np.ndarray, positions: np.ndarray, sums: np.ndarray) -> None:
    """And back; into one lane their fold."""
    if sums.shape[1] == 1:
        half = LANES // 2
        while half > 0:
            lanes[:half] += lanes[half : 2 * half]
            half //= 2
    for p in range(positions.size):
        for lane in range(sums.shape[1]):
            for k in range(sums.shape[2]):
                sums[positions[p], lane, k] = lanes[lane, k, p]
