"""Which source files a job depends on: the files it names and all they import, parsed and never imported.

Names loaded through a menu are invisible to a walk of imports, so the job's own words are the walk's starting points.
Compiled twins are walked for imports but are no sources: tests hold each to the bits of an oracle that is one, so that
a faster kernel disowns no record.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from esgrad import menu
from esgrad.menu import PACKAGE
from esgrad.training.job import Job
from esgrad.training.method import MENUS

TRAINING = ("training/loop.py", "training/tuning.py")  # how a run goes, and how its rate is chosen
STEPS = {"optimizer": "optimizers", "rate_schedule": "rate_schedules"}
"""Words of a job that are none of its method's, and the menus they stand on."""
COMPILED = "kernels/compiled"  # the folder of the twins, below the package
MEANINGLESS = {"ctx", "kind", "type_comment"}  # where a name stands, the u of u"...", a comment


@cache
def of_job(job: Job) -> tuple[Path, ...]:
    """The source files that decide what a job's records say, sorted."""
    words = asdict(job) | {"dataset": job.dataset.split("-")[0]}
    menus = MENUS | {"dataset": "datasets", "model": "models", "blackbox": "blackboxes", **STEPS}
    chosen = [menu.path(menus[key], words[key]) for key in menus if words[key]]
    return tuple(closure([*TRAINING, *chosen]))


@cache
def digest_of_job(job: Job) -> str:
    """The digest of a job's sources, which its records carry."""
    return digest(of_job(job))


def closure(starts: Iterable[str | Path]) -> list[Path]:
    """The files of the package that these ones import, directly or not, themselves included; sorted.

    With those of other packages that have a file on a menu.

    Without compiled twins, but with what those import elsewhere.
    """
    found: set[Path] = set()
    waiting = [PACKAGE / start for start in starts]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imports(path))
    return [path for path in sorted(found) if not _is_compiled(path)]


def digest(paths: Iterable[Path]) -> str:
    """The digest of these files' names and of what their code means, the same on every Python that runs it.

    Counts: every name, constant (1, 1.0 and True are three), operator, default, decorator and annotation, and the order
    of statements. Does not: comments, docstrings and other strings that stand alone, layout, brackets and quotes that
    the parser drops, how a number is spelled (1e-3 or 0.001), and compiled twins.
    """
    total = hashlib.sha256()
    for path in paths:
        if not _is_compiled(path):
            total.update(f"{_name(path)}\0{_meaning(path)}\0".encode())
    return total.hexdigest()[:16]


def _name(path: Path) -> str:
    """A file's place in its package, for a guest's with the package's name."""
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE).as_posix()
    (home,) = {folder for folder in menu.guests().values() if path.is_relative_to(folder)}
    return path.relative_to(home).as_posix()


def _is_compiled(path: Path) -> bool:
    return path.is_relative_to(PACKAGE / COMPILED)


@cache
def _meaning(path: Path) -> str:
    return _said(ast.parse(path.read_text(encoding="utf-8")))


def _said(part: object) -> str:
    """A part of a syntax tree in words that, unlike those of `ast.dump`, no version of Python changes."""
    if isinstance(part, list):
        return f"[{','.join(_said(each) for each in part if not _stands_alone(each))}]"
    if not isinstance(part, ast.AST):
        return ascii(part)  # tells types apart; `repr` spells a letter by the Unicode table of its Python
    return f"{type(part).__name__}({','.join(f'{name}={_said(value)}' for name, value in _fields(part))})"


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """What a node says, without empty fields and zeros: versions differ in which they have."""
    for name, value in ast.iter_fields(node):
        if isinstance(node, (ast.Constant, ast.MatchSingleton)) and name == "value":
            yield name, value  # None itself is a value here
        elif isinstance(node, ast.JoinedStr):
            yield name, list(_joined(value))
        elif value and name not in MEANINGLESS:
            yield name, value


def _joined(pieces: list[Any]) -> Iterator[object]:
    """The pieces of an f-string; versions differ in how they cut the text between two braces, and in empty texts."""
    for is_text, group in groupby(pieces, lambda piece: isinstance(piece, ast.Constant)):
        if not is_text:
            yield from group
        elif text := "".join(piece.value for piece in group):
            yield text


def _stands_alone(statement: object) -> bool:
    """Whether it is a docstring or another string that nothing takes."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """The files of the package, or of a guest on its menus, that one file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(file for name in names if (file := _file(name)))


def _file(name: str) -> Path | None:
    package, _, rest = name.partition(".")
    if package == "esgrad" and rest:
        path = PACKAGE / rest.replace(".", "/")
    elif package in menu.guests():
        path = menu.guests()[package] / name.replace(".", "/")
    else:
        return None
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    whole = path / "__init__.py"  # decides something where it holds more than words
    return whole if _holds_more_than_words(whole) else None


@cache
def _holds_more_than_words(path: Path) -> bool:
    return path.is_file() and len(ast.parse(path.read_text(encoding="utf-8")).body) > 1
