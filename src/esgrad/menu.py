"""A folder is a menu: its files are the choices, a file's name is the name used in configs, paths and figures.

Nothing is registered anywhere: put a file into the folder and it is on the menu.
"""

import ast
import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent
LIBRARIES = {"kernels", "measurement", "planning", "statistics", "theory"}  # folders of parts that work together


def names(menu: str) -> list[str]:
    """The choices on a menu, sorted, found without importing any of them."""
    return sorted(path.stem for path in (PACKAGE / menu).glob("*.py") if not path.stem.startswith("_"))


def menus() -> list[str]:
    """The menus there are, sorted: the folders whose files stand for themselves."""
    return sorted({path.parent.name for path in PACKAGE.glob("*/__init__.py")} - LIBRARIES)


def load(menu: str, name: str) -> ModuleType:
    """The module behind a name; raises ValueError with the nearest known name."""
    check(menu, name)
    return importlib.import_module(f"esgrad.{menu}.{name}")


def check(menu: str, name: str) -> None:
    """Raise ValueError, with the nearest known name, unless `name` is on the menu."""
    if name not in (known := names(menu)):
        raise unknown(f"name in {menu}", name, known)


def unknown(kind: str, word: object, known: Iterable[str]) -> ValueError:
    """The error for a word nobody knows: it names the word, the nearest known one and all the others."""
    known = list(known)
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ValueError(f"unknown {kind} '{word}'.{hint} Known: {', '.join(known)}.")


def summary(menu: str, name: str) -> str:
    """The first line of a file's docstring, read without importing it."""
    check(menu, name)
    text = ast.get_docstring(ast.parse((PACKAGE / menu / f"{name}.py").read_text(encoding="utf-8")))
    return (text or "").split("\n")[0]
