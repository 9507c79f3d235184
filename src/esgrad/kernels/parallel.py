"""Work in parts that share nothing, on as many threads as a process was given: the parts are fixed, so are the bits."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pools: list[ThreadPoolExecutor] = []


def use(threads: int) -> None:
    """Use so many threads from now on, while the calling one waits; each part is computed by one."""
    if threads == (_pools[0]._max_workers if _pools else 1):
        return
    while _pools:
        _pools.pop().shutdown()
    if threads > 1:
        _pools.append(ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)))


def each(work: Callable[[Any], Any], parts: Iterable[Any]) -> list[Any]:
    """What `work` makes of each of the parts, in their order."""
    return list(_pools[0].map(work, parts) if _pools else map(work, parts))
