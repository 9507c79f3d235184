"""The images of the first k classes only, for tasks of fewer classes: `digits-2` reads zeros and ones.

Nothing is drawn: what is kept stays in file order, the parts one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from esgrad.tasks.data import Data

Counts = tuple[int, int, int]


def number(word: str, num_classes: int) -> int:
    """k as a data set's argument says it; ValueError unless it is a whole number from 2 to `num_classes`."""
    if word not in (known := [str(k) for k in range(2, num_classes + 1)]):
        raise ValueError(f"the first '{word}' classes cannot be had: expected a number from 2 to {known[-1]}.")
    return int(word)


def counts(per_class: Sequence[Sequence[int]], k: int) -> Counts:
    """Images of the first k classes in (train, validation, test), from those of each class in each part."""
    train, validation, test = (sum(part[:k]) for part in per_class)
    return train, validation, test


def first(data: Data, k: int) -> Data:
    """The images of the first k classes."""
    if k == data.num_classes:
        return data
    kept = data.targets < k
    train, validation, test = (int(part.sum()) for part in kept.split(list(data.counts)))
    return Data(data.images[kept], data.targets[kept], k, data.scale, (train, validation, test))
