"""Which random numbers: the key of a stream (`esgrad.kernels.streams`); light, as estimators pass it around."""

from collections.abc import Sequence
from typing import NamedTuple

MOST_SAMPLES = 2**32
"""Of a step: the number of a sample is one word of a stream's counter."""


def too_many(num_samples: int) -> str | None:
    """Why a step cannot draw so many samples, or None. Laws may speak of more: they draw nothing."""
    if num_samples <= MOST_SAMPLES:
        return None
    return f"a step has numbers for 2^32 samples: N = {num_samples} is more, several steps would do"


class Key(NamedTuple):
    """S distinct seeds, what the numbers are for (`streams.Role`), the step, and where its positions begin."""

    seeds: Sequence[int]
    role: int
    step: int
    offset: int = 0
    """The place of the first position among all of the step: micro-batches and ranks share a step, not its noise."""
