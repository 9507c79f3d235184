"""What several test files share: a process as a job has it, one finished run of the smoke suite."""

import fcntl
import os

import pytest

from tests.workflow import SMOKE, Checkout


def pytest_collection_modifyitems(items):
    """Files with slow tests first: two workers that share files out would else wait for the last of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("workflow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def settled():
    """Sums as a job makes them, whatever the machine: `training.settle`."""
    from esgrad.training.loop import settle

    settle()


@pytest.fixture(scope="session")
def digits():
    """The default data set, decoded."""
    from esgrad.tasks import data

    return data.decode("digits", "data")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A checkout in which the smoke suite has run, once for all workers; tests leave it as they found it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder of its own in the session's
        folder = folder.parent
    with (folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Checkout(folder / "finished")
        if not (made.folder / "results/smoke/report.html").exists():
            said = made.snakemake(*SMOKE)
            assert said.returncode == 0, said.stdout[-5000:]
    return made
