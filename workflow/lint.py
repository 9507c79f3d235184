"""`snakemake --lint` with one kind of finding allowed: a rule that names neither a conda environment nor a container.

Every rule of esgrad runs in the environment that Snakemake itself runs in; `make setup` and `environment.yml` make it.
"""

import re
import subprocess
import sys

ALLOWED = "Specify a conda environment or container for each rule."
FINDING = re.compile(r"^    \* (.*)$")


def refused(report: str) -> list[str]:
    """The findings of `snakemake --lint` that are not allowed, each with where it stands and what would do."""
    kept: list[str] = []
    place, keep = "", False
    for line in report.splitlines():
        if line.startswith("Lints for "):
            place, keep = line, False
        elif found := FINDING.match(line):
            keep = not found[1].startswith(ALLOWED)
            if keep:
                kept.append(f"{place}\n{line}")
        elif keep and line.startswith("      "):
            kept[-1] += f"\n{line}"
    return kept


def main() -> int:
    """Exit code 0 when nothing is refused; the findings, or what Snakemake said when it could not lint, are printed."""
    done = subprocess.run([sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    findings = refused(report)
    linted = "Lints for " in report or done.returncode == 0
    if findings or not linted:
        print("\n".join(findings) if linted else report, file=sys.stderr)
        return 1
    print("snakemake --lint: nothing but rules without a conda environment or container, which is meant")
    return 0


if __name__ == "__main__":
    sys.exit(main())
