"""`make bench`: speeds beside peers, as a table and a figure in results/benchmarks/.

python benchmarks/bench.py results/benchmarks [BENCH ...] [--rounds 15]
"""

import argparse
import importlib
import platform
import subprocess
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

BENCHES = ["noise", "logits", "growth", "exact", "parameters", "training"]
ON_A_CARD = "gpu"
PACKAGES = ["torch", "numba", "numpy", "jax", "optax", "evosax", "evotorch", "torchopt"]


def machine() -> dict[str, str]:
    """What a ratio holds for: processor, cores, versions, day."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    found = {"processor": names[0] if names else platform.processor(), "cores": str(len(names) or "unknown")}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {"python": platform.python_version(), "day": date.today().isoformat()}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def main() -> None:
    """Run the benches asked for, print each row, and write a file a bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("bench", nargs="*", default=BENCHES)
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    if unknown := sorted(set(given.bench) - {*BENCHES, ON_A_CARD}):
        sys.exit(f"unknown bench '{unknown[0]}'. Known: {', '.join(BENCHES)}.")
    if len(given.bench) > 1:  # each in a process of its own: what one has started must not slow the next
        for bench in given.bench:
            subprocess.run([sys.executable, __file__, given.out, bench, "--rounds", str(given.rounds)], check=True)
        return
    here = "; ".join(f"{key} {value}" for key, value in machine().items())
    given.out.mkdir(parents=True, exist_ok=True)
    (bench,), rows = given.bench, []
    for row in importlib.import_module(bench).rows(given.rounds):
        print(", ".join(f"{key} {_told(value)}" for key, value in row.items()), flush=True)
        rows.append({key: _told(value) for key, value in row.items()} | {"machine": here})
    path = given.out / f"speed_{bench}.csv"
    pd.DataFrame(rows).to_csv(path.with_suffix(".tmp"), index=False, lineterminator="\n")
    path.with_suffix(".tmp").replace(path)


def _told(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
