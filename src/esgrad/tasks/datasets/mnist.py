"""70,000 handwritten digits (LeCun, Cortes, Burges 1998).

Word: `mnist[-k]`, the first k of the ten classes.
"""

from pathlib import Path

from esgrad.tasks.data import Data, Description
from esgrad.tasks.datasets import _idx

PER_CLASS = [
    (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),  # train
    (),
    (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),  # test
]


def description(classes: str = "10") -> Description:
    """ValueError for a number of classes that cannot be had."""
    return _idx.description(PER_CLASS, classes)


def decode(data_root: Path, classes: str = "10") -> Data:
    """The digits, [70000, 1, 28, 28], or the first k classes, from torchvision's folder below `data_root`."""
    return _idx.decode("MNIST", data_root, classes)
