"""What stands around the package holds together: the lock, conda's door, the commands, the set-up and its refusals."""

import importlib.util
import inspect
import math
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import esgrad
from esgrad import menu

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SYSTEMS = [("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64")]
PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/profile.yaml"))


def read(path: str) -> str:
    return (ROOT / path).read_text()


def locked() -> list[Requirement]:
    lines = (line.strip() for line in read("requirements.lock").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pins(name: str, python: str, system: tuple[str, str, str]) -> list[str]:
    """The versions the lock asks for on one system and Python."""
    environment = dict(zip(("sys_platform", "platform_system", "platform_machine"), system, strict=True))
    environment |= {"python_version": python, "python_full_version": f"{python}.1"}
    return [
        next(iter(pin.specifier)).version
        for pin in locked()
        if canonicalize_name(pin.name) == canonicalize_name(name)
        and (pin.marker is None or pin.marker.evaluate(environment))
    ]


def run(*command: str, **options) -> subprocess.CompletedProcess:
    """A command as a newcomer's shell would run it: without what `make test` has put into the environment."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    options = {"env": environment, "cwd": ROOT} | options
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


# The lock and its doors


@pytest.mark.parametrize("requirement", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
def test_every_dependency_is_pinned_once_wherever_the_project_runs(requirement: str) -> None:
    wanted = Requirement(requirement)
    for python in PYTHONS:
        for system in SYSTEMS:
            found = pins(wanted.name, python, system)
            assert len(found) == 1, f"{wanted.name} is pinned {len(found)} times for {python} on {system}"
            assert wanted.specifier.contains(found[0]), f"{wanted.name} {found[0]} is not {wanted.specifier}"


def test_the_lock_holds_pins_and_nothing_else() -> None:
    for pin in locked():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"{pin} is no plain version"  # no +cpu either
        assert pin.url is None


def test_torch_and_torchvision_are_pinned_in_pyproject_as_in_the_lock() -> None:
    direct = {requirement.name: requirement for requirement in map(Requirement, PROJECT["dependencies"])}
    for name in ("torch", "torchvision"):
        assert str(direct[name].specifier) == f"=={pins(name, '3.12', SYSTEMS[0])[0]}"


def test_the_package_is_built_with_what_the_lock_brings() -> None:
    for requirement in map(Requirement, PYPROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(pins(requirement.name, "3.12", SYSTEMS[0])[0])


def test_condas_door_opens_on_the_lock() -> None:
    environment = yaml.safe_load(read("environment.yml"))
    python, pip, rest = environment["dependencies"]
    assert environment["name"] == PROJECT["name"]
    assert pip == "pip"
    assert rest == {"pip": ["-r requirements.lock", "-e ."]}
    allowed = SpecifierSet(python.removeprefix("python"))
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed] == PYTHONS


def test_the_pythons_are_the_same_everywhere() -> None:
    assert f"python>={PYTHONS[0]}" == f"python{PROJECT['requires-python']}"
    assert f'PYTHONS="{" ".join(PYTHONS)}"' in read("workflow/setup.sh")
    assert f"--python-version {PYTHONS[0]} " in read("Makefile")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{PYTHONS[0].replace('.', '')}"
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    assert set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"]) <= set(PYTHONS)


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["version"] == esgrad.__version__ == yaml.safe_load(read("CITATION.cff"))["version"]
    assert f"## {PROJECT['version']}" in read("CHANGELOG.md")


@pytest.mark.parametrize(
    "path", ["pyproject.toml", "requirements.lock", "environment.yml", "Makefile", "workflow/setup.sh", ".ci/run"]
)
def test_no_registry_is_named(path: str) -> None:
    text = read(path).replace("--no-emit-index-url", "")
    assert not re.search(r"https?:|index-url|find-links|trusted-host|--index|pypi", text, re.IGNORECASE)


# Commands


def targets() -> list[str]:
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", read("Makefile"), re.MULTILINE)
    assert phony
    return phony[1].replace("\\\n", " ").split()


def test_help_lists_every_command_in_words() -> None:
    done = run("make", "help")
    listed = dict(re.findall(r"^  ([a-z_-]+) +(\S.*)$", done.stdout, re.MULTILINE))
    assert set(listed) == set(targets()) - {"config-exists"}
    assert all(len(words.split()) > 3 for words in listed.values())
    assert run("make").stdout == done.stdout


def test_every_target_is_declared_and_every_declared_one_exists() -> None:
    assert set(re.findall(r"^([a-z_-]+):", read("Makefile"), re.MULTILINE)) == set(targets())


def test_a_config_that_is_not_there_is_told_before_anything_starts() -> None:
    done = run("make", "run", "CONFIG=config/papr.yaml")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "CONFIG=config/papr.yaml is not a file" in done.stderr.splitlines()[0]
    assert "config/smoke.yaml" in done.stderr.splitlines()[0]


@pytest.mark.parametrize("target", ["run", "report"])
def test_config_reaches_snakemake(target: str) -> None:
    default, other = run("make", "-n", target), run("make", "-n", target, "CONFIG=config/smoke.yaml")
    assert "snakemake --cores all" in default.stdout
    assert "--configfile" not in default.stdout
    assert 'snakemake --cores all --configfile "config/smoke.yaml"' in other.stdout


def test_the_commit_hooks_are_the_lint_of_make_test() -> None:
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    lint = re.search(r"^lint: (.*) ##", read("Makefile"), re.MULTILINE)
    assert lint
    assert [hook["entry"] for hook in hooks] == [f"make {part}" for part in lint[1].split()]
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


def test_lint_is_part_of_make_test_and_make_test_is_what_ci_runs() -> None:
    assert re.search(r"^test: lint pytest ", read("Makefile"), re.MULTILINE)
    assert re.search(r"^make --keep-going test\b", read(".ci/run").rstrip().splitlines()[-1])
    steps = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]["test"]["steps"]
    assert "make test" in [step.get("run") for step in steps]
    assert os.access(ROOT / ".ci/run", os.X_OK)


# Profiles


def with_options(profile: str) -> str:
    """A profile with the options that it shows commented out switched on."""
    return re.sub(r"^( *)# (?= *[a-z_-]+:(?: |$))", r"\1", profile, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def snakemake_options() -> set[str]:
    help_text = run(sys.executable, "-m", "snakemake", "--help").stdout
    return set(re.findall(r"--([a-z][a-z-]+)", help_text))


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_holds_options_that_snakemake_knows(name: str, snakemake_options: set[str]) -> None:
    text = read(f"profiles/{name}/profile.yaml")
    for profile in (text, with_options(text)):
        assert set(yaml.safe_load(profile)) <= snakemake_options


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_speaks_of_rules_that_there_are(name: str) -> None:
    named = yaml.safe_load(with_options(read(f"profiles/{name}/profile.yaml"))).get("set-resources", {})
    files = [*(ROOT / "workflow").glob("Snakefile"), *(ROOT / "workflow").glob("rules/*.smk")]
    rules = re.findall(r"^ *(?:rule|checkpoint) (\w+):", "\n".join(path.read_text() for path in files), re.MULTILINE)
    assert set(named) <= set(rules)


def test_every_profile_has_its_line_in_the_readme() -> None:
    assert PROFILES == ["default", "gpu", "slurm"]
    assert re.findall(r"^- `(\w+)`:", read("profiles/README.md"), re.MULTILINE) == PROFILES


# Lint


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_snakemakes_lint_may_miss_a_container_and_nothing_else() -> None:
    lint = module(ROOT / "workflow" / "lint.py")
    container = f"    * {lint.ALLOWED}:\n      This way, the used software is documented.\n"
    log = "    * No log directive defined:\n      Without a log directive, output is mixed.\n"
    allowed, mixed = (f"Lints for rule {rule} (line 4):\n" for rule in ("allowed", "mixed"))
    assert lint.refused(allowed + container) == []
    assert lint.refused(allowed + container + "\n" + mixed + container + log) == [(mixed + log).rstrip()]
    assert lint.refused(mixed + log + container) == [(mixed + log).rstrip()]


# CONTRIBUTING, followed


def test_the_estimator_of_ten_minutes_is_one(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    text = read("CONTRIBUTING.md")
    copied, new = re.findall(r"src/esgrad/shapings/(\w+)\.py", text)[:2]
    code = re.search(r"^   ```python\n(.*?)^   ```$", text, re.DOTALL | re.MULTILINE)
    assert code
    file = tmp_path / f"{new}.py"
    file.write_text(inspect.cleandoc("\n" + code[1]) + "\n")
    shaping, original = module(file), menu.load("shapings", copied)
    assert {name for name in vars(original) if not name.startswith("_")} <= set(vars(shaping))
    fitness = torch.tensor([1.0, 0.0, 0.0, 0.0])[None, :, None]
    assert torch.allclose(shaping.weights(fitness)[0, :, 0], torch.tensor([math.e, 1, 1, 1]) / (math.e + 3) - 0.25)
    assert not shaping.weights(torch.ones(1, 4, 1)).any()
    independent = menu.load("noises", "independent")
    assert shaping.refuses(independent, 1)
    assert shaping.refuses(independent, 2) is None
    for command in ("ruff check", "ruff format --check --line-length 200"):
        done = run(sys.executable, "-m", *command.split(), "--isolated", str(file))
        assert done.returncode == 0, done.stdout


def test_contributing_says_of_every_menu_what_its_files_define() -> None:
    rows = re.findall(r"^\| `(\w+)/` \| `(\w+)\.py` \| (.*) \|$", read("CONTRIBUTING.md"), re.MULTILINE)
    assert sorted(row[0] for row in rows) == menu.menus()
    for folder, name, defines in rows:
        source = (menu.PACKAGE / folder / f"{name}.py").read_text()
        for word in re.findall(r"`(\w+)[(`]", defines):
            assert re.search(rf"\b{word}\b", source), f"{folder}/{name}.py has no {word}"


# Set-up, with a pretended Python and nothing installed

TOOLS = [
    "dirname",
    "cat",
    "cksum",
    "head",
    "tail",
    "df",
    "awk",
    "grep",
    "tee",
    "mkdir",
    "find",
    "rm",
    "mv",
    "cp",
    "uname",
]
NO_NETWORK = "Failed to establish a new connection: NewConnectionError: Name or service not known"


class Place:
    """A checkout of the files that the set-up reads, and a PATH on which nothing lies but what is pretended."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root / "checkout", root / "bin"
        self.calls = root / "calls"
        self.bin.mkdir()
        (self.root / "workflow").mkdir(parents=True)
        for name in ("workflow/setup.sh", "pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.root / name)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.pretend("df", "echo header; echo /dev/disk 99999999 1 99999999 1% /")

    def pretend(self, name: str, body: str) -> None:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def python(self, version: str = "3.12", venv: str = "exit 0", pip: str = "exit 0", name: str = "python3") -> None:
        """A Python that says its version, makes an environment that holds itself, and writes down each installation."""
        self.pretend(
            name,
            f'case "$*" in\n'
            f'  "-c import sys"*) echo {version} ;;\n'
            f'  "-c import venv"*) {venv} ;;\n'
            f'  "-m venv "*) echo "$*" >>"{self.calls}"; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;\n'
            f'  "-m pip --version") exit 0 ;;\n'
            f'  "-m pip install "*) echo "$*" >>"{self.calls}"; {pip} ;;\n'
            f"esac",
        )

    def setup(self, **environment: str) -> subprocess.CompletedProcess:
        bash = str(shutil.which("bash"))
        return run(bash, "workflow/setup.sh", cwd=self.root, env={"PATH": str(self.bin)} | environment)

    def called(self) -> list[str]:
        """What was called since the last time, by its last words: `.venv`, `requirements.lock`, `.`."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [line.split()[-1] for line in lines]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


EVERYTHING = [".venv", "requirements.lock", "."]


def test_a_second_set_up_installs_nothing(place: Place) -> None:
    place.python()
    first = place.setup()
    assert first.returncode == 0, first.stderr
    assert place.called() == EVERYTHING
    assert "6.4 GB" in first.stdout
    second = place.setup()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert place.called() == []


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_change_of_what_is_asked_for_is_installed(place: Place, changed: str) -> None:
    place.python()
    place.setup()
    place.called()
    (place.root / changed).write_text((place.root / changed).read_text() + "# changed\n")
    assert place.setup().returncode == 0
    assert place.called() == ["requirements.lock", "."]
    place.setup()
    assert place.called() == []


def test_a_set_up_that_was_cut_off_starts_afresh(place: Place) -> None:
    place.python(pip='[ "$3" != install ] || exit 1')
    assert place.setup().returncode != 0
    assert place.called() == [".venv", "requirements.lock"]
    place.python()
    assert place.setup().returncode == 0
    assert place.called() == EVERYTHING


def test_an_environment_that_was_moved_is_made_anew(place: Place) -> None:
    place.python()
    place.setup()
    place.called()
    place.root = place.root.rename(place.root.with_name("elsewhere"))
    assert place.setup().returncode == 0
    assert place.called() == EVERYTHING


def test_an_environment_that_somebody_made_is_kept(place: Place) -> None:
    place.python()
    (place.root / ".venv/bin").mkdir(parents=True)
    shutil.copy(place.bin / "python3", place.root / ".venv/bin/python")
    (place.root / ".venv/theirs").touch()
    place.pretend("df", "echo header; echo /dev/disk 9 9 9 1% /")  # there is room already, for it is there
    assert place.setup().returncode == 0
    assert place.called() == ["requirements.lock", "."]
    assert (place.root / ".venv/theirs").exists()


def test_a_newer_python_is_found_beside_an_old_one(place: Place) -> None:
    place.python("3.9")
    place.python("3.13", name="python3.13")
    done = place.setup()
    assert done.returncode == 0, done.stderr
    assert "Python 3.13" in done.stdout


def test_little_room_goes_without_pips_cache(place: Place) -> None:
    place.python(pip='echo "no cache: $PIP_NO_CACHE_DIR"')
    place.pretend("df", "echo header; echo /dev/disk 1 1 11000000 1% /")
    assert place.setup().returncode == 0
    assert "no cache: 1" in (place.root / ".venv/setup.log").read_text()


def refusal(done: subprocess.CompletedProcess) -> str:
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert "Traceback" not in done.stdout + done.stderr
    return line


def test_too_old_a_python_is_refused(place: Place) -> None:
    place.python("3.10")
    place.python("3.10", name="python3.11")  # a shim may be called so and be another
    line = refusal(place.setup())
    assert "Python 3.11 to 3.14 is needed" in line
    assert "python3 is 3.10" in line
    assert not (place.root / ".venv").exists()


def test_a_python_that_is_named_is_the_only_one_tried_and_may_be_too_new(place: Place) -> None:
    place.python("3.12")
    place.python("3.15", name="newest")
    assert "newest is 3.15" in refusal(place.setup(PYTHON="newest"))
    assert "no/such does not run" in refusal(place.setup(PYTHON="no/such"))


def test_no_python_at_all_is_refused(place: Place) -> None:
    assert "python3 does not run" in refusal(place.setup())


def test_a_missing_venv_is_refused_with_debians_package(place: Place) -> None:
    place.python("3.13", venv="echo ModuleNotFoundError >&2; exit 1")
    assert "apt install python3.13-venv" in refusal(place.setup())
    assert not (place.root / ".venv").exists()


def test_too_little_disk_is_refused_before_anything_is_made(place: Place) -> None:
    place.python()
    place.pretend("df", "echo header; echo /dev/disk 99999999 1 3145728 99% /")
    line = refusal(place.setup())
    assert "3 GB are free" in line
    assert "6.4 GB" in line
    assert not (place.root / ".venv").exists()


@pytest.mark.parametrize(
    ("pip_says", "line"),
    [
        (NO_NETWORK, "no network"),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch==2.14.1", "torch==2.14.1"),
        ("ERROR: something else", "something else"),
    ],
)
def test_a_failure_of_pip_is_told_in_a_line_with_its_log(place: Place, pip_says: str, line: str) -> None:
    place.python(pip=f'echo "{pip_says}"; exit 1')
    told = refusal(place.setup())
    assert line in told
    assert ".venv/setup.log" in told
    assert not (place.root / ".venv/.installed").exists()


def test_an_environment_without_pip_is_refused(place: Place) -> None:
    place.python()
    place.setup()
    environment = place.root / ".venv/bin/python"
    environment.write_text(environment.read_text().replace('"-m pip --version") exit 0', '"-m pip --version") exit 1'))
    (place.root / ".venv/.installed").unlink()
    assert "has no pip" in refusal(place.setup())
