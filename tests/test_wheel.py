"""The wheel, away from a checkout and without any extra: what it asks for, and what works with that alone."""

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SITE = Path(sysconfig.get_paths()["purelib"])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    out = tmp_path_factory.mktemp("wheel")
    tree = out / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "src"):  # a build leaves folders beside its sources
        (tree / name).symlink_to(ROOT / name)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(out), str(tree)]
    done = subprocess.run(build, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.whl")
    return made


def needed(name: str, found: set[str]) -> set[str]:
    """A distribution and all that it needs without an extra."""
    if name.lower() not in found:
        found.add(name.lower())
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(requirement.name, found)
    return found


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders for PYTHONPATH: the wheel unpacked, and links to torch, numpy and what those need, nothing else."""
    unpacked, light = wheel.parent / "unpacked", tmp_path_factory.mktemp("light")
    zipfile.ZipFile(wheel).extractall(unpacked)
    for name in needed("torch", needed("numpy", set())):
        for file in importlib.metadata.files(name) or []:
            top = light / file.parts[0]
            if file.parts[0] not in ("..", "bin") and not top.is_symlink():
                top.symlink_to(SITE / file.parts[0])
    return unpacked, light


def run(alone: tuple[Path, Path], *command: str, cwd: Path) -> subprocess.CompletedProcess:
    """A command of a Python that sees nothing but those folders."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, alone))
    python = [sys.executable, "-S", *command]
    return subprocess.run(python, capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=cwd)


def test_the_wheel_asks_for_torch_and_numpy(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    asked = [Requirement(text) for text in message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []]
    plain = {each.name: str(each.specifier) for each in asked if each.marker is None}
    assert plain == {"torch": ">=2.6", "numpy": ">=2.0"}


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("esgrad/")}
    sources = (path for path in (ROOT / "src/esgrad").rglob("*") if path.suffix in (".py", ".yaml", ".typed", ".txt"))
    assert {path.relative_to(ROOT / "src").as_posix() for path in sources} == held


SCRIPT = """
import torch, esgrad
for package in ("numba", "pandas", "scipy", "yaml"):
    try:
        __import__(package)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{package} is here")
x = torch.zeros(2, 4, requires_grad=True)
for words in [{}, {"noise": "quasi"}, {"noise": "orthogonal"}, {"credit": "class", "noise": "gumbel"}]:
    of_classes = "credit" in words
    f = esgrad.blackbox(
        lambda x: (x if of_classes else x.argmax(-1)) == 1, num_samples=64, noise_variance=1.0, seed=0, **words
    )
    f(x).sum().backward()
assert (x.grad.argmax(1) == 1).all()
gradient = esgrad.es_gradient(x.detach(), torch.tensor([0, 1]), num_samples=8, noise_variance=1.0, seed=0, step=0)
print(gradient.flatten().tolist())
print(esgrad.plan(logit_dim=1000, credit="class")["num_samples"], esgrad.plan(parameters=10**6)["num_samples"])
"""


def test_without_an_extra_gradients_and_plans_work_with_the_same_bits(alone: tuple[Path, Path], tmp_path: Path) -> None:
    import torch

    import esgrad

    done = run(alone, "-c", SCRIPT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    bits, plans = done.stdout.splitlines()
    asked = {"num_samples": 8, "noise_variance": 1.0, "seed": 0, "step": 0}
    assert bits == str(esgrad.es_gradient(torch.zeros(2, 4), torch.tensor([0, 1]), **asked).flatten().tolist())
    assert plans.split()[0] == "693"


@pytest.mark.parametrize("command", [["list"], ["list", "shapings"], ["plan", "--logit-dim", "10"], ["--version"]])
def test_commands_that_need_no_suite_work_without_it(
    alone: tuple[Path, Path], tmp_path: Path, command: list[str]
) -> None:
    done = run(alone, "-m", "esgrad.cli", *command, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout


def test_a_command_of_the_suite_says_what_to_install(alone: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(alone, "-m", "esgrad.cli", "train", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'esgrad[suite]'" in done.stderr


def test_a_configuration_is_read_away_from_a_checkout(wheel: Path, alone: tuple[Path, Path], tmp_path: Path) -> None:
    """With the suite installed: the schema lies in the package."""
    script = f"from esgrad.suite import config; print(config.read({str(ROOT / 'config/smoke.yaml')!r})['name'])"
    environment = os.environ | {"PYTHONPATH": str(alone[0])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.stdout == "smoke\n", done.stderr
