"""The compiled twins: what is done where there is no numba, and where it may keep nothing."""

import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from esgrad import es_gradient, menu
from esgrad.kernels import compiled

LOGITS, TARGETS = torch.linspace(-1, 1, 60).reshape(6, 10), torch.arange(6)
ASKED = {"num_samples": 70, "noise_variance": 0.5, "seed": 3, "step": 4}
WORDS = [
    {"noise": noise, "credit": credit, "shaping": shaping}
    for noise, credit, shaping in product(menu.names("noises"), menu.names("credits"), ["raw", "centered_ranks"])
    if credit == "noise" or menu.load("noises", noise).CLASSES is not None
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: "-".join(words.values()))
def test_without_numba_the_bits_are_the_same(words: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = es_gradient(LOGITS, TARGETS, **ASKED, **words)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    assert torch.equal(es_gradient(LOGITS, TARGETS, **ASKED, **words), expected)


def test_without_numba_nothing_asks_for_it() -> None:
    """What an import of it would do is refused."""
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'numba' else find(name, *rest)\n"
        "import torch, esgrad\n"
        "logits = torch.zeros(2, 4, requires_grad=True)\n"
        "for noise in ('gumbel', 'orthogonal', 'quasi', 'mirrored'):\n"
        "    f = esgrad.blackbox(lambda x: x.argmax(-1) == 1, num_samples=8, noise_variance=1.0, seed=0, noise=noise)\n"
        "    f(logits).sum().backward()\n"
        "esgrad.plan(logit_dim=10); esgrad.exact_gradient(logits.detach(), torch.tensor([0, 1]), 1.0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_where_nothing_may_be_kept_it_is_compiled_for_the_process() -> None:
    """As in a container without a home whose packages belong to another user."""
    script = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import torch\n"
        "from esgrad.kernels.argmax import argmax\n"
        "print(argmax(torch.eye(3)).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "[0, 1, 2]\n", done.stderr


def test_what_was_compiled_is_kept_until_another_file_changes_that_is_compiled_into_it(tmp_path: Path) -> None:
    """The fill calls functions of `normals.py`, whose constants are compiled into it as well."""
    package = Path(compiled.__file__).parents[2]
    shutil.copytree(package, tmp_path / "esgrad", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import torch; from esgrad.kernels import streams; from esgrad.kernels.compiled.fill import fill\n"
        "print(streams.normals([0], 0, 0, 0, 1, 1, 2).tolist(), sum(fill.stats.cache_hits.values()))\n"
    )

    def run() -> tuple[str, str]:
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("NUMBA_CACHE_DIR", None)
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
        numbers, _, hits = done.stdout.rpartition(" ")
        return numbers, hits.strip()

    first = run()
    assert first[1] == "0"
    assert run() == (first[0], "1")
    file = tmp_path / "esgrad/kernels/compiled/normals.py"
    file.write_text(
        file.read_text(encoding="utf-8").replace("float32(2.0**-24)", "float32(2.0**-23)"), encoding="utf-8"
    )
    changed = run()
    assert changed[1] == "0"
    assert changed[0] != first[0]
