"""`esgrad.kernels.fma`, compiled: the instruction of a processor that has one, else the function of the C library."""

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once."""

    def code(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return numba.float32(numba.float32, numba.float32, numba.float32), code
