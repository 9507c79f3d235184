"""Data sets: what is known of them before they are read, and how their files are decoded."""

from collections.abc import Callable
from typing import Any, Protocol

from esgrad.types import Data


class Dataset(Protocol):
    """What a file states of its data set; its arguments are the words after its name, joined by '-'."""

    description: Callable[..., Any]
    """`description(*arguments)`: numbers of classes, pixels and examples, nothing read (`tasks.data.Description`)."""

    decode: Callable[..., Data]
    """`decode(data_root, *arguments)`: the images and labels, in file order."""


Contract = Dataset
"""What mypy holds every file of this menu to."""
