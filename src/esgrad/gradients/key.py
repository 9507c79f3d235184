"""Which random numbers: the key of a stream (`esgrad.kernels.streams`); light, as estimators pass it around."""

from collections.abc import Sequence
from typing import NamedTuple


class Key(NamedTuple):
    """S distinct seeds, what the numbers are for (`streams.Role`), and the step."""

    seeds: Sequence[int]
    role: int
    step: int
