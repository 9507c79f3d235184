"""70,000 handwritten digits (LeCun, Cortes, Burges 1998)."""

from pathlib import Path

from esgrad.data import Data
from esgrad.datasets import _idx
from esgrad.datasets._idx import facts as facts


def decode(data_root: Path) -> Data:
    """The digits, [70000, 1, 28, 28], from torchvision's folder below `data_root` (see _idx)."""
    return _idx.decode("MNIST", data_root)
