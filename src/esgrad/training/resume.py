"""Where a training stands, in a file: what was killed goes on from there, with any number of processes.

Of several processes the first reads and writes the file, and tells the others what it has read: another machine need
not see it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from esgrad.files import check_writable, written
from esgrad.kernels import processes


class Resume:
    """The file of one training; who it belongs to is in it."""

    def __init__(self, path: str | Path, identity: dict[str, Any], seconds: float = 60.0) -> None:
        """`identity` names settings and sources; `seconds` are between two savings at least.

        ValueError for a path where no file can be written.
        """
        self.path, self.identity, self.seconds = Path(path), identity, seconds
        processes.told(lambda: check_writable(self.path))
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What was saved, or None; ValueError for a file of another training, or of none."""
        return processes.told(self._read)

    def _read(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            identity = dict(state["identity"])
        except Exception as error:  # whatever torch finds wrong with it
            raise ValueError(
                f"{self.path} is no whole checkpoint of a training ({type(error).__name__}): name another file, or "
                "delete this one if it was to be one"
            ) from None
        if identity != self.identity:
            raise ValueError(
                f"{self.path} is the checkpoint of another training, {self._others(identity)}: name another file, or "
                "delete this one"
            )
        return state

    def _others(self, identity: dict[str, Any]) -> str:
        """In what another training differs from this one."""
        keys = [key for key in {**self.identity, **identity} if identity.get(key) != self.identity.get(key)]
        each = [f"{key} = {identity.get(key)!r} instead of {self.identity.get(key)!r}" for key in keys[:3]]
        return "with " + ", ".join(each) + (" and more" if len(keys) > 3 else "")

    def offer(self, state: Callable[[], dict[str, Any]], last: bool = False) -> None:
        """Save a state, made only if it is time."""
        if processes.rank() == 0 and (last or time.monotonic() - self.saved >= self.seconds):
            with written(self.path) as temporary:
                torch.save({"identity": self.identity, **state()}, temporary)
            self.saved = time.monotonic()
