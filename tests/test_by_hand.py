"""`esgrad train`: its bar, its checkpoint, and several processes at one run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from esgrad import cli
from esgrad.kernels import processes
from esgrad.suite import by_hand
from esgrad.tasks.data import Data
from esgrad.training import loop as training
from esgrad.training.resume import Resume
from tests.running import KINDS, Rows, job, kind, run, text

ROOT = Path(__file__).parents[1]
ASKED = ("--method", "openai_es", "--num-samples", "40", "--learning-rate", "0.02", "--device", "cpu", "--json")


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def command(processes: int, *options: str) -> list[str]:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    return [*start, "esgrad", "train", *ASKED, *options]


def trained(processes: int, *options: str) -> subprocess.CompletedProcess[str]:
    arguments: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "timeout": 300}
    return subprocess.run(command(processes, *options), cwd=ROOT, env=environment(), **arguments)


@pytest.mark.slow
def test_one_process_and_more_leave_the_same_rows_and_parameters(tmp_path: Path) -> None:
    found = []
    for count in (1, 2, 4):
        kept = tmp_path / f"{count}.pt"
        done = trained(count, "--max-steps", "12", "--checkpoint", str(kept))
        assert done.returncode == 0, done.stderr
        found.append((done.stdout, torch.load(kept)["parameters"]))
    assert found[0][0].count("\n") > 5
    for out, parameters in found[1:]:
        assert out == found[0][0]
        assert all(map(torch.equal, parameters, found[0][1]))


@pytest.mark.slow
def test_a_worker_that_dies_is_reported_and_the_run_goes_on_with_any_number(tmp_path: Path) -> None:
    kept, options = tmp_path / "kept.pt", ("--max-steps", "1500", "--num-samples", "100")
    script = "import sys\nfrom esgrad.training.resume import Resume\nResume.__init__.__defaults__ = (0.2,)\n"
    script += "from esgrad.cli import console\nsys.exit(console())\n"
    often = tmp_path / "often.py"  # saves five times a second
    often.write_text(script)
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(often),
        "train",
    ]
    words = [*start, *ASKED, *options, "--checkpoint", str(kept)]
    going = subprocess.Popen(
        words, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(600):
            if kept.is_file():
                break
            time.sleep(0.1)
        workers = subprocess.run(["pgrep", "-P", str(going.pid)], capture_output=True, text=True, check=True)
        os.kill(int(workers.stdout.split()[-1]), signal.SIGKILL)
        _, said = going.communicate(timeout=120)
    finally:
        going.kill()
    assert going.returncode != 0
    assert "SIGKILL" in said or "-9" in said
    stopped = torch.load(kept)["step"]
    assert 0 < stopped < 1500
    steps = ("--max-steps", "1500", "--num-samples", "100")
    assert torch.load(kept)["parameters"][0].isfinite().all()
    done = trained(1, *steps, "--checkpoint", str(kept))
    assert done.returncode == 0, done.stderr
    whole = trained(1, *steps)
    rows = done.stdout.splitlines()
    assert rows == whole.stdout.splitlines()[-len(rows) :]


@pytest.mark.parametrize(
    "name", [name for name in KINDS if name in ("independent", "maxrl", "snes", "pgpe", "backprop")]
)
def test_a_training_that_stops_goes_on_as_if_it_had_not(name: str, digits: Data, tmp_path: Path) -> None:
    of = kind(name)
    whole = run(of, digits, steps=9)

    def going(steps: int, stop: int | None) -> Rows:
        resume = Resume(tmp_path / "kept.pt", {"name": "me"}, seconds=0)
        rows = []

        def watch(step: int, _: object) -> None:
            if step == stop:
                raise KeyboardInterrupt

        arguments = of, digits, None if of.exact else 8, [(1.0, 0.01), (0.04, 0.03)], (0, 1), steps, "cpu"
        try:
            for row in training.train(*arguments, watch=watch, resume=resume):
                rows.append(row)
        except KeyboardInterrupt:
            pass
        return rows

    before = going(9, 5)
    kept = torch.load(tmp_path / "kept.pt", weights_only=True)
    assert kept["step"] == 4
    after = going(9, None)
    assert before
    assert text(after) == text([row for row in whole if row["step"] > 4])
    assert text(going(9, None)) == text([row for row in whole if row["step"] == 9])  # a finished one says how it ended


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    at = tmp_path / "kept.pt"
    Resume(at, {"name": "one", "seed": 1}).offer(lambda: {"step": 3, "parameters": [torch.ones(2)]}, last=True)
    assert Resume(at, {"name": "one", "seed": 1}).load()["step"] == 3
    with pytest.raises(
        ValueError, match="is the checkpoint of another training, with name = 'one' instead of 'other': name another"
    ):
        Resume(at, {"name": "other", "seed": 1}).load()
    at.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no whole checkpoint of a training"):
        Resume(at, {"name": "one", "seed": 1}).load()
    assert Resume(tmp_path / "none.pt", "one").load() is None


def test_a_row_that_was_not_said_before_the_end_is_said_after_it(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended while a step is evaluated, when its parameters could have been saved."""
    of, arguments = job(), (8, [(1.0, 0.01)], (0,), 9, "cpu")
    evaluate, said = training.evaluate, []

    def ended(*given: Any, **words: Any) -> dict[str, Any]:
        if len(said) == 4:
            raise KeyboardInterrupt
        return evaluate(*given, **words)

    def go_on() -> None:
        for row in training.train(
            of, digits, *arguments, resume=Resume(tmp_path / "kept.pt", {"name": "me"}, seconds=0)
        ):
            said.append(row)

    with monkeypatch.context() as patched:
        patched.setattr(training, "evaluate", ended)
        with pytest.raises(KeyboardInterrupt):
            go_on()
    said.append({})  # which no longer stops it
    go_on()
    said.remove({})
    assert text(said) == text(list(training.train(of, digits, *arguments)))


@pytest.mark.parametrize("at", ["", ".", "folder", "file/kept.pt"])
def test_a_place_for_a_checkpoint_that_is_none_is_refused_before_any_work(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"is a folder, but a file|cannot be written"):
        Resume(at, {"name": "me"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_another_seed_or_rate_is_another_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = str(tmp_path / "kept.pt")
    words = ["train", "--device", "cpu", "--max-steps", "2", "--checkpoint", kept]
    assert cli.main([*words, "--seed", "0"]) == 0
    others = {"seed": "1", "learning-rate": "0.5", "num-samples": "3", "max-steps": "4"}
    for name, value in others.items():
        assert cli.main([*words, "--seed", "0", f"--{name}", value]) == 2
        assert f"another training, with {name.replace('-', '_')} = " in capsys.readouterr().err
    assert cli.main([*words, "--seed", "0"]) == 0


APART = """
import os, sys
from esgrad.cli import console
from esgrad.training import resume
offer = resume.Resume.offer
def until(self, state, last=False):
    offer(self, state, last=True)
    if os.environ.get("STOP") == str(state.args[0]):
        os._exit(3)
resume.Resume.offer = until
sys.argv.append(f"{os.environ['KEPT']}/{os.environ.get('RANK', '0')}/kept.pt")
sys.exit(console())
"""
"""A training whose processes have a disk each, and which ends after a step."""


@pytest.mark.slow
def test_processes_that_do_not_share_a_disk_go_on_together(tmp_path: Path) -> None:
    script = tmp_path / "apart.py"
    script.write_text(APART)
    words = ["--max-steps", "30", "--checkpoint"]

    def go(stop: str | None) -> subprocess.CompletedProcess[str]:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
        here = environment() | {"KEPT": str(tmp_path)} | ({"STOP": stop} if stop else {})
        asked = [*start, "train", *ASKED, *words]
        return subprocess.run(asked, cwd=ROOT, env=here, capture_output=True, text=True, check=False, timeout=300)

    assert go("13").returncode != 0
    assert [path.name for path in tmp_path.glob("*/kept.pt")] == ["kept.pt"]  # the first process's
    done = go(None)
    assert done.returncode == 0, done.stderr
    whole = trained(1, "--max-steps", "30")
    rows = done.stdout.splitlines()
    assert rows == whole.stdout.splitlines()[-len(rows) :]


def test_each_process_has_a_card_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the one that is current Triton launches and NCCL speaks."""
    done: list[Any] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(by_hand.dist, "init_process_group", done.append)
    monkeypatch.setattr(by_hand.dist, "destroy_process_group", lambda: done.append("end"))
    with by_hand._processes("cuda") as device:
        assert device == "cuda:1"
        assert done == ["cuda:1", "nccl"]
    assert done[-1] == "end"


def test_no_thread_is_too_few(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--threads", "0", "--device", "cpu", "--max-steps", "1"]) == 2
    assert "threads is a whole number above 0, not 0" in capsys.readouterr().err


def test_only_one_process_saves_and_no_more_often_than_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def state() -> dict[str, Any]:
        made.append(1)
        return {"step": len(made)}

    with monkeypatch.context() as second:
        second.setattr(processes, "rank", lambda: 1)
        Resume(tmp_path / "a.pt", {"name": "me"}).offer(state, last=True)
    patient = Resume(tmp_path / "b.pt", {"name": "me"}, seconds=1000)
    patient.offer(state)
    assert not made
    assert not list(tmp_path.iterdir())
    patient.offer(state, last=True)
    assert len(made) == 1


def test_what_processes_tell_each_other_is_a_number_a_sample(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def heard(answers: Tensor) -> Tensor:
        told.append(answers.numel() * answers.element_size())
        return answers

    monkeypatch.setattr(processes, "shared", heard)
    run(job(**KINDS["parameters"], model="mlp"), digits, groups=[(0.04, 0.01)], seeds=(0,), steps=3)
    assert told == [8 * 4] * 3
