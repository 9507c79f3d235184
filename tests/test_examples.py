"""The examples run as their first lines say, are short, and their estimates train."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = {path.stem: path for path in sorted((Path(__file__).parents[1] / "examples").glob("*.py"))}
LEAST = {"digit_sum": ("ES, 100 samples an example", 0.7), "jpeg": ("ES, 8 samples", 0.7), "macro_f1": ("by ES", 0.6)}
"""What a line of each says, and the least that its number may be."""


def test_every_example_is_held_to_a_number() -> None:
    assert set(LEAST) == set(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains(name: str) -> None:
    done = subprocess.run([sys.executable, EXAMPLES[name]], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    words, least = LEAST[name]
    found = re.search(rf"{words} +(\d\.\d+)", done.stdout)
    assert found, done.stdout
    assert float(found[1]) >= least, done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    lines = EXAMPLES[name].read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) < 60
