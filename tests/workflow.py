"""A copy of the workflow and its sources, to run and to break without touching the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMOKE = ("--configfile", "config/smoke.yaml")
PARTS = ["Snakefile", "workflow", "config", "profiles", "src"]


class Checkout:
    """A folder with what a run needs; commands run in it, with its own sources first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            if not (folder / part).exists():  # else another worker's, which has run already
                copy(ROOT / part, folder / part)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command here; standard output and error come back together."""
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PATH": programs, "PYTHONPATH": str(self.folder / "src"), **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1800,  # ten times what an idle machine needs; a busy one must not fail a test
        )

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake here on two cores."""
        return self.run("snakemake", "--cores", "2", *arguments, **environment)

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule a dry run would do; none where there is nothing to be done."""
        said = self.snakemake("-n", *arguments)
        assert said.returncode == 0, said.stdout
        lines = iter(said.stdout.splitlines())
        if not any(line.startswith("Job stats") for line in lines):
            assert "Nothing to be done" in said.stdout, said.stdout
            return {}
        next(lines), next(lines)
        counts = {}
        for line in lines:
            if not line.strip():
                return counts
            rule, number = line.split()
            counts[rule] = int(number)
        raise AssertionError(said.stdout)

    def append(self, path: str, text: str) -> None:
        """Edit a file: a line more at its end."""
        with (self.folder / path).open("a", encoding="utf-8") as file:
            file.write(text)
