"""A digest is of what sources mean, on every Python, and sees every change of that."""

import ast
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from esgrad.suite import sources
from tests.modules import MODULES

SAMPLE = '''"""What the package's files are written in, and what may come."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache as kept
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

RATE, SCALE, MASK = 1e-3, -2.5j, 0xFF  # a comment
LETTERS = {"σ": b"\\x00s", "two": "parts " "of one", None: ...}
"""A string that nothing takes."""


class Row(NamedTuple):
    """A row."""

    name: str
    width: int = 1


@kept
def mean(values: tuple[float, ...], /, weight: float = 1, *rest: float, power: int = 2, **words: str | None) -> float:
    """The mean."""
    assert values, "none"
    total = sum(value**power * weight for value in (*values, *rest) if value is not None and not value < 0)
    total += -total // 2 if 0 < weight <= 1 or words else ~MASK & 3 | 4 ^ 5 << 6 >> 1
    return (total / len(values)) % 7 - 1.5


def lines(path: Path, **words: str) -> Iterator[str]:
    counter: int = 0
    best: Row

    def more() -> None:
        nonlocal counter
        counter += 1

    try:
        with path.open() as file, path.open():
            while (line := file.readline()) != "":
                more()
                if line[0] in "#" or line[1:-1:2] not in {*words}:
                    continue
                yield f"{line!r:>{counter}} {{{counter:{counter}.{RATE}f}}}: {path=}{line:{counter}}" "!"
                break
            else:
                yield from sorted(words, key=lambda word, *, deep=False: (len(word), word == line, deep is True))
    except (OSError, ValueError) as error:
        raise RuntimeError(f"at {path}") from error
    except KeyError:
        pass
    finally:
        del words["a"], file.name
    for key, (low, *high) in {**LETTERS, "b": [1, 2]}.items():
        print({key: low >= 1 and low > 2}, {each for each in high}, [x @ x for x in high], {x: 1 for x in high}, end="")


def kind(value: object) -> str:
    global RATE
    match value:
        case None | True | -1:
            return "constant"
        case Row(name="x", width=width) if width:
            return "row"
        case [first, *_] | {"first": first, **rest}:
            return str(first)
        case math.pi as known:
            return f"{known:.3f}"
        case _:
            return ""
'''
"""Every kind of syntax that the package uses, for Python 3.11 and later."""


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The digest of a file with this text, each in a folder of its own: what a path means is kept."""
    folders = count()

    def of(text: str, name: str = "a.py") -> str:
        package = tmp_path / str(next(folders))
        package.mkdir()
        (package / name).write_text(text, encoding="utf-8")
        monkeypatch.setattr(sources, "PACKAGE", package)
        return sources.digest([package / name])

    return of


def test_a_digest_is_the_same_on_every_python(digest_of: Callable[..., str]) -> None:
    """Else records would be disowned by the Python that reads them. Tried on 3.11 to 3.15."""
    assert digest_of(SAMPLE) == "8cc7af0586df0e2c"


def test_the_sample_holds_every_kind_of_syntax_that_the_package_uses() -> None:
    """Else versions of Python could differ in what the test above never shows them."""

    def kinds(text: str) -> set[str]:
        return {type(node).__name__ for node in ast.walk(ast.parse(text))}

    used = set().union(*(kinds(path.read_text(encoding="utf-8")) for path in MODULES.values()))
    assert not used - kinds(SAMPLE)


def reworded(old: str, new: str) -> str:
    assert SAMPLE.count(old) == 1
    return SAMPLE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # a comment", ""),
        ("\n\n\nclass", "\n\n\n# another comment\nclass"),
        ('"""A row."""', '"""Another row."""'),
        ('"""The mean."""', ""),
        ('"""A string that nothing takes."""', ""),
        ("1e-3, -2.5j, 0xFF", "0.001, -2.50j, 255"),
        ('"parts " "of one"', "'parts of one'"),
        ("(total / len(values)) % 7 - 1.5", "total / len(values) % 7 - 1.5"),
        (
            "path.open() as file, path.open():",
            "(\n            path.open() as file,\n            path.open(),\n        ):",
        ),
        ('f"at {path}"', "f'at {path}' ''"),
    ],
)
def test_a_digest_does_not_see_words_or_layout(digest_of: Callable[..., str], old: str, new: str) -> None:
    assert digest_of(reworded(old, new)) == digest_of(SAMPLE)


def test_a_digest_does_not_see_another_formatter(digest_of: Callable[..., str]) -> None:
    assert digest_of(ast.unparse(ast.parse(SAMPLE))) == digest_of(SAMPLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MASK = 1e-3", "MASK = 1e-4"),
        ("RATE, SCALE", "SCALE, RATE"),
        ("weight: float = 1,", "weight: float = 1.0,"),
        ("weight: float = 1,", "weight: float = True,"),
        ("weight: float = 1,", "weight: float,"),
        ("*, deep=False", "*, deep"),
        ("*, deep=False", "deep=False"),
        ("power: int = 2", "power: float = 2"),
        ('b"\\x00s"', '"\\x00s"'),
        ('"σ"', '"t"'),
        ("value**power * weight", "value**power / weight"),
        ("total += -total", "total += +total"),
        ("not value < 0", "not value <= 0"),
        ("case None | True", "case False | True"),
        ("@kept\n", ""),
        ("cache as kept", "lru_cache as kept"),
        ("{line!r:>", "{line!s:>"),
        ("{line!r:>", "{line!r:<"),
        (".{RATE}f", ".{RATE}e"),
        ('f"at {path}"', '"at {path}"'),
        ("return str(first)", "return None"),
        ("return str(first)", "str(first)"),
        ("{key: low", "{None: low"),
        ("{**LETTERS", "{None: LETTERS"),
        ("                break\n", "                continue\n"),
        ("import math\nfrom collections.abc import Iterator\n", "from collections.abc import Iterator\nimport math\n"),
    ],
)
def test_a_digest_sees_every_change_of_meaning(digest_of: Callable[..., str], old: str, new: str) -> None:
    assert digest_of(reworded(old, new)) != digest_of(SAMPLE)


def test_a_digest_tells_the_names_of_files(digest_of: Callable[..., str]) -> None:
    assert digest_of("x = 1\n", "a.py") == digest_of("x = 1\n", "a.py") != digest_of("x = 1\n", "b.py")
