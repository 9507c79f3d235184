"""A folder is a menu: its files are the choices, a file's name is the name used in configs, paths and figures.

Nothing is registered anywhere: put a file into the folder and it is on the menu. A file of another package joins by an
entry point of that package, in the group `esgrad.<menu>` and of the file's name (`esgrad new` writes such a package).
"""

import ast
import difflib
import importlib
import importlib.util
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
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
    """The choices on a menu, sorted, found without importing anything.

    An entry point that cannot be used is left out, with a warning that names it: esgrad goes on without it.
    """
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
    found = [choice for menu in menus() for choice in _choices(menu).values()]
    firsts = {choice.module.partition(".")[0]: choice for choice in found if not choice.path.is_relative_to(PACKAGE)}
    return {first: choice.path.parents[choice.module.count(".")] for first, choice in firsts.items()}


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
    return _word(getattr(module, "__name__", None) or str(module))  # the latter of a module takes long


def _choice(menu: str, name: str) -> _Choice:
    choices = _choices(menu)
    if name not in choices:
        raise unknown(f"name in {menu}", name, sorted(choices))
    return choices[name]


@cache
def _choices(menu: str) -> dict[str, _Choice]:
    """Every choice by its name; folders and packages are read once a process."""
    choices = dict(_own(menu))
    for entry in sorted(entry_points(group=f"esgrad.{menu}")):
        taken = choices.get(entry.name)
        path = _file(entry.value)
        if taken:
            wrong = f"has the name of {taken.module}, which stays"
        elif path is None:
            wrong = "leads to no file: install its package again, or uninstall it"
        elif _word(entry.value) != entry.name:
            wrong = f"must be called as its file is: '{_word(entry.value)}'"
        else:
            choices[entry.name] = _Choice(entry.value, path)
            continue
        warnings.warn(f"the entry point '{entry.name} = {entry.value}' of {entry.group} {wrong}", stacklevel=2)
    return choices


def _own(menu: str) -> Iterator[tuple[str, _Choice]]:
    for file in folder(menu).glob("*.py"):
        if not file.stem.startswith("_"):
            dotted = ".".join(["esgrad", *file.relative_to(PACKAGE).with_suffix("").parts])
            yield _word(dotted), _Choice(dotted, file)


def _file(dotted: str) -> Path | None:
    """The file of a module, found without importing the packages it lies in; None where there is none."""
    first, *others = dotted.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except ValueError:  # of a module that was put into sys.modules by hand
        return None
    name = first
    for other in others:
        name += f".{other}"
        inside = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(name, inside) if inside else None
    return Path(spec.origin) if spec and spec.origin else None


def _word(dotted: str) -> str:
    """A file's name without the `_` that keeps it from being a word of Python (`class_.py`)."""
    return dotted.rpartition(".")[2].rstrip("_")
