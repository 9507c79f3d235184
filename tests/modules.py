"""The package seen from outside: its modules, what each imports, and the menus that a job names."""

import ast
from pathlib import Path

from esgrad import menu
from esgrad.suite import sources

MODULES = {path.relative_to(menu.PACKAGE).as_posix(): path for path in sorted(menu.PACKAGE.rglob("*.py"))}
MENUS = {
    "models": "model",
    "blackboxes": "blackbox",
    "optimizers": "optimizer",
    "spaces": "space",
    "noises": "noise",
    "credits": "credit",
    "shapings": "shaping",
    "schedules": "schedule",
    "exact": "exact",
    "controls": "control",
}
"""A job's menus and the key that names its choice."""


def file(folder: str, word: str) -> str:
    return menu.path(folder, word).relative_to(menu.PACKAGE).as_posix()


def names(paths) -> set[str]:
    return {Path(path).relative_to(menu.PACKAGE).as_posix() for path in paths}


def counted(found: set[str]) -> set[str]:
    """Those that decide a record: a compiled twin does not."""
    return {name for name in found if not name.startswith(f"{sources.COMPILED}/")}


def imported(name: str) -> set[str]:
    """The package's modules that one names, anywhere in it; found here once more, relative ones included."""
    found = set()
    package = ["esgrad", *Path(name).parent.parts]
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        words: list[str] = []
        if isinstance(node, ast.Import):
            words = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            words = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        paths = [word.removeprefix("esgrad.").replace(".", "/") + ".py" for word in words if word.startswith("esgrad.")]
        found |= {path for path in paths if path in MODULES}
    return found - {name}
