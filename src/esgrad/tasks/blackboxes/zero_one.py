"""The lecture's black box: isequal(argmax(logits), y)."""

from esgrad.types import Data, Tensor

BINARY = True
NONNEGATIVE = True
SEES_CLASSES = True
IS_HIT = True


def fitness(logits: Tensor, targets: Tensor) -> Tensor:
    """1 where the largest of the logits [..., B, K] is the target's [..., B], else 0; [..., B]."""
    return judge(see(logits), targets).to(logits.dtype)


def see(logits: Tensor) -> Tensor:
    """The recognised class, [..., B, K] to [..., B, 1]."""
    return predict(logits)[..., None]


def judge(classes: Tensor, targets: Tensor) -> Tensor:
    """Whether the class [..., B, 1] is the target [..., B]."""
    return classes[..., 0] == targets


def accepted(factors: Tensor, targets: Tensor) -> Tensor:
    """The target's factor, [...] of [..., 1, K]."""
    return factors[..., 0, :].gather(-1, targets[..., None])[..., 0]


def predict(logits: Tensor) -> Tensor:
    """The recognised class of each example, [..., B, K] to [..., B]."""
    from esgrad.kernels.argmax import argmax

    return argmax(logits)


def prepare(data: Data) -> Data:
    """The data as this black box's pipeline presents them: as they are."""
    return data


def readings(num_classes: int) -> tuple[int, int]:
    """How many images of an example the network reads, and how many classes each has."""
    return 1, num_classes


def reading_shape(dimension: int) -> tuple[int, int]:
    """One reading of all the logits."""
    return 1, dimension


def refuses(dataset: str) -> str | None:
    """Why this data set cannot be judged, or None."""
    return None
