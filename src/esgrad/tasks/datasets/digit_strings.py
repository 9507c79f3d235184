"""k handwritten digits side by side, read as one number: 10^k real classes. Word: `digit_strings-k[-source]`.

The digit images of the source (`digits` or `mnist`) are parted first and strings are drawn within a part,
so that no digit image stands in two parts: `digits` by a fixed permutation, 60 % / 20 % / 20 %; `mnist`
keeps its own test images, and its last 10,000 train images are for validation. Every number is equally
frequent in every part, and each image of a digit is used equally often (± 1) at each place of the string.

A limit to know: many strings share a digit image (with `digits`, k = 2, a training image stands in about
37), so the strings of a part are not independent, and an accuracy is less certain than their number
suggests: behind it are 359 test images with `digits`, 10,000 with `mnist`.
"""

from pathlib import Path

from esgrad.menu import unknown
from esgrad.tasks.data import Data, Description
from esgrad.tasks.datasets import digits, mnist
from esgrad.types import Tensor

SOURCES = {"digits": digits, "mnist": mnist}
# Strings in (train, validation, test): 200, 20 and 20 of each number for k = 2; 50, 5 and 5 for k = 3.
COUNTS = {"2": (20_000, 2_000, 2_000), "3": (50_000, 5_000, 5_000)}
BASE = 10
SEED = 1_000_000_007  # of the strings: fixed, and far from the seeds of runs
MNIST_VALIDATION = 10_000


def description(length: str, source: str = "digits") -> Description:
    """ValueError for a length other than 2 or 3 and for an unknown source."""
    _check(length, source)
    channels, height, width = SOURCES[source].description()["shape"]
    k = int(length)
    return Description(num_classes=BASE**k, shape=(channels, height, k * width), counts=COUNTS[length])


def decode(data_root: Path, length: str, source: str = "digits") -> Data:
    """Strings of `length` digits, [n, C, H, length · W], each labelled by its number, left digit first."""
    import torch

    _check(length, source)
    base = SOURCES[source].decode(data_root)
    k, parts = int(length), []
    for part, (pool, count) in enumerate(zip(_pools(base), COUNTS[length], strict=True)):
        parts.append(_strings(pool, base.targets[pool], k, count, part))
    members, targets = (torch.cat(tensors) for tensors in zip(*parts, strict=True))  # [n, k], [n]
    images = torch.cat([base.images[members[:, place]] for place in range(k)], dim=-1)
    return Data(images, targets, BASE**k, base.scale, COUNTS[length])


def _pools(base: Data) -> list[Tensor]:
    """The digit images that (train, validation, test) strings are made of, three disjoint index tensors."""
    import torch

    from esgrad.kernels.streams import Role, permutation

    train, _, test = base.counts
    if test:
        sizes, order = [train - MNIST_VALIDATION, MNIST_VALIDATION, test], torch.arange(train + test)
    else:
        fifth = train // 5
        sizes, order = [train - 2 * fifth, fifth, fifth], permutation(SEED, Role.SPLIT, 0, train)
    return list(order.split(sizes))


def _strings(pool: Tensor, labels: Tensor, k: int, count: int, part: int) -> tuple[Tensor, Tensor]:
    """A part's strings: their images [n, k], out of `pool`, whose digits are `labels`, and numbers [n].

    A permutation modulo m draws from 0 to m − 1, each equally often (± 1), in random order.
    """
    import torch

    from esgrad.kernels.streams import Role, permutation

    # A stream of its own for every draw: 1 + 10k of them a part, after the one of `_pools`.
    streams = iter(range(1 + part * (1 + BASE * k), 1 + (part + 1) * (1 + BASE * k)))
    numbers = permutation(SEED, Role.SPLIT, next(streams), count) % BASE**k
    members = torch.empty(count, k, dtype=torch.int64)
    for place in range(k):
        digit = numbers // BASE ** (k - 1 - place) % BASE
        for value in range(BASE):
            here, candidates = (digit == value).nonzero()[:, 0], pool[labels == value]
            draw = permutation(SEED, Role.SPLIT, next(streams), len(here)) % len(candidates)
            members[here, place] = candidates[draw]
    return members, numbers


def _check(length: str, source: str) -> None:
    if length not in COUNTS:
        raise ValueError(f"digit_strings of length '{length}' cannot be had: expected {' or '.join(COUNTS)} digits.")
    if source not in SOURCES:
        raise unknown("source of digit_strings", source, SOURCES)
