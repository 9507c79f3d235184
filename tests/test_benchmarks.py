"""The benches: what `make gpu-check` does on a card, tried without one, and the picture of a table."""

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*command: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""}
    words = [sys.executable, *command]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_bench_for_a_card_runs_without_one_and_is_drawn(tmp_path: Path) -> None:
    said = run("benchmarks/bench.py", str(tmp_path), "gpu", "--rounds", "2")
    with (tmp_path / "speed_gpu.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(said.splitlines())
    assert {row["part"] for row in rows} == {"fill", "logits", "parameters", "training"}
    assert all(row["card"].startswith("no card") for row in rows)
    assert all(float(row["ratio"]) > 0 for row in rows if row["part"] != "training")
    assert {row["contestant"] for row in rows if row["part"] == "training"} == {
        "backprop",
        "maxrl",
        "lecture",
        "openai_es",
    }
    assert all(float(row["steps a second"]) > 0 for row in rows if row["part"] == "training")
    assert run("benchmarks/picture.py", str(tmp_path)).strip() == str(tmp_path / "speed_gpu.png")
    assert (tmp_path / "speed_gpu.png").stat().st_size > 10_000


def test_the_committed_tables_say_what_they_hold_for_and_have_a_picture() -> None:
    tables = sorted((ROOT / "results/benchmarks").glob("speed_*.csv"))
    assert tables
    for path in tables:
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            assert all(word in row["machine"] for word in ("processor", "cores", "torch", "python", "day"))
            assert float(row["low"]) <= float(row["ratio"]) <= float(row["high"])
        assert path.with_suffix(".svg").is_file()
        assert path.with_suffix(".png").is_file()
