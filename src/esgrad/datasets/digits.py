"""1,797 handwritten digits, 8×8 pixels from 0 to 16, out of scikit-learn (optdigits, Alpaydin & Kaynak 1998).

No part is fixed: each seed draws its own validation and test images, so that ten seeds judge on most of them.
"""

from pathlib import Path

from esgrad.data import Data, Facts

COUNTS = (1797, 0, 0)


def facts() -> Facts:
    return Facts(num_classes=10, shape=(1, 8, 8), counts=COUNTS)


def decode(data_root: Path) -> Data:
    """The digits, [1797, 1, 8, 8]; `data_root` is not looked at."""
    import torch
    from sklearn.datasets import load_digits

    images, targets = load_digits(return_X_y=True)
    images = torch.from_numpy(images).to(torch.uint8).view(-1, 1, 8, 8)
    return Data(images, torch.from_numpy(targets).long(), num_classes=10, scale=16, counts=COUNTS)
