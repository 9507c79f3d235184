"""Where a training stands, in a file: what was killed goes on from there, with any number of processes."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from esgrad.files import written


class Resume:
    """The file of one training; who it belongs to is in it."""

    def __init__(self, path: str | Path, identity: str, seconds: float = 60.0, writes: bool = True) -> None:
        """`seconds` between two savings at least; `writes`: of several processes one does."""
        self.path, self.identity, self.seconds, self.writes = Path(path), identity, seconds, writes
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What was saved, or None; ValueError for a file of another training, or of none."""
        if not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            identity = state["identity"]
        except Exception as error:  # whatever torch finds wrong with it
            raise ValueError(
                f"{self.path} is no checkpoint of a training ({type(error).__name__}): delete it"
            ) from None
        if identity != self.identity:
            raise ValueError(
                f"{self.path} is the checkpoint of another training, with other settings or sources: delete it or name "
                "another file"
            )
        return state

    def offer(self, state: Callable[[], dict[str, Any]], last: bool = False) -> None:
        """Save a state, made only if it is time."""
        if self.writes and (last or time.monotonic() - self.saved >= self.seconds):
            with written(self.path) as temporary:
                torch.save({"identity": self.identity, **state()}, temporary)
            self.saved = time.monotonic()
