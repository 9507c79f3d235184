"""60,000 colour photographs in ten classes, CIFAR-10 (Krizhevsky 2009, technical report, Toronto)."""

from __future__ import annotations

import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from esgrad.tasks.data import Data, Description
from esgrad.tasks.datasets._archives import check_digest, download

COUNTS = (50_000, 0, 10_000)


def description() -> Description:
    return Description(num_classes=10, shape=(3, 32, 32), counts=COUNTS)


def decode(data_root: Path) -> Data:
    """The photographs, [60000, 3, 32, 32], from torchvision's folder or, where that is not whole, its tar.gz.

    Nothing is written below `data_root` if either is there.
    """
    from torchvision.datasets import CIFAR10

    files = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]
    published = {data_root / CIFAR10.base_folder / file: md5 for file, md5 in files}
    if all(path.is_file() for path in published):
        for path, md5 in published.items():
            check_digest(path, md5)
        return _read(data_root)
    archive = data_root / CIFAR10.filename
    if not archive.is_file():
        download(CIFAR10, data_root, [archive])
    check_digest(archive, CIFAR10.tgz_md5)
    with TemporaryDirectory() as elsewhere, tarfile.open(archive) as packed:
        safe: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.3 has none
        packed.extractall(elsewhere, **safe)  # of this very archive, by its digest
        return _read(Path(elsewhere))


def _read(folder: Path) -> Data:
    import torch
    from torchvision.datasets import CIFAR10

    parts = [CIFAR10(folder, train=True), CIFAR10(folder, train=False)]
    images = torch.cat([torch.from_numpy(part.data) for part in parts])  # [n, H, W, C]
    targets = torch.cat([torch.tensor(part.targets) for part in parts])
    return Data(images.permute(0, 3, 1, 2).contiguous(), targets, num_classes=10, scale=255, counts=COUNTS)
