"""The fill on a CPU: `esgrad.kernels.streams.normals`, compiled, a tile of blocks at a time."""

import numba
import numpy as np

from esgrad.kernels.compiled import njit
from esgrad.kernels.compiled.normals import TILE, Stream, normal, philox_at, room


@njit
def fill(out: np.ndarray, seeds: np.ndarray, role: int, step: int, start: int, offset: int) -> None:
    """Fill `out` [S, n, M, D], float32 and contiguous, with the normals of samples start, …, start + n − 1 at the
    positions offset, …, offset + M − 1.

    `seeds` [S] is int64. Nothing is checked here: `streams.normals` does.
    """
    _, samples, positions, dimension = out.shape
    blocks = (dimension + 3) // 4
    flat = out.reshape(-1)
    # A tile is some whole samples, or some whole positions of one, or a part of one position's blocks, so that the
    # counters of all tiles differ by their origin alone.
    across = TILE // (positions * blocks)  # whole samples
    rows = across * positions if across > 0 else TILE // blocks  # whole positions
    width = rows * blocks if rows > 0 else TILE
    places, words, logarithms, scratch = room(TILE)
    for i in range(width):
        row = i // blocks if rows > 0 else 0
        places[0, i], places[1, i], places[2, i] = row % positions, row // positions, i - row * blocks
    whole, at = dimension % 4 == 0, 0
    for seed in seeds:
        stream, sample = Stream(seed, role, step), start
        while sample < start + samples:
            position, block = 0, 0
            while position < positions:
                if rows > 0:
                    left = (start + samples - sample) * positions - position if across > 0 else positions - position
                    count = min(rows, left) * blocks
                else:
                    count = min(TILE, blocks - block)
                philox_at(stream, offset + position, sample, block, places, words, count)
                if whole or (rows == 0 and block + count < blocks):
                    normal(words, logarithms, flat[at : at + 4 * count], 4 * count)
                    at += 4 * count
                else:
                    normal(words, logarithms, scratch, 4 * count)
                    if rows > 0:
                        at = _pack(scratch, count // blocks, 4 * blocks, dimension, flat, at)
                    else:
                        at = _pack(scratch, 1, 4 * count, min(4 * count, dimension - 4 * block), flat, at)
                if rows > 0:
                    position += count // blocks
                else:
                    block += count
                    if block == blocks:
                        position, block = position + 1, 0
            sample += max(1, across)


@njit
def fill_blocks(
    out: np.ndarray, seeds: np.ndarray, role: int, step: int, start: int, position: int, numbers: np.ndarray
) -> None:
    """Fill `out` [S, n, 4·blocks] with the blocks of these numbers of the samples start, …, start + n − 1."""
    seeded, samples, _ = out.shape
    places, words, logarithms, _ = room(TILE)
    for first in range(0, numbers.size, TILE):
        count = min(TILE, numbers.size - first)
        for i in range(count):
            places[2, i] = numbers[first + i]
        for s in range(seeded):
            stream = Stream(seeds[s], role, step)
            for n in range(samples):
                philox_at(stream, position, start + n, 0, places, words, count)
                normal(words, logarithms, out[s, n, 4 * first : 4 * (first + count)], 4 * count)


@njit
def sort_keys(keys: np.ndarray, seed: int, role: int, step: int) -> None:
    """Fill int64 [length] with the first two words of each element's block, as one number."""
    places, words, _, _ = room(TILE)
    places[2] = np.arange(TILE)
    for first in range(0, keys.size, TILE):
        count = min(TILE, keys.size - first)
        philox_at(Stream(seed, role, step), 0, 0, first, places, words, count)
        for i in range(count):
            keys[first + i] = np.int64((np.uint64(words[4 * i]) << np.uint64(32)) | np.uint64(words[4 * i + 1]))


@numba.njit(nogil=True)
def _pack(normals: np.ndarray, rows: int, width: int, dimension: int, out: np.ndarray, at: int) -> int:
    """Copy the first `dimension` numbers of each row. Returns the next free place."""
    for row in range(rows):
        if at + width <= out.size:  # what is too much here, the next row overwrites
            for block in range(width // 4):
                for j in range(4):
                    out[at + 4 * block + j] = normals[row * width + 4 * block + j]
        else:
            for j in range(dimension):
                out[at + j] = normals[row * width + j]
        at += dimension
    return at
