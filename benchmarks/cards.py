"""The cards of other libraries' estimators, as a table: `make cards`."""

import csv
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

from adapters import ADAPTERS

import esgrad


def main(out: Path) -> None:
    """Make every card, print it, and write a row each: what each law said, and whether it holds."""
    warnings.filterwarnings("ignore")  # the libraries' own
    rows = []
    for name, (gradient, copies) in ADAPTERS.items():
        card = esgrad.check(gradient, name, copies=copies)
        print(*card.lines(), "", sep="\n", flush=True)
        library = name.partition(":")[0]
        laws = {finding.law: finding.said for finding in card.findings}
        failed = ", ".join(finding.law for finding in card.findings if finding.passed is False)
        rows.append({"estimator": name, "version": version(library), "estimates": copies, **laws, "fails": failed})
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
