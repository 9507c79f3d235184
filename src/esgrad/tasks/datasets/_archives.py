"""Published files: kept where torchvision keeps them, checked by its digests, never written over."""

import os
import socket
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Without an answer. torchvision itself waits for ever, and some networks drop what they refuse.
PATIENCE_SECONDS = 20


def check_digest(path: Path, md5: str) -> None:
    """ValueError naming the file unless its MD5 is the published one."""
    from torchvision.datasets.utils import calculate_md5

    if (found := calculate_md5(path)) != md5:
        raise ValueError(
            f"{path} is damaged or cut short: its MD5 is {found}, expected {md5}. "
            f"Put an intact copy there, or delete it and run again with a network."
        )


def download(kind: Any, data_root: Path, missing: Iterable[Path]) -> None:
    """Let torchvision download a data set and put the `missing` archives in place; else ValueError.

    They are moved into place when whole, so that neither a cut line nor a second process leaves half a file.
    """
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(PATIENCE_SECONDS)
        data_root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{kind.__name__}-", dir=data_root) as folder:
            kind(folder, download=True)
            for path in missing:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(folder / path.relative_to(data_root), path)
    except (OSError, RuntimeError, HTTPException) as error:
        raise ValueError(_advice(kind.__name__, missing, error)) from error
    finally:
        socket.setdefaulttimeout(patience)


def _advice(name: str, missing: Iterable[Path], error: Exception) -> str:
    """One line: what is missing, why it could not be had, and what would do."""
    files = ", ".join(str(path) for path in missing)
    # torchvision lists its mirrors first and what the last one answered at the end.
    reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return (
        f"{name} is not there and could not be downloaded ({reason}). Missing: {files}. Put the files there, "
        f"as torchvision.datasets.{name} downloads them, or run once with a network."
    )
