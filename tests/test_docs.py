"""The tutorial and the examples in docstrings run as they stand; the pages of the API are built, and their links lead
somewhere."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import esgrad

ROOT = Path(__file__).parents[1]
PUBLIC = [name for name in esgrad.__all__ if not name.startswith("_")]


def test_the_tutorial_runs() -> None:
    done = doctest.testfile(str(ROOT / "docs" / "tutorial.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert done.attempted > 30
    assert done.failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_shows_an_example_that_runs(name: str) -> None:
    public = getattr(esgrad, name)
    module = importlib.import_module(public.__module__)
    (test,) = (each for each in doctest.DocTestFinder().find(public, name, module=module) if each.name == name)
    assert test.examples, f"{name} shows no example"
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_docstring_tells_arguments_result_and_errors(name: str) -> None:
    text = getattr(esgrad, name).__doc__
    for part in ("Args:", "Returns:", "Raises:", "Example:"):
        assert part in text, f"{name} has no part {part}"


@pytest.mark.slow
def test_the_pages_of_the_api_are_built_and_their_links_lead_somewhere(tmp_path: Path) -> None:
    command = [sys.executable, "workflow/docs.py", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "Warn" not in done.stderr, done.stderr
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")
    }
    for name in PUBLIC:
        assert f'id="{name}"' in pages["esgrad.html"]
    for page, text in pages.items():
        for link in re.findall(r'href="([^"]+)"', text):
            target, _, anchor = link.partition("#")
            if target.startswith(("http:", "https:", "data:")):
                continue
            found = (Path(page).parent / target).as_posix() if target else page
            found = Path(*re.sub(r"[^/]+/\.\./", "", found).split("/")).as_posix()
            assert found in pages or not target, f"{page}: {link}"
            assert not anchor or f'id="{anchor}"' in pages[found], f"{page}: {link}"
