"""Sobol points, scrambled by Owen's rule: 32-bit words as Philox gives them, each sample's from its number alone.

    point_n  =  XOR of the direction numbers v_j whose bit j of n is set          Sobol 1967; Joe & Kuo 2008
    word     =  reversed(hash(reversed(point_n) + seed))                          Burley 2020, JCGT 9(4), section 3.3

The hash of Laine & Karras (2011, "Stratified sampling for stochastic transparency") lets a bit depend on lower bits
only: reversed, on the coarser digits, which is Owen's nested scrambling. Everything is whole numbers, so every body on
every device gives the same bits. Digits and direction numbers are held reversed from the start.
"""

from functools import cache

import torch
from torch import Tensor

from esgrad.kernels.compiled import sobol as compiled

HASH = (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6)  # even, so that x ^ x·h can be undone
LOW = 0xFFFFFFFF
SWAPS = ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF))


def scrambled(normals: Tensor, start: int, stop: int) -> Tensor:
    """Words [S, n, M, D] (int64 holding uint32) of samples start to stop; two standard normals [S, 2, M, D] make
    each scrambling's seed."""
    points = _points(start, stop, normals.shape[-1]).to(normals.device)
    seeds = _seeds(normals)
    if normals.device.type != "cpu":
        return scramble_torch(points, seeds)
    words = torch.empty(len(seeds), len(points), *seeds.shape[1:], dtype=torch.int64)
    compiled.scramble(points.numpy(), seeds.contiguous().numpy(), words.numpy())
    return words


def scramble_torch(points: Tensor, seeds: Tensor) -> Tensor:
    """The words of reversed points [n, D] and seeds [S, M, D] in plain torch, on any device: the oracle."""
    x = (points[:, None] + seeds[:, None]) & LOW  # [S, n, M, D]
    for factor in HASH:
        x = x ^ (x * factor & LOW)
    return _reversed(x)


def _seeds(normals: Tensor) -> Tensor:
    """Uniform 32-bit numbers [S, M, D], 16 bits from each of two standard normals [S, 2, M, D]."""
    halves = (torch.special.ndtr(normals.double()) * 2**16).long()
    return (halves[:, 0] << 16) | halves[:, 1]


def _points(start: int, stop: int, dimension: int) -> Tensor:
    """Sobol points start to stop, [n, D], their 32 bits reversed."""
    number, numbers = torch.arange(start, stop)[:, None], _direction_numbers(dimension)
    points = torch.zeros(stop - start, dimension, dtype=torch.int64)
    for bit in range((stop - 1).bit_length()):
        points ^= (number >> bit & 1) * numbers[:, bit]
    return points


@cache
def _direction_numbers(dimension: int) -> Tensor:
    """Joe and Kuo's direction numbers [D, 30], their 32 bits reversed."""
    engine = torch.quasirandom.SobolEngine(dimension)
    return _reversed(engine.sobolstate << (32 - engine.MAXBIT))


def _reversed(x: Tensor) -> Tensor:
    """The 32 bits of each number in reversed order."""
    for width, mask in SWAPS:
        x = (x >> width & mask) | (x & mask) << width
    return x
