"""Several processes at one run, by torch.distributed: each asks its share, and all come to know the answers.

Without a process group there is one process, which does all.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def number() -> int:
    """Processes at work."""
    return dist.get_world_size() if _many() else 1


def rank() -> int:
    """The number of this one, from 0."""
    return dist.get_rank() if _many() else 0


def share(count: int) -> slice:
    """Which of so many this process does."""
    return slice(count * rank() // number(), count * (rank() + 1) // number())


def told(make: Callable[[], T]) -> T:
    """What the first process makes, for all of them; its ValueError is everybody's."""
    if number() == 1:
        return make()
    said: list[Any] = [None, None]
    if rank() == 0:
        try:
            said[0] = make()
        except ValueError as error:
            said[1] = str(error)
    dist.broadcast_object_list(said, src=0)
    if said[1] is not None:
        raise ValueError(said[1])
    return said[0]


def shared(answers: Tensor) -> Tensor:
    """Everybody's answers, from tensors that hold 0 where others were asked: no sum has more than one term."""
    if number() > 1:
        dist.all_reduce(answers)
    return answers


def _many() -> bool:
    return dist.is_available() and dist.is_initialized()
