"""70,000 articles of clothing in ten classes (arXiv 1708.07747).

Word: `fashion_mnist[-k]`, the first k of the ten classes.
"""

from pathlib import Path

from esgrad.tasks.data import Data, Description
from esgrad.tasks.datasets import _idx

PER_CLASS = [(6000,) * 10, (), (1000,) * 10]  # of train, validation and test


def description(classes: str = "10") -> Description:
    """ValueError for a number of classes that cannot be had."""
    return _idx.description(PER_CLASS, classes)


def decode(data_root: Path, classes: str = "10") -> Data:
    """The articles, [70000, 1, 28, 28], or the first k classes, from torchvision's folder below `data_root`."""
    return _idx.decode("FashionMNIST", data_root, classes)
