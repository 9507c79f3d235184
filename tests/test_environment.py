"""What stands around the package holds together: the lock, conda's door, the commands, the set-up and its refusals."""

import inspect
import itertools
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import esgrad
from esgrad import menu

ROOT = Path(__file__).parents[1]


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


PYPROJECT = tomllib.loads(read("pyproject.toml"))
PROJECT = PYPROJECT["project"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SYSTEMS = [("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64")]
LOCK = [Requirement(line) for line in read("requirements.lock").splitlines() if line and not line.startswith("#")]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [
    each
    for each in [*PROJECT["dependencies"], *itertools.chain(*EXTRAS.values()), *PYPROJECT["build-system"]["requires"]]
    if not each.startswith("esgrad[")
]
PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/profile.yaml"))


def run(*command: str, **options) -> subprocess.CompletedProcess:
    """A command as a newcomer's shell would run it: without what `make test` has put into the environment."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    options = {"env": environment, "cwd": ROOT} | options
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


# The lock and its doors


@pytest.mark.parametrize("requirement", ASKED)
def test_every_dependency_is_pinned_once_wherever_the_project_runs(requirement: str) -> None:
    wanted = Requirement(requirement)
    named = [pin for pin in LOCK if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
    for python, system in itertools.product(PYTHONS, SYSTEMS):
        here = dict(zip(("sys_platform", "platform_system", "platform_machine"), system, strict=True))
        here |= {"python_version": python, "python_full_version": f"{python}.1"}
        found = [pin for pin in named if pin.marker is None or pin.marker.evaluate(here)]
        assert len(found) == 1, f"{wanted.name} is pinned {len(found)} times for {python} on {system}"
        assert wanted.specifier.contains(str(found[0].specifier).removeprefix("==")), f"{found[0]} is not {wanted}"


def test_the_lock_holds_pins_and_nothing_else() -> None:
    for pin in LOCK:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"{pin} is no plain version"  # no +cpu, no URL


def test_pythons_lock_and_version_are_the_same_behind_every_door() -> None:
    python, *rest = yaml.safe_load(read("environment.yml"))["dependencies"]
    allowed = SpecifierSet(python.removeprefix("python"))
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed] == PYTHONS
    assert rest == ["pip", {"pip": ["-r requirements.lock", "-e ."]}]
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert f'PYTHONS="{" ".join(PYTHONS)}"' in read("workflow/setup.sh")
    assert f"--python-version {PYTHONS[0]} " in read("Makefile")
    assert PROJECT["version"] == esgrad.__version__ == yaml.safe_load(read("CITATION.cff"))["version"]
    assert f"## {PROJECT['version']}" in read("CHANGELOG.md")


def test_no_registry_is_named() -> None:
    """The packages come from wherever the user's pip is set to look."""
    for path in ("pyproject.toml", "requirements.lock", "environment.yml", "Makefile", "workflow/setup.sh", ".ci/run"):
        text = read(path).replace("--no-emit-index-url", "")
        assert not re.search(r"https?:|index-url|find-links|trusted-host|--index|pypi", text, re.IGNORECASE), path


# Commands


def test_help_lists_every_command_in_words_and_texts_name_only_those() -> None:
    makefile, said = read("Makefile"), run("make", "help").stdout
    targets = set(re.findall(r"^([a-z_-]+):", makefile, re.MULTILINE))
    listed = dict(re.findall(r"^  ([a-z_-]+) +(\S.*)$", said, re.MULTILINE))
    assert set(listed) == targets - {"config-exists"}
    assert all(len(words.split()) > 3 for words in listed.values())
    assert run("make").stdout == said
    phony = makefile.partition(".PHONY:")[2].partition("\n\n")[0].replace("\\\n", " ")
    assert set(phony.split()) == targets  # else a file of that name would silence the command
    for path in ("README.md", "CONTRIBUTING.md", ".pre-commit-config.yaml"):
        assert set(re.findall(r"(?:`|entry: )make ([a-z_-]+)", read(path))) <= targets, path


def test_a_config_reaches_snakemake_or_is_told_to_be_missing_before_anything_starts() -> None:
    for target in ("run", "report"):
        default, other = run("make", "-n", target).stdout, run("make", "-n", target, "CONFIG=config/smoke.yaml").stdout
        assert "snakemake --cores all" in default
        assert "--configfile" not in default
        assert 'snakemake --cores all --configfile "config/smoke.yaml"' in other
    done = run("make", "run", "CONFIG=config/papr.yaml")
    assert (done.returncode == 0, done.stdout) == (False, "")
    assert re.match("CONFIG=config/papr.yaml is not a file.*config/smoke.yaml", done.stderr)


def test_every_profile_holds_options_that_snakemake_knows_and_rules_that_there_are() -> None:
    options = set(re.findall(r"--([a-z][a-z-]+)", run(sys.executable, "-m", "snakemake", "--help").stdout))
    workflow = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow").rglob("*.smk"))
    rules = set(re.findall(r"^ *(?:rule|checkpoint) (\w+):", workflow, re.MULTILINE))
    assert re.findall(r"^- `(\w+)`:", read("profiles/README.md"), re.MULTILINE) == PROFILES
    for name in PROFILES:
        text = read(f"profiles/{name}/profile.yaml")
        switched_on = re.sub(r"^( *)# (?= *[a-z_-]+:(?: |$))", r"\1", text, flags=re.MULTILINE)
        for profile in map(yaml.safe_load, (text, switched_on)):
            assert set(profile) <= options, name
            assert set(profile.get("set-resources", {})) <= rules, name  # Snakemake passes over any other


def test_snakemakes_lint_may_miss_a_container_and_nothing_else() -> None:
    lint = runpy.run_path(str(ROOT / "workflow/lint.py"))
    container = f"    * {lint['ALLOWED']}:\n      This way, the used software is documented.\n"
    log = "    * No log directive defined:\n      Without a log directive, output is mixed.\n"
    allowed, mixed = (f"Lints for rule {rule} (line 4):\n" for rule in ("allowed", "mixed"))
    assert lint["refused"](f"{allowed}{container}\n{mixed}{container}{log}{container}") == [(mixed + log).rstrip()]


# CONTRIBUTING, followed


def test_the_estimator_of_ten_minutes_is_one(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    text = read("CONTRIBUTING.md")
    copied, new = re.findall(r"src/esgrad/gradients/shapings/(\w+)\.py", text)[:2]
    file = tmp_path / f"{new}.py"
    code = text.partition("```python")[2].partition("   ```\n")[0]
    file.write_text(inspect.cleandoc(code) + "\n", encoding="utf-8")
    shaping = SimpleNamespace(**runpy.run_path(str(file)))
    assert {name for name in vars(menu.load("shapings", copied)) if not name.startswith("_")} <= set(vars(shaping))
    fitness = torch.tensor([1.0, 0.0, 0.0, 0.0])[None, :, None]
    expected = torch.tensor([math.e, 1, 1, 1]) / (math.e + 3) - 0.25
    assert torch.allclose(shaping.weights(fitness, lambda: fitness)[0, :, 0], expected)
    assert torch.allclose(torch.stack(shaping.of_counts(torch.tensor(1.0), torch.tensor(3.0))), expected[:2])
    assert not shaping.weights(torch.ones(1, 4, 1), lambda: fitness).any()
    assert [bool(shaping.refuses(menu.load("noises", "independent"), n)) for n in (1, 2)] == [True, False]
    checked = run(sys.executable, "-m", "ruff", "check", "--isolated", str(file))
    assert checked.returncode == 0, checked.stdout


def test_contributing_says_of_every_menu_what_its_files_define() -> None:
    rows = re.findall(r"^\| `(\w+)/` \| `(\w+)\.py` \| (.*) \|$", read("CONTRIBUTING.md"), re.MULTILINE)
    assert sorted(row[0] for row in rows) == menu.menus()
    for folder, name, defines in rows:
        source = menu.path(folder, name).read_text(encoding="utf-8")
        for word in re.findall(r"`(\w+)[(`]", defines):
            assert re.search(rf"\b{word}\b", source), f"{folder}/{name}.py has no {word}"


# Set-up, with a pretended Python and nothing installed

TOOLS = ["awk", "cat", "cksum", "cp", "dirname", "find", "grep", "head", "mkdir", "mv", "rm", "tail", "tee", "uname"]
EVERYTHING = [".venv", "requirements.lock", "."]


class Done(NamedTuple):
    """What a set-up called, by the last words, what it said, and the line with which it refused, if it did."""

    called: list[str]
    said: str
    refusal: str


class Place:
    """A checkout of the files that the set-up reads, and a PATH on which nothing lies but what is pretended."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin, self.calls = root / "checkout", root / "bin", root / "calls"
        self.bin.mkdir()
        (self.root / "workflow").mkdir(parents=True)
        for name in ("workflow/setup.sh", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.free(99999999)

    def pretend(self, path: Path, body: str) -> None:
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def free(self, kibibytes: int) -> None:
        self.pretend(self.bin / "df", f"echo header; echo /dev/disk 99999999 1 {kibibytes} 1% /")

    def python(self, version: str = "3.12", path: str = "../bin/python3", **says: str) -> None:
        """A Python that says its version, makes an environment that holds itself, and writes down each installation."""
        self.pretend(
            self.root / path,
            f'case "$*" in\n'
            f'  "-c import sys"*) echo {version} ;;\n'
            f'  "-c import venv"*) {says.get("venv", "exit")} ;;\n'
            f'  "-m venv "*) echo "$*" >>"{self.calls}"; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;\n'
            f'  "-m pip --version") {says.get("pip", "exit")} ;;\n'
            f'  "-m pip install "*) echo "$*" >>"{self.calls}"; {says.get("install", "exit")} ;;\n'
            f"esac",
        )

    def setup(self, **environment: str) -> Done:
        """The set-up; a refusal is one line."""
        bash = str(shutil.which("bash"))
        done = run(bash, "workflow/setup.sh", cwd=self.root, env={"PATH": str(self.bin), **environment})
        assert len(done.stderr.splitlines()) == (done.returncode != 0), done.stderr  # no traceback
        called = [line.split()[-1] for line in self.calls.read_text().splitlines()] if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return Done(called, done.stdout, done.stderr)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_set_up_takes_a_python_that_will_do_and_installs_once_and_again_what_changed(place: Place) -> None:
    place.python("3.9")
    place.python("3.13", "../bin/python3.13")
    done = place.setup()
    assert done.called == EVERYTHING
    assert re.search(r"Python 3\.13\n.*, 6\.4 GB,", done.said)
    assert place.setup() == ([], "", "")
    for changed in ("requirements.lock", "pyproject.toml"):
        with (place.root / changed).open("a") as file:
            file.write("# changed\n")
        assert place.setup().called == EVERYTHING[1:]
        assert place.setup() == ([], "", "")


def test_a_set_up_that_was_cut_off_or_moved_is_made_anew(place: Place) -> None:
    place.python(install="exit 1")
    assert place.setup().called == EVERYTHING[:2]
    place.python()
    assert place.setup().called == EVERYTHING
    place.root = place.root.rename(place.root.with_name("elsewhere"))
    assert place.setup().called == EVERYTHING


def test_the_environment_of_another_checkout_is_not_emptied_through_a_link(place: Place, tmp_path: Path) -> None:
    place.python()
    place.setup()
    kept = sorted(path.name for path in (place.root / ".venv").iterdir())
    first, place.root = place.root, tmp_path / "second"
    shutil.copytree(first, place.root, ignore=shutil.ignore_patterns(".venv"))
    (place.root / ".venv").symlink_to(first / ".venv")
    done = place.setup()
    assert not done.called
    assert f"{place.root}/.venv is the environment of {first}; remove it here" in done.refusal
    assert sorted(path.name for path in (first / ".venv").iterdir()) == kept
    (place.root / ".venv").unlink()
    assert place.setup().called == EVERYTHING
    place.root = tmp_path / "by another name"
    place.root.symlink_to(first)
    assert place.setup() == ([], "", "")


def test_an_environment_that_somebody_made_is_kept_if_it_will_do(place: Place) -> None:
    (place.root / ".venv/bin").mkdir(parents=True)
    place.free(9)  # there is room already, for it is there
    place.python("3.10", ".venv/bin/python")
    assert ".venv holds Python 3.10" in place.setup().refusal
    place.python(path=".venv/bin/python", pip="exit 1")
    assert ".venv has no pip" in place.setup().refusal
    place.python(path=".venv/bin/python")
    assert place.setup().called == EVERYTHING[1:]


@pytest.mark.parametrize(
    ("pythons", "asked", "venv", "words"),
    [
        ({}, {}, "exit", "python3 does not run"),
        ({"python3": "3.10", "python3.11": "3.10"}, {}, "exit", "Python 3.11 to 3.14 is needed, but python3 is 3.10"),
        ({"python3": "3.12"}, {"PYTHON": "no/such"}, "exit", "no/such does not run"),
        ({"python3": "3.12", "newest": "3.15"}, {"PYTHON": "newest"}, "exit", "newest is 3.15"),
        ({"python3": "3.13"}, {}, "echo ModuleNotFoundError >&2; exit 1", "apt install python3.13-venv"),
    ],
)
def test_a_python_that_will_not_do_is_refused(place: Place, pythons: dict, asked: dict, venv: str, words: str) -> None:
    for name, version in pythons.items():
        place.python(version, f"../bin/{name}", venv=venv)
    assert words in place.setup(**asked).refusal
    assert not (place.root / ".venv").exists()


def test_a_full_disk_is_refused_before_anything_is_made_and_little_room_goes_without_pips_cache(place: Place) -> None:
    place.python(install='echo "no cache: $PIP_NO_CACHE_DIR"')
    place.free(3145728)
    assert re.search(r"3 GB are free .* takes 6\.4 GB", place.setup().refusal)
    assert not (place.root / ".venv").exists()
    place.free(11000000)
    assert place.setup().called == EVERYTHING
    assert "no cache: 1" in (place.root / ".venv/setup.log").read_text()


@pytest.mark.parametrize(
    ("pip_says", "words"),
    [
        ("Failed to establish a new connection: NewConnectionError: Name or service not known", "no network"),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch==2.14.1", "torch==2.14.1"),
        ("ERROR: something else", "something else"),
        ("Killed", "Killed"),
    ],
)
def test_a_failure_of_pip_is_told_in_a_line_with_its_log(place: Place, pip_says: str, words: str) -> None:
    place.python(install=f'echo "{pip_says}"; exit 1')
    assert re.search(rf"{re.escape(words)}.*\.venv/setup\.log", place.setup().refusal)
    assert not (place.root / ".venv/.installed").exists()


@pytest.mark.slow
def test_no_process_of_the_suite_compiles_what_the_set_up_has_compiled(tmp_path: Path) -> None:
    """Where PYTHONDONTWRITEBYTECODE is set a process keeps nothing of what it compiles."""
    kept = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    assert run(sys.executable, "workflow/precompile.py", env=kept).returncode == 0
    start = "import esgrad.suite.worker, esgrad.workflow, snakemake.cli"
    said = run(sys.executable, "-v", "-c", start, env=kept | {"PYTHONDONTWRITEBYTECODE": "1"})
    assert said.returncode == 0
    assert "# code object from '" in said.stderr, "what is kept is told so"
    assert not re.findall(r"^# code object from (/.*\.py)$", said.stderr, re.MULTILINE)
