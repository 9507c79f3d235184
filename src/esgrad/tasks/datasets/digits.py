"""1,797 handwritten digits, 8×8 pixels from 0 to 16, out of scikit-learn (optdigits, Alpaydin & Kaynak 1998).

Word: `digits[-k]`, the first k of the ten classes. No part is fixed: each seed draws its own validation and test
images, so that ten seeds judge on most of them.
"""

from pathlib import Path

from esgrad.tasks.data import Data, Description
from esgrad.tasks.datasets import _classes

PER_CLASS = [(178, 182, 177, 183, 181, 182, 181, 179, 174, 180), (), ()]  # of train, validation and test
COUNTS = (1797, 0, 0)


def description(classes: str = "10") -> Description:
    """ValueError for a number of classes that cannot be had."""
    k = _classes.number(classes, 10)
    return Description(num_classes=k, shape=(1, 8, 8), counts=_classes.counts(PER_CLASS, k))


def decode(data_root: Path, classes: str = "10") -> Data:
    """The digits, [1797, 1, 8, 8], or those below k; `data_root` is not looked at."""
    import torch
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    images = torch.from_numpy(images).to(torch.uint8).view(-1, 1, 8, 8)
    data = Data(images, torch.from_numpy(targets).long(), num_classes=10, scale=16, counts=COUNTS)
    return _classes.first(data, _classes.number(classes, 10))
