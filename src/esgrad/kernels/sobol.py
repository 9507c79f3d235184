"""Sobol points, scrambled by Owen's rule: 32-bit words as Philox gives them, each sample's from its number alone.

    point_n  =  XOR of the direction numbers v_j whose bit j of n is set          Sobol 1967; Joe & Kuo 2008

Points and direction numbers are held with their bits reversed from the start, as the scrambling (`owen`) wants them.
"""

from functools import cache

import torch
from torch import Tensor

from esgrad.kernels import compiled
from esgrad.kernels.owen import reverse, scramble


def scrambled(normals: Tensor, start: int, stop: int) -> Tensor:
    """Words [S, n, M, D] (int64 holding uint32) of samples start to stop; two standard normals [S, 2, M, D] make
    each scrambling's seed."""
    points = _points(start, stop, normals.shape[-1]).to(normals.device)
    seeds = _seeds(normals)
    if not compiled.AVAILABLE or normals.device.type != "cpu":
        return scramble(points, seeds)
    from esgrad.kernels.compiled import owen as body

    words = torch.empty(len(seeds), len(points), *seeds.shape[1:], dtype=torch.int64, device="cpu")
    body.scramble(points.numpy(), seeds.contiguous().numpy(), words.numpy())
    return words


def _seeds(normals: Tensor) -> Tensor:
    """Uniform 32-bit numbers [S, M, D], 16 bits from each of two standard normals [S, 2, M, D]."""
    halves = (torch.special.ndtr(normals.double()) * 2**16).long()
    return (halves[:, 0] << 16) | halves[:, 1]


def _points(start: int, stop: int, dimension: int) -> Tensor:
    """Sobol points start to stop, [n, D], their 32 bits reversed."""
    number, numbers = torch.arange(start, stop, device="cpu")[:, None], _direction_numbers(dimension)
    points = torch.zeros(stop - start, dimension, dtype=torch.int64, device="cpu")
    for bit in range((stop - 1).bit_length()):
        points ^= (number >> bit & 1) * numbers[:, bit]
    return points


@cache
def _direction_numbers(dimension: int) -> Tensor:
    """Joe and Kuo's direction numbers [D, 30], their 32 bits reversed."""
    engine = torch.quasirandom.SobolEngine(dimension)
    return reverse(engine.sobolstate << (32 - engine.MAXBIT))
