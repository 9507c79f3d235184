"""A data set as one value: decoded once, saved whole, split per seed.

A data set's word in configs and paths is its file's name and its arguments, joined by '-', as in `digits` and
`digit_strings-3-mnist`.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict

from esgrad import menu
from esgrad.files import sha256, written

if TYPE_CHECKING:  # and not from `types`, which names what is here
    from torch import Tensor

DRAWN_SHARE = 5  # a part that the files do not fix is one in five of the first part,
DRAWN_AT_MOST = 5_000  # and at most so many examples


class Description(TypedDict):
    """What is known of a data set before it is read; the counts as in Data."""

    num_classes: int
    shape: tuple[int, int, int]  # C, H, W
    counts: tuple[int, int, int]  # train, validation, test


def describe(word: str) -> Description:
    """A data set by its word, nothing read; ValueError for a word no data set answers to."""
    module, arguments = _understand(word)
    return module.description(*arguments)


def num_train(description: Description) -> int:
    """Training images left when the parts that the files do not fix are drawn."""
    first, *later = description["counts"]
    return first - later.count(0) * min(first // DRAWN_SHARE, DRAWN_AT_MOST)


def decode(word: str, data_root: str | Path) -> Data:
    """The data set of that word, read from `data_root`; what is missing there is downloaded, given a network.

    ValueError or OSError, one line, for an unknown word and for files that are missing or damaged.
    """
    module, arguments = _understand(word)
    description, data = module.description(*arguments), module.decode(Path(data_root).expanduser(), *arguments)
    shape = tuple(data.images.shape[1:])
    if (data.num_classes, shape, data.counts) != (
        description["num_classes"],
        description["shape"],
        description["counts"],
    ):
        found = f"num_classes {data.num_classes}, shape {shape}, counts {data.counts}"
        raise ValueError(f"data set '{word}' is not what its description says: {found}, expected {description}.")
    return data


def save(data: Data, path: str | Path) -> None:
    """Write `data` to `path` (safetensors), whole or not at all, and its SHA-256 to `<path>.sha256`."""
    from safetensors import torch as safetensors

    path = Path(path)
    tensors = {"images": data.images.contiguous(), "targets": data.targets.contiguous()}
    description = {"num_classes": data.num_classes, "scale": data.scale, "counts": data.counts}
    # One key: safetensors writes several in an order that changes from run to run.
    # Not `save_file`: nobody else may read the files it makes.
    content = safetensors.save(tensors, {"data": json.dumps(description)})
    with written(path) as temporary, written(_digest_path(path)) as beside:  # the digest takes its name first
        temporary.write_bytes(content)
        beside.write_text(f"{sha256(temporary)}  {path.name}\n", encoding="utf-8")


def load(path: str | Path) -> Data:
    """What `save` wrote at `path`; ValueError naming the file if a bit has changed or the end is missing."""
    from safetensors import safe_open

    path = Path(path)
    expected, found = _digest_path(path).read_text(encoding="utf-8").split(" ")[0], sha256(path)
    if found != expected:
        raise ValueError(
            f"{path} is damaged or cut short: its SHA-256 is {found}, expected {expected} as in "
            f"{_digest_path(path).name}. Delete both files and run again: they are made anew."
        )
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["data"])
        images, targets = file.get_tensor("images"), file.get_tensor("targets")
    return Data(images, targets, description["num_classes"], description["scale"], tuple(description["counts"]))


def split(data: Data, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The examples of a seed's (train, validation, test) parts: three sorted int64 index tensors, disjoint.

    A part that the files fix is the same for every seed. Any other (count 0) is drawn by the seed from the
    first part: a fifth of it, at most 5,000. What is left there is the training part.
    """
    import torch

    from esgrad.kernels.streams import Role, permutation

    first, *later = torch.arange(len(data.targets)).split(list(data.counts))
    order = permutation(seed, Role.SPLIT, 0, len(first))
    share, drawn, parts = min(len(first) // DRAWN_SHARE, DRAWN_AT_MOST), 0, []
    for part in later:
        if len(part) == 0:
            part = order[drawn : drawn + share].sort().values
            drawn += share
        parts.append(part)
    validation, test = parts
    return order[drawn:].sort().values, validation, test


def _understand(word: str) -> tuple[ModuleType, list[str]]:
    """The file and the arguments a word names, `digit_strings-3` → digit_strings, ['3']."""
    name, *arguments = str(word).split("-")
    module = menu.load("datasets", name)
    parameters = inspect.signature(module.description).parameters.values()
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    if not len(required) <= len(arguments) <= len(parameters):
        optional = [parameter.name for parameter in parameters if parameter.name not in required]
        form = name + "".join(f"-<{it}>" for it in required) + "".join(f"[-<{it}>]" for it in optional)
        raise ValueError(f"data set '{word}' is not of the form '{form}'.")
    return module, arguments


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


@dataclass(frozen=True, eq=False)
class Data:
    """Images and labels in file order, the parts one after the other.

    A part whose count is 0 is drawn, per seed, from the first part (`split`). A count above 0 fixes the part:
    because others report on that test set, or because no digit image may stand in two parts.
    """

    images: Tensor  # [n, C, H, W] uint8, or [n, k, C, H, W] once a black box has taken strings apart
    targets: Tensor  # [n] int64, from 0 to num_classes − 1
    num_classes: int
    scale: int  # the largest value a pixel can have, 16 or 255
    counts: tuple[int, int, int]  # train, validation, test

    def __post_init__(self) -> None:
        import torch

        n = len(self.targets)
        if self.images.dtype != torch.uint8 or self.images.ndim < 4 or len(self.images) != n or n == 0:
            found = f"{self.images.dtype} {list(self.images.shape)} for {n} labels"
            raise ValueError(f"images must be uint8 [n, C, H, W], an image a label; got {found}.")
        if self.targets.dtype != torch.int64 or self.targets.ndim != 1:
            raise ValueError(f"labels must be int64 [n]; got {self.targets.dtype} {list(self.targets.shape)}.")
        low, high, brightest = int(self.targets.min()), int(self.targets.max()), int(self.images.max())
        if low < 0 or high >= self.num_classes:
            raise ValueError(f"labels run from {low} to {high}, expected 0 to {self.num_classes - 1}.")
        if brightest > self.scale:
            raise ValueError(f"the brightest pixel is {brightest}, expected at most the scale, {self.scale}.")
        if len(self.counts) != 3 or sum(self.counts) != n or min(self.counts) < 0 or self.counts[0] < DRAWN_SHARE:
            rule = f"three numbers that sum to {n}, the first at least {DRAWN_SHARE}"
            raise ValueError(f"counts (train, validation, test) are {self.counts}, expected {rule}.")
