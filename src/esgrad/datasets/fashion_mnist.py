"""70,000 articles of clothing in ten classes (arXiv 1708.07747)."""

from pathlib import Path

from esgrad.data import Data
from esgrad.datasets import _idx
from esgrad.datasets._idx import facts as facts


def decode(data_root: Path) -> Data:
    """The articles, [70000, 1, 28, 28], from torchvision's folder below `data_root` (see _idx)."""
    return _idx.decode("FashionMNIST", data_root)
