"""A folder is a menu: its files are the choices, a file's name is the name used in configs, paths and figures.

Nothing is registered anywhere: put a file into the folder and it is on the menu. A file of another package joins by an
entry point of that package, in the group `esgrad.<menu>` and of the file's name (`esgrad new` writes such a package).
"""

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parent
PARTS = {"categorical", "compiled"}
"""Folders of a chapter whose files work together, and are no menu."""


class _Choice(NamedTuple):
    module: str
    path: Path


@cache
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
    return sorted(_choices(menu))


def path(menu: str, name: str) -> Path:
    """The file behind a name; raises ValueError with the nearest known name."""
    return _choice(menu, name).path


def load(menu: str, name: str) -> Any:
    """The module behind a name; raises ValueError with the nearest known name."""
    return importlib.import_module(module(menu, name))


def module(menu: str, name: str) -> str:
    """Its dotted name."""
    return _choice(menu, name).module


@cache
def guests() -> dict[str, Path]:
    """Other packages with a file on a menu, by their first name, and the folder that each lies in."""
    entries = [entry for menu in menus() for entry in entry_points(group=f"esgrad.{menu}")]
    return {entry.value.partition(".")[0]: _origin(entry).parents[entry.value.count(".")] for entry in entries}


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
    return _word(getattr(module, "__name__", str(module)))


def _choice(menu: str, name: str) -> _Choice:
    choices = _choices(menu)
    if name not in choices:
        raise unknown(f"name in {menu}", name, sorted(choices))
    return choices[name]


@cache
def _choices(menu: str) -> dict[str, _Choice]:
    """Every choice by its name; folders and packages are read once a process."""
    choices = dict(_own(menu))
    for entry in entry_points(group=f"esgrad.{menu}"):
        if entry.name in choices:
            raise ValueError(f"'{entry.name}' is on the menu {menu} twice: {choices[entry.name].module}, {entry.value}")
        choices[entry.name] = _Choice(entry.value, _origin(entry))
    return choices


def _own(menu: str) -> Iterator[tuple[str, _Choice]]:
    for file in folder(menu).glob("*.py"):
        if not file.stem.startswith("_"):
            dotted = ".".join(["esgrad", *file.relative_to(PACKAGE).with_suffix("").parts])
            yield _word(dotted), _Choice(dotted, file)


def _origin(entry: EntryPoint) -> Path:
    """The file behind an entry point; ValueError, naming it, for one that leads nowhere or has another name."""
    named = f"the entry point '{entry.name} = {entry.value}' of the group {entry.group}"
    try:
        spec = importlib.util.find_spec(entry.value)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise ValueError(f"{named} leads to no file: install its package again, or uninstall it")
    if _word(entry.value) != entry.name:
        raise ValueError(f"{named} must be called as its file is: '{_word(entry.value)}'")
    return Path(spec.origin)


def _word(dotted: str) -> str:
    """A file's name without the `_` that keeps it from being a word of Python (`class_.py`)."""
    return dotted.rpartition(".")[2].rstrip("_")
