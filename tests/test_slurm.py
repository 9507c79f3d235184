"""The smoke suite on a real Slurm node: the shipped profile submits it, and its tables are those of a local run."""

import os
import re
import sys

import pytest

from esgrad import menu
from esgrad.suite import config as configuration
from tests import slurm_node
from tests.workflow import ROOT, SMOKE, Checkout

SMOKE_JOBS = sum(map(configuration.runnable, configuration.jobs(configuration.read(ROOT / "config" / "smoke.yaml"))))

pytestmark = pytest.mark.workflow
needs_slurm = pytest.mark.skipif(slurm_node.lacking() != "", reason=slurm_node.lacking())
# What profiles/slurm offers in comments: a cluster without an accounting database; a partition and a GPU for training.
ON_THIS_CLUSTER = (
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"),
    *("--set-resources", "train:slurm_partition=other", "train:gpu=1"),
)
FIGURES = ("credit", "ladder")  # two of them stand for all, which differ in nothing that Slurm sees
WANTED = (
    *("results/smoke/tables/accuracy.csv", "results/smoke/timings/seconds.csv"),
    *(f"results/smoke/figures/{figure}.svg" for figure in FIGURES),
)


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """A checkout whose smoke suite ran through Slurm, what Snakemake said and what Slurm knows of the jobs."""
    made = Checkout(tmp_path_factory.mktemp("submitted"))
    cpus = max(2, os.cpu_count() or 1)
    with slurm_node.node(tmp_path_factory.mktemp("slurm"), cpus, memory=4000 * cpus) as environment:
        snakemake = (sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm")
        said = made.run(*snakemake, *SMOKE, *ON_THIS_CLUSTER, "--", *WANTED, **environment)
        jobs = slurm_node.jobs(environment)
    assert said.returncode == 0, f"{said.stdout[-5000:]}\n{jobs}"
    return made, said.stdout, jobs


@pytest.mark.slow
@needs_slurm
def test_every_job_but_the_smallest_ran_in_slurm_and_once(submitted):
    _, _, jobs = submitted
    ran = sorted(re.match(r"rule_(\w+?)(?:_wildcards_|$)", job["Comment"])[1] for job in jobs)
    others = ["tables", "timings", "data", "gradient_quality", "samples_needed"]
    assert ran == sorted(["train"] * SMOKE_JOBS + ["figure"] * len(FIGURES) + others)
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}


@pytest.mark.slow
@needs_slurm
def test_nothing_was_done_outside_slurm_but_what_only_writes_a_description(submitted):
    made, said, _ = submitted
    assert set(re.findall(r"^localrule (\w+):", said, re.MULTILINE)) == {"suite_description"}
    assert len(re.findall(r"has been submitted with SLURM jobid \d+ .*/rule_train/", said)) == SMOKE_JOBS
    assert len(list((made.folder / "results/smoke/runs").rglob("records.parquet"))) == SMOKE_JOBS


@pytest.mark.slow
@needs_slurm
def test_time_memory_processors_gpus_and_partition_arrive_at_slurm(submitted):
    for job in submitted[2]:
        trains = job["Comment"].startswith("rule_train_")
        assert job["TimeLimit"] == "01:00:00"  # runtime: 60, of the profile
        assert job["MinMemoryNode"] == "4000M"  # mem_mb: 4000, of the profile
        assert job["NumCPUs"] == "1"
        assert job["Partition"] == ("other" if trains else "main")
        assert job.get("TresPerJob") == ("gres:gpu:1" if trains else None)


@pytest.mark.slow
@needs_slurm
def test_the_tables_of_a_run_through_slurm_equal_those_of_a_local_run_to_the_byte(submitted, finished):
    through_slurm, local = (made.folder / "results/smoke/tables" for made in (submitted[0], finished))
    names = [f"{name}.csv" for name in menu.names("tables")]
    assert {path.name for path in local.glob("*.csv")} == set(names)
    for name in names:
        assert (through_slurm / name).read_bytes() == (local / name).read_bytes(), name


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "config").glob("*.yaml")))
def test_no_job_s_path_holds_a_comma_for_snakemake_would_end_the_wildcard_there(name):
    paths = [job.path for job in configuration.jobs(configuration.read(ROOT / f"config/{name}.yaml"))]
    assert paths
    assert not [path for path in paths if "," in path]
