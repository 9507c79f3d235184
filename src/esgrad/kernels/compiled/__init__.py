"""Compiled twins of kernels in plain torch, each held by a test to its oracle's bits: no record depends on them.

They need numba, which a kernel does without where it is not installed: the oracle gives the same bits, more slowly.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

AVAILABLE = find_spec("numba") is not None


def njit(function: Callable[..., Any]) -> Any:
    """Compile a function, and keep what was compiled on the disk if a folder can be written there.

    In a container without a home, with esgrad installed for another user, there is none: each process then compiles.
    """
    import numba

    try:
        return numba.njit(function, nogil=True, cache=True)
    except RuntimeError:  # numba's "cannot cache function: no locator available"
        return numba.njit(function, nogil=True)
