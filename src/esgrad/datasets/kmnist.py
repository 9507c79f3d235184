"""70,000 cursive Japanese characters in ten classes, Kuzushiji-MNIST (arXiv 1812.01718)."""

from pathlib import Path

from esgrad.data import Data
from esgrad.datasets import _idx
from esgrad.datasets._idx import facts as facts


def decode(data_root: Path) -> Data:
    """The characters, [70000, 1, 28, 28], from torchvision's folder below `data_root` (see _idx)."""
    return _idx.decode("KMNIST", data_root)
