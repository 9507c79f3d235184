"""Owen's nested scrambling of 32-bit numbers by a hash, in plain torch: the oracle of the compiled body.

    word  =  reversed(hash(reversed(point) + seed))                               Burley 2020, JCGT 9(4), section 3.3

The hash of Laine & Karras (2011, "Stratified sampling for stochastic transparency") lets a bit depend on lower bits
only: reversed, on the coarser digits, which is Owen's scrambling. Everything is whole numbers, so every body on every
device gives the same bits.
"""

from torch import Tensor

HASH = (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6)  # even, so that x ^ x·h can be undone
LOW = 0xFFFFFFFF
SWAPS = ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF))


def scramble(points: Tensor, seeds: Tensor) -> Tensor:
    """The words of reversed points [n, D] and seeds [S, M, D] on any device."""
    x = (points[:, None] + seeds[:, None]) & LOW  # [S, n, M, D]
    for factor in HASH:
        x = x ^ (x * factor & LOW)
    return reverse(x)


def reverse(x: Tensor) -> Tensor:
    """The 32 bits of each number in reversed order."""
    for width, mask in SWAPS:
        x = (x >> width & mask) | (x & mask) << width
    return x
