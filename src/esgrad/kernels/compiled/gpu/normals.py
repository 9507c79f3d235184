"""Words and normals of some blocks: `philox.philox` and `philox.standard_normal` on a GPU."""

import triton
import triton.language as tl

from esgrad.kernels import philox

LOG2, P, Q = (tl.constexpr(values) for values in (philox.LOG2, philox.P, philox.Q))
ROOT_HALF = tl.constexpr(philox.ROOT_HALF)


@triton.jit
def polynomial(coefficients: tl.constexpr, count: tl.constexpr, x):
    """Horner's rule."""
    value = coefficients[count - 1] * x + coefficients[count - 2]
    for power in tl.static_range(3, count + 1):
        value = value * x + coefficients[count - power]
    return value


@triton.jit
def normal(word):
    """The standard normal of the upper 23 bits of each word, uint32 to float32."""
    odd = ((word >> 9) * 2 + 1).to(tl.int32)
    below, above = odd.to(tl.float32), (16777216 - odd).to(tl.float32)
    product = (below * above).to(tl.int32, bitcast=True) - ROOT_HALF
    z = ((product & 0x7FFFFF) + ROOT_HALF).to(tl.float32, bitcast=True) - 1.0
    w = (46 - (product >> 23)).to(tl.float32) - polynomial(LOG2, 8, z) * z
    y = (below - above) * 5.9604644775390625e-08
    return tl.div_rn(y * polynomial(P, 6, w), polynomial(Q, 6, w))


@triton.jit
def normals(key, step, position, sample, block):
    """The four normals of each block; `key` is role · 2³² + seed."""
    w0, w1, w2, w3 = tl.philox(key, step, position, sample, block)
    return normal(w0), normal(w1), normal(w2), normal(w3)
