"""Philox4x32-10 and the normal in each of its words, in plain torch on any device: the oracle of every faster body.

    words = philox(counter, key)          Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3
    u     = ((word >> 9) + ½) · 2⁻²³      23 bits: exact in float32, never 0 nor 1
    x     = y · P(w) / Q(w)               y = 2u − 1,   w = −log2(1 − y²)

x/y is a smooth function of w, from √(π/2) at the centre on; so one rational function serves centre and tails alike,
with positive coefficients, hence no cancellation. P, Q and the polynomial of log2 are our own minimax fits
(relative error 1.3e-8, absolute 4.9e-8); a test bounds the error over all 2²³ inputs. Only additions,
multiplications and one division of float32 follow each other, each rounded by IEEE 754, so that every body on
every device gives the same bits.
"""

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW = 0xFFFFFFFF  # the low 32 bits

ROOT_HALF = 0x3F3504F3  # the bits of √½ in float32: mantissas are taken from [√½, √2)
# log2(1 + z)/z, P and Q, lowest power first; each literal is a float32.
LOG2 = (
    1.44269478, -0.721357167, 0.480939448, -0.360087216, 0.286707461, -0.250069022, 0.236890391, -0.145744503,
)  # fmt: skip
P = (1.25331414, 0.300403565, 0.0404732488, 0.00365590747, 0.000210134851, 5.51120183e-06)
Q = (1.0, 0.0582221188, 0.0154656256, 0.000624331296, 4.14808528e-05, 2.07060623e-07)


def philox(counter: Tensor, key: Tensor) -> Tensor:
    """Random words [..., 4] of a counter [..., 4] and a key [..., 2], which broadcast; all int64 holding uint32."""
    c0, c1, c2, c3 = counter.unbind(-1)
    k0, k1 = key.unbind(-1)
    for _ in range(ROUNDS):
        # The products wrap around as signed numbers; their 64 bits are those of the unsigned product.
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1 = ((product1 >> 32) & LOW) ^ c1 ^ k0, product1 & LOW
        c2, c3 = ((product0 >> 32) & LOW) ^ c3 ^ k1, product0 & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return torch.stack(torch.broadcast_tensors(c0, c1, c2, c3), dim=-1)


def standard_normal(words: Tensor) -> Tensor:
    """The standard normal, float32, of the upper 23 bits of each word (int64 holding uint32), same shape."""
    odd = 2 * (words >> 9) + 1  # u = odd / 2²⁴
    below, above = odd.float(), (2**24 - odd).float()
    product = (below * above).view(torch.int32) - ROOT_HALF  # (1 − y²) · 2⁴⁶, as its bits
    z = ((product & 0x7FFFFF) + ROOT_HALF).view(torch.float32) - 1
    w = (46 - (product >> 23)).float() - z * _polynomial(LOG2, z)
    y = (below - above) * 2.0**-24
    return y * _polynomial(P, w) / _polynomial(Q, w)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """Horner's rule, step by step as the compiled bodies take it."""
    value = coefficients[-1] * x + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        value = value * x + coefficient
    return value
