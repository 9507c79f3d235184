"""A folder is a menu: its files are the choices, a file's name is the name used in configs, paths and figures.

Nothing is registered anywhere: put a file into the folder and it is on the menu.
"""

import ast
import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
PARTS = {"categorical", "compiled"}
"""Folders of a chapter whose files work together, and are no menu."""


def menus() -> list[str]:
    """The menus there are, sorted: the folders in a chapter whose files stand for themselves."""
    return sorted({path.parent.name for path in PACKAGE.glob("*/*/__init__.py")} - PARTS)


def folder(menu: str) -> Path:
    """Where a menu's files lie; ValueError with the nearest known name."""
    if menu not in menus():
        raise unknown("menu", menu, menus())
    (found,) = PACKAGE.glob(f"*/{menu}/__init__.py")
    return found.parent


def names(menu: str) -> list[str]:
    """The choices on a menu, sorted, found without importing any of them."""
    return sorted(map(_word, _files(menu)))


def path(menu: str, name: str) -> Path:
    """The file behind a name; raises ValueError with the nearest known name."""
    files = {_word(file): file for file in _files(menu)}
    if name not in files:
        raise unknown(f"name in {menu}", name, files)
    return files[name]


def load(menu: str, name: str) -> Any:
    """The module behind a name; raises ValueError with the nearest known name."""
    return importlib.import_module(module(menu, name))


def module(menu: str, name: str) -> str:
    """Its dotted name."""
    return ".".join(["esgrad", *path(menu, name).relative_to(PACKAGE).with_suffix("").parts])


def unknown(kind: str, word: object, known: Iterable[str]) -> ValueError:
    """The error for a word nobody knows: it names the word, the nearest known one and all the others."""
    known = list(known)
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ValueError(f"unknown {kind} '{word}'.{hint} Known: {', '.join(known)}.")


def summary(menu: str, name: str) -> str:
    """The first line of a file's docstring, read without importing it."""
    text = ast.get_docstring(ast.parse(path(menu, name).read_text(encoding="utf-8")))
    return (text or "").split("\n")[0]


def name(module: object) -> str:
    """The word for a file that `load` has loaded."""
    return getattr(module, "__name__", str(module)).rpartition(".")[2].rstrip("_")


def _files(menu: str) -> list[Path]:
    return sorted(file for file in folder(menu).glob("*.py") if not file.stem.startswith("_"))


def _word(file: Path) -> str:
    """A file's name without `.py`, and without the `_` that keeps it from being a word of Python (`class_.py`)."""
    return file.stem.rstrip("_")
