"""a·b + c rounded once, as a processor's own instruction has it, for float32 in plain torch.

The product of two float32 is exact in float64; the sum with a third is rounded to odd there (Boldo & Melquiond 2008,
IEEE Transactions on Computers 57: "Emulation of a FMA and correctly rounded sums"), so that to round once more, to
float32, gives what one rounding would have given.
"""

import torch
from torch import Tensor


def fma(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a·b + c of float32 tensors that broadcast, float32."""
    product, addend = torch.broadcast_tensors(a.double() * b.double(), c.double())
    total = product + addend
    back = total - product
    missing = (product - (total - back)) + (addend - back)  # what rounding has lost of the sum, exactly (Knuth)
    bits = total.contiguous().view(torch.int64)
    outward = (missing > 0) == (total > 0)  # a sum that is 0 has lost nothing
    odd = torch.where(outward, bits + 1, bits - 1)
    lost = (missing != 0) & torch.isfinite(missing) & (bits % 2 == 0)
    return torch.where(lost, odd, bits).view(torch.float64).float()
