"""The workflow: what each configuration plans, that it runs, and what an edit, a failure and bad input lead to."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from esgrad import menu
from tests.workflow import ROOT, SMOKE, Checkout

pytestmark = pytest.mark.workflow
FIGURES, TABLES = len(menu.names("figures")), len(menu.names("tables"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A checkout that has run nothing."""
    return Checkout(tmp_path_factory.mktemp("clone"))


JOBS = {
    "config": {"data": 2, "train": 71, "gradient_quality": 3, "samples_needed": 3, "noise_scale": 1},
    "smoke": {"data": 1, "train": 7, "gradient_quality": 1, "samples_needed": 1},
    "mnist": {"data": 2, "train": 35, "gradient_quality": 3, "samples_needed": 8, "noise_scale": 1},
    "full_es": {"data": 1, "train": 5},
    "es_arms": {"data": 1, "train": 11},
    "paper": {"data": 7, "train": 182, "gradient_quality": 6, "samples_needed": 9, "noise_scale": 2},
}


def test_every_configuration_has_its_number_of_jobs_asserted():
    assert set(JOBS) == {path.stem for path in (ROOT / "config").glob("*.yaml")}


@pytest.mark.parametrize("name", JOBS)
def test_a_configuration_plans_its_number_of_jobs(clone, name):
    planned = clone.planned("--configfile", f"config/{name}.yaml")
    always = {"suite_description": 1, "tables": 1, "figure": FIGURES, "timings": 1, "suite": 1}
    expected = JOBS[name] | always
    assert planned == expected | {"total": sum(expected.values())}


@pytest.mark.parametrize("profile", [path.name for path in sorted((ROOT / "profiles").iterdir()) if path.is_dir()])
def test_every_profile_plans_the_smoke_suite(clone, profile):
    said = clone.run("snakemake", "-n", "--workflow-profile", f"profiles/{profile}", *SMOKE)
    assert said.returncode == 0, said.stdout
    assert re.search(r"^train +7$", said.stdout, re.MULTILINE), said.stdout


def test_the_default_profile_is_found_by_itself(clone):
    assert "profiles/default" in clone.run("snakemake", "-n", *SMOKE).stdout


def test_a_run_says_beforehand_what_it_will_do(clone):
    said = clone.snakemake("-n").stdout
    assert re.search(r"esgrad suite 'default': \d+ cells, \d+ reported runs, 71 training jobs", said)
    assert re.search(r"About \d+ core-minutes", said)
    assert "maxrl is identically 0 at N = 1" in said


def test_the_smoke_suite_leaves_records_tables_figures_timings_and_a_report(finished):
    results = finished.folder / "results" / "smoke"
    assert len(list(results.glob("runs/**/records.parquet"))) == 7
    assert len(list((results / "tables").iterdir())) == 3 * TABLES
    assert len(list((results / "figures").iterdir())) == 3 * FIGURES
    assert {path.name for path in (results / "timings").iterdir()} == {"seconds.csv", "provenance.csv"}
    assert (results / "report.html").stat().st_size > 100_000
    assert all((results / "logs").glob("**/*.log"))


def test_the_report_has_no_external_links_and_every_figure(finished):
    page = (finished.folder / "results" / "smoke" / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["']https?://[^"']+\.(?:js|css)["']""", page)
    for name in menu.names("figures"):
        assert f"{name}.svg" in page


def test_nothing_published_names_this_machine(finished):
    results = finished.folder / "results" / "smoke"
    published = [*results.glob("tables/*"), *results.glob("figures/*"), results / "report.html"]
    for path in published:
        content = path.read_bytes()
        assert str(finished.folder).encode() not in content, path
        assert str(Path.home()).encode() + b"/" not in content, path


def test_a_second_run_has_nothing_to_be_done(finished):
    assert "Nothing to be done" in finished.snakemake(*SMOKE).stdout


@pytest.mark.parametrize(
    ("edited", "train", "figure", "quality"),
    [
        ("src/esgrad/gradients/shapings/raw.py", 1, FIGURES, 1),
        ("src/esgrad/gradients/shapings/centered_ranks.py", 1, FIGURES, 0),
        ("src/esgrad/gradients/shapings/z_score.py", 0, 0, 0),
        ("src/esgrad/gradients/credits/class_.py", 1, FIGURES, 1),
        ("src/esgrad/kernels/streams.py", 7, FIGURES, 1),
        ("src/esgrad/kernels/compiled/fill.py", 0, 0, 0),
        ("src/esgrad/training/tuning.py", 7, FIGURES, 1),
        ("src/esgrad/report/figures/batch_heatmap.py", 0, 1, 0),
        ("src/esgrad/gradients/exact/log_smoothed.py", 5, FIGURES, 1),
        ("src/esgrad/laws/variance.py", 0, FIGURES, 1),
        ("src/esgrad/cli.py", 0, 0, 0),
    ],
)
def test_an_edit_reruns_what_depends_on_it_and_nothing_else(finished, edited, train, figure, quality):
    path = finished.folder / edited
    before = path.read_text(encoding="utf-8")
    finished.append(edited, "\nAN_EDIT = 1\n")
    try:
        planned = finished.planned(*SMOKE)
    finally:
        path.write_text(before, encoding="utf-8")
    found = tuple(planned.get(rule, 0) for rule in ("train", "figure", "gradient_quality"))
    assert found == (train, figure, quality)


def test_a_comment_and_a_docstring_rerun_nothing(finished):
    edited = finished.folder / "src/esgrad/kernels/streams.py"
    before = edited.read_text(encoding="utf-8")
    edited.write_text(
        before.replace("There is no state.", "Nothing is remembered.") + "\n# a comment\n", encoding="utf-8"
    )
    try:
        assert finished.planned(*SMOKE) == {}
    finally:
        edited.write_text(before, encoding="utf-8")


def test_a_touch_without_an_edit_reruns_nothing(finished):
    (finished.folder / "src/esgrad/kernels/streams.py").touch()
    assert finished.planned(*SMOKE) == {}


def test_a_missing_figure_is_drawn_alone(finished):
    figure = finished.folder / "results/smoke/figures/gradient_cosine.svg"
    before = figure.read_bytes()
    figure.unlink()
    said = finished.snakemake("results/smoke/figures/gradient_cosine.svg", *SMOKE)
    assert said.returncode == 0, said.stdout
    assert re.search(r"^figure +1$", said.stdout, re.MULTILINE)
    assert figure.read_bytes() == before, "a figure drawn again has the same bytes"


def test_deps_prints_the_sources_of_a_job(finished):
    job = "headline/digits/mlp/zero_one/lecture/logit_dim=10/batch_size=32"
    said = finished.run("esgrad", "deps", job, "--config", "config/smoke.yaml")
    assert said.returncode == 0, said.stdout
    printed = {Path(line).relative_to(finished.folder / "src/esgrad").as_posix() for line in said.stdout.split()}
    own = {"gradients/shapings/raw.py", "gradients/noises/independent.py"}
    assert own | {"kernels/streams.py", "training/loop.py"} <= printed
    assert not {"gradients/shapings/maxrl.py", "cli.py", "suite/gathered.py"} & printed


def test_records_do_not_depend_on_when_and_beside_what_a_job_runs(finished, tmp_path):
    again = Checkout(tmp_path / "again")
    job = "runs/headline/digits/mlp/zero_one/lecture/logit_dim=10/batch_size=32/records.parquet"
    said = again.snakemake(f"results/smoke/{job}", *SMOKE, TZ="Asia/Tokyo", LC_ALL="C", OMP_NUM_THREADS="2")
    assert said.returncode == 0, said.stdout
    first, second = (made.folder / "results/smoke" / job for made in (finished, again))
    assert first.read_bytes() == second.read_bytes()


def test_a_record_of_other_sources_is_refused(finished, tmp_path):
    shutil.copytree(finished.folder / "results/smoke", tmp_path / "smoke")
    path = next((tmp_path / "smoke/runs").glob("**/lecture/**/records.parquet"))
    pd.read_parquet(path).assign(source_digest="0123456789abcdef").to_parquet(path)
    said = finished.run("esgrad", "tables", str(tmp_path / "smoke"))
    assert said.returncode == 2
    assert "made by other sources (digest 0123456789abcdef" in said.stdout
    assert "Traceback" not in said.stdout


def test_a_truncated_record_is_refused(finished, tmp_path):
    shutil.copytree(finished.folder / "results/smoke", tmp_path / "smoke")
    path = next((tmp_path / "smoke/runs").glob("**/lecture/**/records.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    said = finished.run("esgrad", "tables", str(tmp_path / "smoke"))
    assert said.returncode == 2
    assert "records.parquet cannot be read as Parquet" in said.stdout
    assert "Traceback" not in said.stdout
    assert not list(tmp_path.glob("**/*.tmp*"))


def test_a_cell_that_fails_leaves_the_others_and_what_can_be_drawn_is_drawn(finished, tmp_path):
    broken = Checkout(tmp_path / "broken")
    shutil.copytree(finished.folder / "results", broken.folder / "results")
    shutil.copytree(finished.folder / ".snakemake/metadata", broken.folder / ".snakemake/metadata")  # what made them
    broken.append(
        "src/esgrad/gradients/shapings/raw.py",
        "\n\n_whole = of_counts\n\n\ndef of_counts(hits, misses):\n"
        "    if int((hits + misses).max()) == 10:\n        raise MemoryError('planted')\n"
        "    return _whole(hits, misses)\n",
    )
    said = broken.snakemake(*SMOKE)
    assert said.returncode != 0
    assert "N = 10 (MemoryError: planted)" in said.stdout
    runs, partial = (broken.folder / "results/smoke" / part for part in ("runs", "partial"))
    assert len(list(runs.glob("**/provenance.json"))) == 6, "the other six jobs are whole"
    accuracy = pd.read_csv(partial / "tables/accuracy.csv")
    assert set(accuracy[accuracy["method"] == "lecture"]["num_samples"]) == {1}, "the cell that worked is kept"
    assert len(list((partial / "figures").glob("*.svg"))) == FIGURES
    shutil.copy(ROOT / "src/esgrad/gradients/shapings/raw.py", broken.folder / "src/esgrad/gradients/shapings/raw.py")
    said = broken.snakemake(*SMOKE)
    assert said.returncode == 0, said.stdout[-3000:]
    assert not partial.exists()


BAD = {
    "an unknown key": ("num_sampels: [3]\n", "num_sampels"),
    "malformed YAML": ("broken: [1\n", "YAML"),
}


@pytest.mark.parametrize(("text", "pattern"), BAD.values(), ids=BAD)
def test_a_bad_configuration_stops_before_anything_starts(clone, text, pattern):
    smoke = (clone.folder / "config/smoke.yaml").read_text(encoding="utf-8")
    (clone.folder / "bad.yaml").write_text(smoke + text, encoding="utf-8")
    said = clone.run("snakemake", "--cores", "1", "--configfile", "bad.yaml")
    assert said.returncode != 0
    assert re.search(pattern, said.stdout)
    assert "Traceback" not in said.stdout
    assert not (clone.folder / "results").exists()


def test_a_word_on_the_command_line_is_checked_too(clone):
    said = clone.snakemake("-n", *SMOKE, "--config", "device=gpu")
    assert said.returncode != 0
    assert "device: 'gpu' is not one of" in said.stdout


def test_missing_data_files_are_named_with_where_they_belong(clone):
    said = clone.snakemake(
        "results/data/mnist.safetensors", "--configfile", "config/mnist.yaml", "--config", "data_root=nowhere",
        https_proxy="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    assert said.returncode != 0
    assert "train-images-idx3-ubyte" in said.stdout
    assert "nowhere" in said.stdout
    assert "Traceback" not in said.stdout
    assert not list((clone.folder / "results/data").glob("*.safetensors"))


def test_the_linter_finds_nothing_but_the_one_allowed_kind():
    said = subprocess.run(
        [sys.executable, "workflow/lint.py"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert said.returncode == 0, said.stdout
