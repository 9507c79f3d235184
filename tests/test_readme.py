"""README and RESULTS: the example runs, the numbers are the committed tables', what they name is there."""

import re
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from esgrad import menu
from esgrad.suite import gathered

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "RESULTS.md")}


def test_the_example_runs_and_learns(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert float(re.search(r"tensor\(([\d.]+)\)", capsys.readouterr().out)[1]) > 0.3, "chance is 0.1"


def test_every_number_is_the_committed_tables():
    said = subprocess.run([sys.executable, "workflow/pages.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


def test_snes_takes_the_fewest_queries_of_the_arms_at_the_parameters():
    """Said of the table in RESULTS, at the levels that stand there, wherever most of its runs arrive."""
    table = pd.read_csv(ROOT / "results/reference/es_arms/tables/targets.csv")
    shown = table[
        (table["unit"] == "queries") & table["target_accuracy"].isin([0.8, 0.9]) & table["num_samples"].notna()
    ]
    cells = shown[shown["target"].str.startswith("accuracy")].groupby(["blackbox", "num_samples", "target_accuracy"])
    compared = 0
    for _, cell in cells:
        snes = cell[cell["method"] == "snes"].iloc[0]
        if snes["hits"] > snes["num_seeds"] / 2:
            compared += 1
            assert snes["estimate"] == cell["estimate"].min()
    assert compared > 2


def test_snes_on_mnist_is_sooner_at_an_accuracy_with_cross_entropy_and_ends_lower():
    """Said beneath the other table, of N = 10."""
    table = pd.read_csv(ROOT / "results/reference/full_es/tables/accuracy.csv")
    cells = table[table["num_samples"] == 10].set_index(["blackbox", "method"])
    for blackbox in ("cross_entropy", "zero_one"):
        snes, other = cells.loc[(blackbox, "snes")], cells.loc[(blackbox, "openai_es")]
        assert snes["test_accuracy_mean"] < other["test_accuracy_mean"]
        assert snes["high"] > other["low"]
    targets = pd.read_csv(ROOT / "results/reference/full_es/tables/targets.csv")
    shown = targets[(targets["target"] == "accuracy 0.80") & (targets["unit"] == "queries")]
    shown = shown[shown["num_samples"] == 10].set_index(["blackbox", "method"])
    assert shown.loc[("cross_entropy", "snes"), "high"] < shown.loc[("cross_entropy", "openai_es"), "low"]
    assert not shown.loc["zero_one", "hits"].any()


def test_the_readme_is_read_in_five_minutes():
    assert len(README.split()) <= 1200, "code and tables included"


def test_a_number_that_is_not_the_tables_is_told(tmp_path):
    for part in ("workflow", "results/reference"):
        shutil.copytree(ROOT / part, tmp_path / part)
    for page, text in PAGES.items():
        (tmp_path / page).write_text(text, encoding="utf-8")
    row = next(line for line in README.splitlines() if line.startswith("| `lecture`"))
    (tmp_path / "README.md").write_text(README.replace(row, re.sub(r"0\.\d{3}", "0.123", row)), encoding="utf-8")
    command = [sys.executable, "workflow/pages.py", "--check"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 1
    assert "README.md and results/reference/ disagree: run `make pages`" in said.stderr


PICTURES = sorted(
    {name for page in PAGES.values() for name in re.findall(r"\(results/reference/default/figures/(\w+)\.png\)", page)}
)


@pytest.fixture(scope="module")
def reference():
    return gathered.load(ROOT / "results" / "reference" / "default", current=False)


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_shows_the_committed_records(name, reference):
    """What it was drawn from lies beside it, and is what would be drawn today: else `make reference_figures`."""
    _, frame = menu.load("figures", name).draw(reference)
    drawn = pd.read_csv(StringIO(frame.to_csv(index=False)))
    kept = pd.read_csv(ROOT / "results" / "reference" / "default" / "figures" / f"{name}.csv")
    pd.testing.assert_frame_equal(drawn, kept, rtol=1e-6)


@pytest.mark.parametrize("menu_name", ["spaces", "noises", "credits", "shapings"])
def test_the_four_menus_are_shown_whole(menu_name):
    (line,) = re.findall(rf"^\| `{menu_name}` \|.*$", README, re.MULTILINE)
    assert set(menu.names(menu_name)) <= set(re.findall(r"`(\w+)`", line))


def test_what_it_links_to_is_there():
    for page in PAGES.values():
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page):
            assert (ROOT / target).exists(), target


def test_every_make_command_it_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {target for page in PAGES.values() for target in re.findall(r"(?:`|^    )make (\w+)", page, re.MULTILINE)}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
