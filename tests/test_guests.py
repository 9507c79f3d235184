"""A file of somebody's own package on a menu: nobody has to fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHAPING = ROOT / "src/esgrad/gradients/shapings/raw.py"
ENTRY = "[esgrad.shapings]\nhalf = theirs.shapings.half\n"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """An installed package with one shaping, which imports a file beside it."""
    code = SHAPING.read_text(encoding="utf-8")
    for ours, theirs in [
        ('"""', '"""Half of raw. '),
        ("from esgrad.types", "from theirs.scale import SCALE\nfrom esgrad.types"),
        ("return fitness", "return SCALE * fitness"),
        ("def of_counts", "def _of_counts"),
    ]:
        code = code.replace(ours, theirs, 1)
    files = {
        "theirs/__init__.py": "",
        "theirs/scale.py": "SCALE = 0.5\n",
        "theirs/shapings/__init__.py": "",
        "theirs/shapings/half.py": code,
        "theirs-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n",
        "theirs-1.0.dist-info/entry_points.txt": ENTRY,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def python(theirs: Path, script: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(theirs), str(ROOT / "src")])
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


def test_it_serves_like_one_of_ours(theirs: Path) -> None:
    script = (
        "import torch, esgrad\n"
        "asked = dict(num_samples=8, noise_variance=1.0, seed=0, step=0)\n"
        "logits, targets = torch.zeros(2, 4), torch.tensor([0, 1])\n"
        "raw, half = (esgrad.es_gradient(logits, targets, **asked, shaping=word) for word in ('raw', 'half'))\n"
        "assert torch.allclose(raw, 2 * half) and raw.any()\n"
        "from esgrad.cli import main; main(['list', 'shapings'])\n"
    )
    done = python(theirs, script)
    assert done.returncode == 0, done.stderr
    assert "  half                         Half of raw. " in done.stdout


def test_its_files_are_sources_of_a_job_that_names_it(theirs: Path) -> None:
    script = (
        "from dataclasses import replace\n"
        "from esgrad.suite import config, sources\n"
        "job = config.jobs(config.read('config/smoke.yaml'))[-1]\n"
        "job = replace(job, shaping='half')\n"
        "print(*[path.name for path in sources.of_job(job)]); print(sources.digest_of_job(job))\n"
    )
    before = python(theirs, script)
    assert before.returncode == 0, before.stderr
    names, digest = before.stdout.splitlines()
    assert {"half.py", "scale.py", "loop.py"} <= set(names.split())
    (theirs / "theirs/scale.py").write_text("SCALE = 0.25\n", encoding="utf-8")
    assert python(theirs, script).stdout.splitlines()[1] != digest


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("half = theirs.shapings.gone", "'half = theirs.shapings.gone' of esgrad.shapings leads to no file"),
        ("double = theirs.shapings.half", "must be called as its file is: 'half'"),
        ("raw = theirs.shapings.raw", "has the name of esgrad.gradients.shapings.raw, which stays"),
    ],
)
def test_an_entry_point_that_cannot_be_is_named_and_stops_nothing(theirs: Path, entry: str, words: str) -> None:
    (theirs / "theirs-1.0.dist-info/entry_points.txt").write_text(f"[esgrad.shapings]\n{entry}\n", encoding="utf-8")
    done = python(
        theirs, "import sys; from esgrad.cli import console; sys.argv = ['esgrad', 'list', 'shapings']; console()"
    )
    assert done.stderr.startswith("esgrad: warning: the entry point")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert words in done.stderr
    assert "leave_one_out" in done.stdout
    assert "Half of raw" not in done.stdout


def test_no_package_is_imported_to_find_its_files(theirs: Path) -> None:
    for name in ("theirs", "theirs/shapings"):
        (theirs / name / "__init__.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    done = python(theirs, "from esgrad import menu; print(menu.names('shapings'), menu.guests())")
    assert done.returncode == 0, done.stderr
    assert "'half'" in done.stdout
    assert "{'theirs': " in done.stdout
