"""What tests do to files and calls, to see that it is refused."""

from pathlib import Path

import pytest


def refusal(call, *arguments) -> str:
    """The one line that a call is refused with."""
    with pytest.raises((ValueError, OSError)) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def flip_bit(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
