"""The README: its example runs, its numbers are the committed tables', what it names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from esgrad import menu

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_and_learns(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert float(re.search(r"tensor\(([\d.]+)\)", capsys.readouterr().out)[1]) > 0.3, "chance is 0.1"


def test_every_number_is_the_committed_tables():
    said = subprocess.run([sys.executable, "workflow/readme.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("menu_name", ["spaces", "noises", "shapings"])
def test_the_three_menus_are_shown_whole(menu_name):
    (line,) = re.findall(rf"^\| `{menu_name}` \|.*$", README, re.MULTILINE)
    assert set(menu.names(menu_name)) <= set(re.findall(r"`(\w+)`", line))


def test_what_it_links_to_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_make_command_it_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make (\w+)", README)) | set(re.findall(r"^    make (\w+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
