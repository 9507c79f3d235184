"""Imports flow one way, chapter by chapter, and the door opens at once."""

import graphlib
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from esgrad import menu
from esgrad.suite import sources
from tests.modules import MENUS, MODULES, file, imported, names

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
    "differentiable",
    "statistics",
    "laws",
    "conformance",
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
        "workflow.py",
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
    assert not loaded & {"torch", "numba", "pandas", "scipy", "matplotlib", "sklearn"}


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
