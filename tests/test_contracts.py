"""Every file of the menus keeps its contract; so does what `esgrad new` writes, and a broken one does not."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from esgrad import menu
from esgrad.cli import main
from esgrad.conformance import contracts
from esgrad.new import MENUS

ROOT = Path(__file__).parents[1]
CASES = [
    pytest.param(law, kind, name, id=f"{name}-{law.__name__}")
    for kind, laws in contracts.LAWS.items()
    for law in laws
    for name in menu.names(MENUS[kind])
]


@pytest.mark.parametrize(("law", "kind", "name"), CASES)
def test_a_file_of_a_menu_keeps_its_contract(law: contracts.Law, kind: str, name: str) -> None:
    law(menu.load(MENUS[kind], name))


def python(folder: Path, *command: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT / "src")])}
    call = [sys.executable, *command]
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment, cwd=folder, timeout=120)


def installed(folder: Path, name: str, kind: str) -> None:
    """What `pip install -e` leaves: the entry points of pyproject.toml."""
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    (group, entry) = re.search(r'entry-points\."(.*)"\]\n(\w+ = "\w+")', text).groups()  # type: ignore[union-attr]
    info = folder / f"{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n", encoding="utf-8")
    assert group == f"esgrad.{MENUS[kind]}"


@pytest.mark.parametrize("kind", MENUS)
def test_what_new_writes_is_on_the_menu_and_keeps_its_contract(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["new", kind, "my_idea", "--into", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[-4:-1]] == ["Now", "then", "and"]
    assert "my_idea" in said[-1]
    folder = tmp_path / "esgrad-my-idea"
    installed(folder, "my_idea", kind)
    listed = python(folder, "-m", "esgrad.cli", "list", MENUS[kind])
    assert re.search(r"^  my_idea +my_idea: say in one line", listed.stdout, re.MULTILINE), listed.stderr
    tested = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_idea.py")
    assert f"{len(contracts.LAWS[kind])} passed" in tested.stdout, tested.stdout
    style = python(folder, "-m", "ruff", "check", "--isolated", "--line-length", "120", ".")
    assert style.returncode == 0, style.stdout


BROKEN = {
    "shaping": ("- fitness.mean(1, keepdim=True)) /", ") / 2 /", "counts_give|linear|mean_is"),
    "noise": ("return normals(start, stop)", "return 2 * normals(start, stop)", "variance_1"),
    "credit": ("ask, tally = Asked, Tally", "class Half(Tally):\n    def total(self, a, b):\n        return "
               "super().total(a / 2, b / 2)\n\n\nask, tally = Asked, Half", "tally_says|mean_is"),
    "blackbox": (".any(-1)", ".sum(-1).mul(2)", "keeps_what_is_stated"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MENUS)
def test_a_broken_one_fails_a_law(kind: str, tmp_path: Path) -> None:
    assert main(["new", kind, "my_idea", "--into", str(tmp_path)]) == 0
    folder = tmp_path / "esgrad-my-idea"
    before, after, laws = BROKEN[kind]
    file = folder / "my_idea.py"
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")
    tested = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_idea.py")
    assert tested.returncode == 1, tested.stdout
    assert re.search(rf"FAILED .*({laws})", tested.stdout), tested.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["shapping", "my_idea"], "unknown kind 'shapping'. Did you mean 'shaping'?"),
        (["shaping", "my-idea"], "'my-idea' is no name for a file of Python"),
        (["shaping", "class"], "'class' is a word of Python"),
        (["shaping", "raw"], "'raw' is on the menu shapings: take another name"),
        (["shaping", "json"], "'json' is the name of a package that is installed: take another name"),
    ],
)
def test_what_cannot_be_written_is_refused(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["new", *arguments, "--into", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "esgrad-my-idea").mkdir()
    arguments: Any = ["new", "shaping", "my_idea", "--into", str(tmp_path)]
    assert main(arguments) == 2
    assert "is there: take another name" in capsys.readouterr().err
