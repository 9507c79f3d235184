"""Work in parts that share nothing, on as many threads as a process was given: the parts are fixed, so are the bits."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pools: dict[int, ThreadPoolExecutor] = {}  # one at most, by its number of threads


def use(threads: int) -> None:
    """Use so many threads from now on, while the calling one waits; each part is computed by one."""
    if threads in _pools:
        return
    while _pools:
        _pools.popitem()[1].shutdown()
    if threads > 1:
        _pools[threads] = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def each(work: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
    """What `work` makes of each of the parts, in their order."""
    (shared,) = _pools.values() or (None,)
    return list(shared.map(work, parts) if shared else map(work, parts))
