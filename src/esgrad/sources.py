"""Which source files a job depends on: the files it names and all they import, parsed and never imported.

Names loaded through a menu are invisible to a walk of imports, so the job's own words are the walk's starting points.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from esgrad.job import Job
from esgrad.menu import PACKAGE


def of_job(job: Job) -> list[Path]:
    """The source files that decide what a job's records say, sorted."""
    named = {
        "datasets": job.dataset.split("-")[0],
        "models": job.model,
        "blackboxes": job.blackbox,
        "optimizers": job.optimizer,
        "spaces": job.space,
        "noises": job.noise,
        "shapings": job.shaping,
        "variances": job.variance,
        "exact": job.exact,
        "controls": job.control,
    }
    return closure(["training.py", *(f"{menu}/{name}.py" for menu, name in named.items() if name)])


def closure(starts: Iterable[str]) -> list[Path]:
    """The files below the package that these ones import, directly or not, themselves included; sorted."""
    found: set[Path] = set()
    waiting = [PACKAGE / start for start in starts]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imports(path))
    return sorted(found)


@cache
def digest(paths: tuple[Path, ...]) -> str:
    """The digest of these files' names and contents."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """The package's files that one file imports."""
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
    if package != "esgrad" or not rest:
        return None
    path = PACKAGE / rest.replace(".", "/")
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    whole = path / "__init__.py"  # decides something where it holds more than words
    return whole if whole.is_file() and len(ast.parse(whole.read_text(encoding="utf-8")).body) > 1 else None
