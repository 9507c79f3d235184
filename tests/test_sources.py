"""A job's sources are all that decides its records, no more; a digest is of what they mean; imports flow one way; the
door opens at once.
"""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

import pytest

from esgrad import menu
from esgrad.suite import sources
from esgrad.training.job import Job

MODULES = {path.relative_to(menu.PACKAGE).as_posix(): path for path in sorted(menu.PACKAGE.rglob("*.py"))}
METHODS = {
    "lecture": {"space": "logits", "noise": "independent", "credit": "noise", "shaping": "raw"},
    "maxrl": {"space": "logits", "noise": "independent", "credit": "noise", "shaping": "maxrl"},
    "maxrl_annealed": {
        "space": "logits",
        "noise": "independent",
        "credit": "noise",
        "shaping": "maxrl",
        "schedule": "annealed",
    },
    "maxrl_gaussian": {
        "space": "logits",
        "noise": "independent",
        "credit": "noise",
        "shaping": "maxrl",
        "control": "gaussian",
    },
    "openai_es": {"space": "parameters", "noise": "mirrored", "credit": "noise", "shaping": "centered_ranks"},
    **{name: {"space": "logits", "exact": name} for name in menu.names("exact")},
}
MENUS = {
    "models": "model",
    "blackboxes": "blackbox",
    "optimizers": "optimizer",
    "spaces": "space",
    "noises": "noise",
    "credits": "credit",
    "shapings": "shaping",
    "schedules": "schedule",
    "exact": "exact",
    "controls": "control",
}
"""A job's menus and the key that names its choice."""


def job(method: str, **changes) -> Job:
    words = {
        "experiment": "test",
        "dataset": "digits",
        "model": "mlp",
        "blackbox": "zero_one",
        "method": method,
        "relative": None,
        "logit_dim": 10,
        "batch_size": 32,
        "space": "",
        "noise": "",
        "credit": "",
        "shaping": "",
        "schedule": "fixed",
        "exact": None,
        "control": None,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "hidden_size": 16,
        "num_classes": 10,
        "num_samples": (8,),
        "noise_variance": (1.0,),
        "num_seeds": 2,
        "max_steps": 10,
        "max_queries": None,
        "learning_rates": (0.01,),
        "num_tuning_seeds": 1,
        "variance_candidates": (),
        "max_widenings": 1,
        "evaluations_per_decade": 10,
        "draws_per_cell": 1e12,
    }
    return Job(**(words | METHODS[method] | changes))


def file(folder: str, word: str) -> str:
    return menu.path(folder, word).relative_to(menu.PACKAGE).as_posix()


def names(paths) -> set[str]:
    return {Path(path).relative_to(menu.PACKAGE).as_posix() for path in paths}


def counted(found: set[str]) -> set[str]:
    """Those that decide a record: a compiled twin does not."""
    return {name for name in found if not name.startswith(f"{sources.COMPILED}/")}


def imported(name: str) -> set[str]:
    """The package's modules that one names, anywhere in it; found here once more, relative ones included."""
    found = set()
    package = ["esgrad", *Path(name).parent.parts]
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        words: list[str] = []
        if isinstance(node, ast.Import):
            words = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            words = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        paths = [word.removeprefix("esgrad.").replace(".", "/") + ".py" for word in words if word.startswith("esgrad.")]
        found |= {path for path in paths if path in MODULES}
    return found - {name}


# The closure


@pytest.mark.parametrize("method", METHODS)
def test_a_closure_holds_what_the_job_names_and_what_that_imports(method: str) -> None:
    of = job(method)
    found = names(sources.of_job(of))
    chosen = {file(folder, getattr(of, key)) for folder, key in MENUS.items() if getattr(of, key)}
    always = {"training/loop.py", "kernels/streams.py", "tasks/stack.py", "tasks/data.py", "gradients/costs.py"}
    assert chosen | always <= found
    for name in found:
        missing = counted(imported(name)) - found
        assert not missing, f"{name} imports {sorted(missing)}"


@pytest.mark.parametrize("exact", ["smoothed", "log_smoothed"])
def test_the_quadrature_is_a_source_of_exact_smoothing(exact: str) -> None:
    """Else an edit of quadrature.py would leave these records as they are."""
    assert "gradients/quadrature.py" in names(sources.of_job(job(exact)))
    assert "gradients/quadrature.py" not in names(sources.of_job(job("backprop")))


def test_a_control_and_a_rule_are_sources_with_all_that_they_stand_on() -> None:
    """Else an edit of a control, its law or a rule would leave their records as they are."""
    control, rule, plain = (names(sources.of_job(job(name))) for name in ("maxrl_gaussian", "maxrl_annealed", "maxrl"))
    assert {"training/controls/gaussian.py", "laws/variance.py", "laws/curvature.py"} <= control - plain
    assert {"gradients/schedules/annealed.py", "gradients/schedules/spread.py"} == rule - plain


@pytest.mark.parametrize("method", METHODS)
def test_a_closure_holds_no_other_choice_of_a_menu(method: str) -> None:
    """Editing another shaping must not rerun this job; what a choice itself imports is part of it."""
    of = job(method)
    found = names(sources.of_job(of))
    chosen = {folder: file(folder, getattr(of, key)) for folder, key in MENUS.items() if getattr(of, key)}
    brought = names(sources.closure([name for name in chosen.values() if "/exact/" not in name]))
    for folder in MENUS:
        others = {file(folder, name) for name in menu.names(folder)} - {chosen.get(folder)}
        if folder in chosen:
            others -= imported(chosen[folder])
        if folder == "exact":  # a noise brings the exact gradients that its estimates tend to
            others -= brought
        assert not others & found


@pytest.mark.parametrize("method", METHODS)
def test_a_closure_holds_nothing_that_comes_after_training(method: str) -> None:
    """Editing a figure or a configuration's checks retrains nothing."""
    found = names(sources.of_job(job(method)))
    assert not {name for name in found if name.split("/")[0] in ("figures", "tables")}
    later = {
        "cli.py",
        "suite/config.py",
        "suite/gathered.py",
        "suite/records.py",
        "statistics/intervals.py",
        "report/style.py",
        "report/runs.py",
        "suite/forecast.py",
    }
    assert not found & later


def test_the_closure_of_everything_is_a_closed_set() -> None:
    for name in MODULES:
        found = names(sources.closure([name]))
        assert counted({name}) <= found
        assert all(counted(imported(other)) <= found for other in found)


def test_a_compiled_twin_is_no_source_but_what_it_imports_elsewhere_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A faster kernel disowns no record; the coefficients that it shares with its oracle still decide them."""
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    files = {
        "fill.py": "from esgrad.kernels.compiled import fill\n",
        "kernels/compiled/fill.py": "from esgrad.kernels.compiled.philox import words\n",
        "kernels/compiled/philox.py": "from esgrad.kernels.coefficients import LOG2\n",
        "kernels/coefficients.py": "LOG2 = 0.69\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    decide = [tmp_path / "fill.py", tmp_path / "kernels/coefficients.py"]
    assert sources.closure(["fill.py"]) == decide
    assert sources.closure(["kernels/compiled/fill.py"]) == decide[1:]
    assert sources.digest([tmp_path / name for name in sorted(files)]) == sources.digest(decide)


# The digest

SAMPLE = '''"""What the package's files are written in, and what may come."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache as kept
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

RATE, SCALE, MASK = 1e-3, -2.5j, 0xFF  # a comment
LETTERS = {"σ": b"\\x00s", "two": "parts " "of one", None: ...}
"""A string that nothing takes."""


class Row(NamedTuple):
    """A row."""

    name: str
    width: int = 1


@kept
def mean(values: tuple[float, ...], /, weight: float = 1, *rest: float, power: int = 2, **words: str | None) -> float:
    """The mean."""
    assert values, "none"
    total = sum(value**power * weight for value in (*values, *rest) if value is not None and not value < 0)
    total += -total // 2 if 0 < weight <= 1 or words else ~MASK & 3 | 4 ^ 5 << 6 >> 1
    return (total / len(values)) % 7 - 1.5


def lines(path: Path, **words: str) -> Iterator[str]:
    counter: int = 0
    best: Row

    def more() -> None:
        nonlocal counter
        counter += 1

    try:
        with path.open() as file, path.open():
            while (line := file.readline()) != "":
                more()
                if line[0] in "#" or line[1:-1:2] not in {*words}:
                    continue
                yield f"{line!r:>{counter}} {{{counter:{counter}.{RATE}f}}}: {path=}{line:{counter}}" "!"
                break
            else:
                yield from sorted(words, key=lambda word, *, deep=False: (len(word), word == line, deep is True))
    except (OSError, ValueError) as error:
        raise RuntimeError(f"at {path}") from error
    except KeyError:
        pass
    finally:
        del words["a"], file.name
    for key, (low, *high) in {**LETTERS, "b": [1, 2]}.items():
        print({key: low >= 1 and low > 2}, {each for each in high}, [x @ x for x in high], {x: 1 for x in high}, end="")


def kind(value: object) -> str:
    global RATE
    match value:
        case None | True | -1:
            return "constant"
        case Row(name="x", width=width) if width:
            return "row"
        case [first, *_] | {"first": first, **rest}:
            return str(first)
        case math.pi as known:
            return f"{known:.3f}"
        case _:
            return ""
'''
"""Every kind of syntax that the package uses, for Python 3.11 and later."""


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The digest of a file with this text, each in a folder of its own: what a path means is kept."""
    folders = count()

    def of(text: str, name: str = "a.py") -> str:
        package = tmp_path / str(next(folders))
        package.mkdir()
        (package / name).write_text(text, encoding="utf-8")
        monkeypatch.setattr(sources, "PACKAGE", package)
        return sources.digest([package / name])

    return of


def test_a_digest_is_the_same_on_every_python(digest_of: Callable[..., str]) -> None:
    """Else records would be disowned by the Python that reads them. Tried on 3.11 to 3.15."""
    assert digest_of(SAMPLE) == "8cc7af0586df0e2c"


def test_the_sample_holds_every_kind_of_syntax_that_the_package_uses() -> None:
    """Else versions of Python could differ in what the test above never shows them."""

    def kinds(text: str) -> set[str]:
        return {type(node).__name__ for node in ast.walk(ast.parse(text))}

    used = set().union(*(kinds(path.read_text(encoding="utf-8")) for path in MODULES.values()))
    assert not used - kinds(SAMPLE)


def reworded(old: str, new: str) -> str:
    assert SAMPLE.count(old) == 1
    return SAMPLE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # a comment", ""),
        ("\n\n\nclass", "\n\n\n# another comment\nclass"),
        ('"""A row."""', '"""Another row."""'),
        ('"""The mean."""', ""),
        ('"""A string that nothing takes."""', ""),
        ("1e-3, -2.5j, 0xFF", "0.001, -2.50j, 255"),
        ('"parts " "of one"', "'parts of one'"),
        ("(total / len(values)) % 7 - 1.5", "total / len(values) % 7 - 1.5"),
        (
            "path.open() as file, path.open():",
            "(\n            path.open() as file,\n            path.open(),\n        ):",
        ),
        ('f"at {path}"', "f'at {path}' ''"),
    ],
)
def test_a_digest_does_not_see_words_or_layout(digest_of: Callable[..., str], old: str, new: str) -> None:
    assert digest_of(reworded(old, new)) == digest_of(SAMPLE)


def test_a_digest_does_not_see_another_formatter(digest_of: Callable[..., str]) -> None:
    assert digest_of(ast.unparse(ast.parse(SAMPLE))) == digest_of(SAMPLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("MASK = 1e-3", "MASK = 1e-4"),
        ("RATE, SCALE", "SCALE, RATE"),
        ("weight: float = 1,", "weight: float = 1.0,"),
        ("weight: float = 1,", "weight: float = True,"),
        ("weight: float = 1,", "weight: float,"),
        ("*, deep=False", "*, deep"),
        ("*, deep=False", "deep=False"),
        ("power: int = 2", "power: float = 2"),
        ('b"\\x00s"', '"\\x00s"'),
        ('"σ"', '"t"'),
        ("value**power * weight", "value**power / weight"),
        ("total += -total", "total += +total"),
        ("not value < 0", "not value <= 0"),
        ("case None | True", "case False | True"),
        ("@kept\n", ""),
        ("cache as kept", "lru_cache as kept"),
        ("{line!r:>", "{line!s:>"),
        ("{line!r:>", "{line!r:<"),
        (".{RATE}f", ".{RATE}e"),
        ('f"at {path}"', '"at {path}"'),
        ("return str(first)", "return None"),
        ("return str(first)", "str(first)"),
        ("{key: low", "{None: low"),
        ("{**LETTERS", "{None: LETTERS"),
        ("                break\n", "                continue\n"),
        ("import math\nfrom collections.abc import Iterator\n", "from collections.abc import Iterator\nimport math\n"),
    ],
)
def test_a_digest_sees_every_change_of_meaning(digest_of: Callable[..., str], old: str, new: str) -> None:
    assert digest_of(reworded(old, new)) != digest_of(SAMPLE)


def test_a_digest_tells_the_names_of_files(digest_of: Callable[..., str]) -> None:
    assert digest_of("x = 1\n", "a.py") == digest_of("x = 1\n", "a.py") != digest_of("x = 1\n", "b.py")


def test_jobs_that_differ_in_a_file_differ_in_their_digest() -> None:
    digests = {method: sources.digest(tuple(sources.of_job(job(method)))) for method in METHODS}
    assert len(set(digests.values())) == len(METHODS)
    again = sources.digest(tuple(sources.of_job(job("lecture", max_steps=99))))
    assert again == digests["lecture"]  # a setting is no source


# One way


def layers() -> list[set[str]]:
    """The modules by layer: those of one import from earlier ones alone. CycleError where that cannot be."""
    sorter = graphlib.TopologicalSorter({name: imported(name) for name in MODULES})
    sorter.prepare()
    found = []
    while sorter.is_active():
        found.append(set(sorter.get_ready()))
        sorter.done(*found[-1])
    return found


def test_imports_flow_one_way() -> None:
    """Those within functions and for types included; the layers, the first without any import, are printed."""
    try:
        found = layers()
    except graphlib.CycleError as cycle:
        pytest.fail(f"imports go round in a circle: {' ← '.join(cycle.args[1])}")
    for number, layer in enumerate(found):
        print(number, *sorted(layer))
    depth = {name: number for number, layer in enumerate(found) for name in layer}
    chain = ["menu", "tasks/data", "training/job", "training/loop", "suite/worker", "cli"]
    assert all(depth[f"{early}.py"] < depth[f"{late}.py"] for early, late in pairwise(chain))


CHAPTERS = (
    "kernels",
    "tasks",
    "gradients",
    "statistics",
    "laws",
    "training",
    "measurement",
    "suite",
    "planning",
    "report",
)
"""In the order in which they may know of each other, each of those before it."""


def test_chapters_know_of_those_before_them_alone() -> None:
    assert sorted(CHAPTERS) == sorted(path.parent.name for path in menu.PACKAGE.glob("*/__init__.py"))
    for name in MODULES:
        own, *inside = name.split("/")
        if inside:
            known = {other.split("/")[0] for other in imported(name) if "/" in other}
            later = known - set(CHAPTERS[: CHAPTERS.index(own) + 1])
            assert not later, f"{name} knows of {', '.join(sorted(later))}"


def test_a_menu_s_files_do_not_know_who_chooses_them() -> None:
    """What is plugged in imports no loop, no command and no configuration."""
    after = {
        "training/loop.py",
        "suite/worker.py",
        "training/job.py",
        "suite/records.py",
        "suite/config.py",
        "cli.py",
        "measurement/quality.py",
        "measurement/checkpoints.py",
    }
    for folder in MENUS:
        for name in menu.names(folder):
            assert not names(sources.closure([file(folder, name)])) & after, file(folder, name)


# Who must be quick


def modules_after(statement: str) -> set[str]:
    script = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_what_the_snakefile_asks_costs_no_torch() -> None:
    """Every menu file answers `refuses` and the like; neither it nor the forecast may wait for torch."""
    menus = [
        file(folder, name).removesuffix(".py").replace("/", ".")
        for folder in MENUS
        for name in menu.names(folder)
        if folder not in ("models", "optimizers")
    ]
    asked = "".join(f"import esgrad.{name}\n" for name in menus)
    loaded = modules_after(f"import esgrad, esgrad.suite.config, esgrad.suite.forecast, esgrad.suite.sources\n{asked}")
    assert not loaded & {"torch", "numba", "scipy", "matplotlib", "sklearn"}


def test_a_job_is_planned_and_priced_without_torch() -> None:
    asked = "from esgrad.suite import config, forecast, sources\n"
    asked += "c = config.read('config/smoke.yaml')\n[sources.of_job(j) for j in config.jobs(c)]\nforecast.summary(c)"
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", f"{asked}\nimport sys\nprint('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    assert done.stdout.splitlines()[-1] == "False"
