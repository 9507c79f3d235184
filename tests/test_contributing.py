"""CONTRIBUTING.md followed to its end, in a copy of the tree: its estimator passes what a change must pass."""

import inspect
import re
import shutil
import sys

import pandas as pd
import pytest
import yaml

from tests.workflow import ROOT, Checkout

pytestmark = pytest.mark.workflow
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ALSO = ["tests", "pyproject.toml", "CONTRIBUTING.md", "README.md", "RESULTS.md", "Makefile"]
PYTHON = sys.executable
FILES = ["tests/test_theory.py", "tests/test_laws.py", "tests/test_hits.py", "tests/test_credit.py"]


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> Checkout:
    """A copy of the tree after the steps 1 to 4."""
    tree = Checkout(tmp_path_factory.mktemp("contributing"))
    for part in ALSO:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, tree.folder / part)
    (copied,) = re.findall(r"^ +cp (\S+) (\S+)$", TEXT, re.MULTILINE)
    shutil.copy(tree.folder / copied[0], tree.folder / copied[1])
    code = inspect.cleandoc(TEXT.partition("```python")[2].partition("   ```\n")[0])
    (tree.folder / copied[1]).write_text(code + "\n", encoding="utf-8")
    (line,) = re.findall(r"^ +(\w+: \{shaping: \w+\})$", TEXT, re.MULTILINE)
    (name,) = method = yaml.safe_load(line)
    config = yaml.safe_load((tree.folder / "config/smoke.yaml").read_text(encoding="utf-8")) | {"name": "mine"}
    config["methods"] |= method
    for experiment in config["experiments"].values():
        experiment["methods"].append(name)
    (tree.folder / "config/mine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return tree


def test_the_list_has_it_with_its_first_line(walked: Checkout) -> None:
    said = walked.run("esgrad", "list", "shapings").stdout
    assert re.search(r"^ *exponential +Exponential weights", said, re.MULTILINE), said


def test_lint_takes_it(walked: Checkout) -> None:
    for command in (["check"], ["format", "--check"]):
        said = walked.run("ruff", *command, "src", "tests")
        assert said.returncode == 0, said.stdout
    module = walked.run(PYTHON, "workflow/typed_menus.py").stdout
    assert "shapings_exponential: esgrad.gradients.shapings.Contract" in module
    (walked.folder / "typed_menus.py").write_text(module, encoding="utf-8")
    said = walked.run("mypy", "typed_menus.py", MYPYPATH="src")
    assert said.returncode == 0, said.stdout


def test_the_laws_over_the_menus_hold_it_to_what_it_says(walked: Checkout) -> None:
    """Every test that names it, and those that look at all files of a menu or over the sources."""
    said = walked.run(
        *(PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not workflow", "-k", "exponential or sources"),
        *("tests", "--ignore=tests/test_environment.py"),
        PYTEST_ADDOPTS="",
    )
    assert said.returncode == 0, said.stdout[-4000:]
    assert int(re.findall(r"(\d+) passed", said.stdout)[0]) > 60


def test_a_wrong_gain_is_found_by_the_laws(walked: Checkout) -> None:
    """So that the test above can fail: weights of twice the size are not those of its own law of hits."""
    file = walked.folder / "src/esgrad/gradients/shapings/exponential.py"
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace("fitness.softmax(1)", "2 * fitness.softmax(1)"), encoding="utf-8")
    try:
        said = walked.run(PYTHON, "-m", "pytest", "-q", "-k", "exponential", *FILES)
    finally:
        file.write_text(before, encoding="utf-8")
    assert said.returncode == 1, said.stdout[-2000:]


def test_planner_workflow_and_a_training_know_it(walked: Checkout) -> None:
    said = walked.run("esgrad", "plan", "--logit-dim", "10", "--shaping", "exponential", "--cosine", "0.5")
    assert said.returncode == 0, said.stdout
    assert "exponential" in said.stdout
    planned = walked.snakemake("-n", "--configfile", "config/mine.yaml")
    job = next(iter(re.findall(r"\S*/runs/headline/\S*/mppi/\S*records\.parquet", planned.stdout)), None)
    assert job, planned.stdout[-2000:]
    said = walked.snakemake("--configfile", "config/mine.yaml", "--", job.rstrip(","))
    assert said.returncode == 0, said.stdout[-3000:]
    records = pd.read_parquet(walked.folder / job.rstrip(","))
    assert set(records["shaping"]) == {"exponential"}
    assert {int(n) for n in records["num_samples"]} == {10}, "at N = 1 it is identically 0, and skipped"
