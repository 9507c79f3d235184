"""`esgrad.kernels.hits`, compiled, in three ways to the same bits, and the choice between them.

few     where there are few classes: many positions side by side.
dense   where there are many: a position at a time, all of its noise.
early   there, too: a sample at a time, for as long as what has to be drawn until a competitor wins is little.
"""

from collections.abc import Sequence

import numba
import numpy as np
import torch
from numpy import float32
from torch import Tensor

from esgrad.kernels.compiled import dense, early, few, njit
from esgrad.kernels.compiled.normals import TILE, Stream, room
from esgrad.kernels.weighted_sum import LANES

FIRST = 16  # samples drawn early before what they took is looked at; then twice as many, and so on
FEW = 8  # blocks of four classes: of so few, many positions are judged side by side
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
    return _add(*arrays, totals is not None, pairs, way == "dense", way == "early", *place)


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
) -> int:
    seeded, group, positions, _, dimension = sums.shape
    blocks = (dimension + 3) // 4
    drawn = 0
    if blocks <= FEW and not always_early:
        those = np.nonzero(active)[0]
        for first in range(0, those.size, few.WIDTH):
            here = those[first : first + few.WIDTH]
            at = few.tile(group, dimension, here.size, pairs)
            for s in range(seeded):
                drawn += few.add(
                    sums[s], counts[s], totals[s, 0], logits[s], targets[s], sigma[s], here,
                    summed, pairs, start, stop, Stream(seeds[s], role, step), offset, at,
                )  # fmt: skip
        return drawn
    folds = sums.shape[3] == 1
    lanes, used = np.empty((group, LANES, dimension), float32), np.empty((group, LANES), np.bool_)
    made, desk, left = room(max(TILE, blocks * LANES)), dense.desk(group, blocks, pairs), early.undecided(TILE)
    for s in range(seeded):
        stream = Stream(seeds[s], role, step)
        for m in range(positions):
            if not active[m]:
                continue
            first, ahead = start, FIRST
            one_by_one = always_early or not (summed or always_dense)
            if one_by_one and not always_early and stop - start < PROBED:
                for g in range(group):
                    one_by_one = one_by_one and _near(logits[s, g, m], targets[s, g, m], sigma[s, g, m]) >= NEAR
            into, early_first = sums[s, :, m], one_by_one
            used[:] = not folds
            if folds and early_first:  # lanes for this position, of which only those that a hit needs are touched
                into = lanes
            while one_by_one and first < stop:
                count = min(stop - first, ahead)
                took = 0
                for g in range(group):
                    hits, numbers = early.add(
                        into[g], used[g], logits[s, g, m], targets[s, g, m], sigma[s, g, m],
                        pairs, first, count, stream, offset + m, made, left,
                    )  # fmt: skip
                    counts[s, g, m] += hits
                    took += numbers
                drawn += took
                one_by_one = always_early or PRICE * took < count * dimension
                first, ahead = first + count, min(2 * ahead, TILE)
            if first < stop:
                if early_first:
                    for g in range(group):
                        early.clear(into[g], used[g])
                drawn += dense.add(
                    into, counts[s, :, m], totals[s, 0, m], logits[s, :, m], targets[s, :, m], sigma[s, :, m],
                    summed, pairs, first, stop, stream, offset + m, made, desk,
                )  # fmt: skip
            if folds and early_first:
                for g in range(group):
                    early.fold(into[g], used[g], sums[s, g, m, 0])
    return drawn


@numba.njit(nogil=True)
def _near(logits: np.ndarray, target: int, sigma: np.float32) -> int:
    """How many competitors lie within σ of the target, or above."""
    least, count = float32(logits[target] - sigma), -1
    for k in range(logits.size):
        count += int(logits[k] >= least)
    return count
