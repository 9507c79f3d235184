"""Keep finished results as committed reference results: `make reference NAME=default`.

What is kept is what tables and figures are made from, and the tables as CSV; their pages, seconds, logs, pictures and
the report are not: a command makes them again.
"""

import shutil
import sys
from pathlib import Path

from esgrad.measurement.specifications import SECTIONS

RESULTS = Path(__file__).parents[1] / "results"
KEPT = [
    "suite.json",
    *(f"{section}/*.parquet" for section in SECTIONS),
    "noise_scale/**/*.parquet",
    "runs/**/records.parquet",
    "runs/**/tuning.parquet",
    "timings/provenance.csv",
    "tables/*.csv",
]


def main(name: str) -> str | None:
    """Replace results/reference/<name> by what is kept of results/<name>; says what is wrong, if anything is."""
    source, target = RESULTS / name, RESULTS / "reference" / name
    if not (source / "report.html").is_file():
        return f"{source.name}: there is no finished run (no report.html); run it first, or name another: NAME=..."
    for part in ("runs", "tables", "timings", "noise_scale", *SECTIONS):
        shutil.rmtree(target / part, ignore_errors=True)
    for pattern in KEPT:
        for path in source.glob(pattern):
            kept = target / path.relative_to(source)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) == 2 else "default"))
