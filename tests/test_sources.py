"""A job's sources are all that decides its records, and no more."""

from pathlib import Path

import pytest

from esgrad import menu
from esgrad.suite import sources
from esgrad.training.job import Job
from tests.modules import MENUS, MODULES, counted, file, imported, names

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
    **{
        name: {"space": "logits", "exact": name, "blackbox": menu.load("exact", name).BLACKBOX}
        for name in menu.names("exact")
    },
}


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


# The closure


@pytest.mark.parametrize("method", METHODS)
def test_a_closure_holds_what_the_job_names_and_what_that_imports(method: str) -> None:
    of = job(method)
    found = names(sources.of_job(of))
    chosen = {file(folder, getattr(of, key)) for folder, key in MENUS.items() if getattr(of, key)}
    always = {"training/loop.py", "training/tuning.py", "training/method.py", "kernels/streams.py", "tasks/stack.py"}
    always |= {"tasks/data.py", "gradients/costs.py"}
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
    later = {"statistics", "measurement", "suite", "planning", "report", "workflow.py", "cli.py"}
    assert later <= {name.split("/")[0] for name in MODULES}, "a chapter has another name"
    assert not {name for name in found if name.split("/")[0] in later}


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


def test_jobs_that_differ_in_a_file_differ_in_their_digest() -> None:
    digests = {method: sources.digest_of_job(job(method)) for method in METHODS}
    assert len(set(digests.values())) == len(METHODS)
    again = sources.digest_of_job(job("lecture", max_steps=99))
    assert again == digests["lecture"]  # a setting is no source
