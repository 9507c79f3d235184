"""One network reads k digits, a plain Python function adds them up, and only "sum right or wrong" comes back.

The lecture's picture: a part that cannot be differentiated inside a pipeline (MNIST addition, Manhaeve et al. 2018).
"""

from collections.abc import Sequence
from dataclasses import replace

from esgrad.types import Data, Tensor

BINARY = True
NONNEGATIVE = True
SEES_CLASSES = True
IS_HIT = False
BASE = 10  # the digits 0 to 9


def add(digits: Sequence[Tensor]) -> Tensor:
    """The part nobody differentiates: Python's own sum over the k recognised digits."""
    return sum(digits)  # type: ignore[return-value]


def fitness(logits: Tensor, targets: Tensor) -> Tensor:
    """1 where the recognised digits of logits [..., B, 10·k] add up to the target [..., B], else 0; [..., B]."""
    return judge(see(logits), targets).to(logits.dtype)


def see(logits: Tensor) -> Tensor:
    """The recognised digits, [..., B, 10·k] to [..., B, k]."""
    from esgrad.kernels.argmax import argmax

    return argmax(logits.unflatten(-1, (-1, BASE)))


def judge(classes: Tensor, targets: Tensor) -> Tensor:
    """Whether the digits [..., B, k] add up to the target [..., B]."""
    return add(classes.unbind(-1)) == targets


def accepted(factors: Tensor, targets: Tensor) -> Tensor:
    """Σ Π_i factors[..., i, a_i] over the digits a that add up to the target, [...]: a convolution."""
    import torch

    sums = factors[..., 0, :]  # by the sum so far
    for place in range(1, factors.shape[-2]):
        padded = torch.nn.functional.pad(sums, (0, BASE - 1))
        terms = [factors[..., place, digit, None] * padded.roll(digit, -1) for digit in range(BASE)]
        sums = torch.stack(terms).sum(0)
    return sums.gather(-1, targets[..., None])[..., 0]


def predict(logits: Tensor) -> Tensor:
    """The sum of the recognised digits, [..., B, 10·k] to [..., B]."""
    return add(see(logits).unbind(-1))


def prepare(data: Data) -> Data:
    """Strings of k digits [n, C, H, k·W], labelled by the number, as k images [n, k, C, H, W], labelled by the sum."""
    k, _ = readings(data.num_classes)
    images = data.images.unflatten(-1, (k, -1)).movedim(-2, 1).contiguous()
    sums = add([data.targets // BASE**place % BASE for place in range(k)])
    return replace(data, images=images, targets=sums, num_classes=(BASE - 1) * k + 1)


def readings(num_classes: int) -> tuple[int, int]:
    """How many images of an example the network reads (10^k classes: k), and how many classes each has."""
    return len(str(num_classes - 1)), BASE


def reading_shape(dimension: int) -> tuple[int, int]:
    """k readings of ten logits."""
    return dimension // BASE, BASE


def refuses(dataset: str) -> str | None:
    """Why this data set cannot be judged, or None."""
    if dataset.startswith("digit_strings-"):
        return None
    return f"digit_sum adds the digits of a string: data set '{dataset}' has none, digit_strings-2 would do"
