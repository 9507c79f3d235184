"""The idx files of MNIST and of its kin: 28×28 pixels, ten classes, 60,000 + 10,000 examples.

They are read from torchvision's folders, <data_root>/<name>/raw, and nothing is written there if each is
present, as .gz or unpacked. torchvision knows the MD5 of the .gz files only: of a file that is there unpacked
alone, the size, the header and the range of the labels are checked, and no more can be.
"""

import gzip
import shutil
import struct
from collections.abc import Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from esgrad.tasks.data import Data, Description
from esgrad.tasks.datasets import _classes
from esgrad.tasks.datasets._archives import check_digest, download
from esgrad.types import Tensor

NUM_CLASSES = 10
COUNTS = (60_000, 0, 10_000)  # the published test images are the test part; validation is drawn per seed
SIZE = (28, 28)
UNSIGNED_BYTES = 8  # idx's code of the type, third byte of a file; the fourth is the number of dimensions


def description(per_class: Sequence[Sequence[int]], classes: str) -> Description:
    """Of the first classes, from the images of each class in each part."""
    k = _classes.number(classes, NUM_CLASSES)
    return Description(num_classes=k, shape=(1, *SIZE), counts=_classes.counts(per_class, k))


def decode(name: str, data_root: Path, classes: str) -> Data:
    """The data set that torchvision calls `name`: train images, then test images, [70000, 1, 28, 28]; or the first
    classes of it."""
    import torch
    from torchvision import datasets

    k, kind = _classes.number(classes, NUM_CLASSES), getattr(datasets, name)
    published = {data_root / name / "raw" / file: md5 for file, md5 in kind.resources}
    missing = [path for path in published if not path.is_file() and not _unpacked(path).is_file()]
    if missing:
        download(kind, data_root, missing)
    images, targets = [], []
    with TemporaryDirectory() as elsewhere:
        for part, count in (("train", COUNTS[0]), ("t10k", COUNTS[2])):
            for path, md5 in published.items():
                if path.name.startswith(f"{part}-images"):
                    images.append(_read(path, md5, (count, *SIZE), Path(elsewhere)))
                elif path.name.startswith(f"{part}-labels"):
                    targets.append(_read(path, md5, (count,), Path(elsewhere)))
    data = Data(torch.cat(images).unsqueeze(1), torch.cat(targets), NUM_CLASSES, scale=255, counts=COUNTS)
    return _classes.first(data, k)


def _read(path: Path, md5: str, shape: tuple[int, ...], elsewhere: Path) -> Tensor:
    """One file by torchvision's reader, images uint8 or labels int64, of that shape; `path` is the .gz."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    plain = _unpacked(path)
    if path.is_file():
        check_digest(path, md5)
        plain = elsewhere / plain.name
        with gzip.open(path) as packed, plain.open("wb") as file:
            shutil.copyfileobj(packed, file)
    _check_header(plain, shape)
    if len(shape) > 1:
        return read_image_file(str(plain))
    targets = read_label_file(str(plain))
    if (high := int(targets.max())) >= NUM_CLASSES:
        raise ValueError(f"{plain} is damaged: a label is {high}, expected 0 to {NUM_CLASSES - 1}.")
    return targets


def _check_header(path: Path, shape: tuple[int, ...]) -> None:
    """ValueError unless the file is idx, of bytes, of that shape and as long as that."""
    header = struct.pack(f">{1 + len(shape)}I", UNSIGNED_BYTES << 8 | len(shape), *shape)
    with path.open("rb") as file:
        found = file.read(len(header))
    size, expected = path.stat().st_size, len(header) + prod(shape)
    if found != header or size != expected:
        raise ValueError(
            f"{path} is damaged, cut short or another file: {size:,} bytes that begin {found.hex()}, "
            f"expected {expected:,} that begin {header.hex()}. Put an intact copy there, or its .gz."
        )


def _unpacked(path: Path) -> Path:
    """The file that a .gz is unpacked to."""
    return path.with_suffix("")
