"""Compiled twins of kernels in plain torch, each held by a test to its oracle's bits: no record depends on them.

Those of a CPU are here, those of a GPU in the folder `gpu`. They need numba, which a kernel does without where it is
not installed: the oracle gives the same bits, more slowly.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

AVAILABLE = find_spec("numba") is not None


def njit(function: Callable[..., Any]) -> Any:
    """Compile a function, and keep what was compiled on the disk if a folder can be written there.

    In a container without a home, with esgrad installed for another user, there is none: each process then compiles.
    numba itself takes what it kept for good until the function's own file changes; here it is until any kernel does, as
    functions and constants of other files are compiled into it.
    """
    import numba
    from numba.core.caching import FunctionCache

    class Cache(FunctionCache):
        def _index_key(self, *of: Any) -> Any:
            return *super()._index_key(*of), digest()

    made: Any = numba.njit(function, nogil=True)
    with suppress(RuntimeError):  # numba's "cannot cache function: no locator available"
        made._cache = Cache(made.py_func)
    return made


@cache
def digest() -> str:
    """Of the source of all kernels."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
