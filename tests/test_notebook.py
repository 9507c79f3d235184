"""The notebook for students of the lecture runs, and what is kept of its answers is what it says."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "lecture.ipynb"
RUN = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def said(notebook: Any) -> list[str]:
    """What the cells print, a text a cell."""
    cells = (cell for cell in notebook.cells if cell.cell_type == "code")
    return ["".join(each.get("text", "") for each in cell.outputs) for cell in cells]


def pictures(notebook: Any) -> int:
    return sum("image/png" in each.get("data", {}) for cell in notebook.cells for each in cell.get("outputs", []))


@pytest.mark.slow
def test_the_notebook_runs_and_says_what_is_kept_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, NOTEBOOK, tmp_path / "run.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    kept, run = (nbformat.read(path, 4) for path in (NOTEBOOK, tmp_path / "run.ipynb"))
    assert pictures(run) == pictures(kept) == 2
    told, now = said(kept), said(run)
    assert [bool(text) for text in told] == [bool(text) for text in now]
    assert [text for text in now if "credit" in text] == [text for text in told if "credit" in text], "laws do not move"
    lecture, by_class = map(float, re.findall(r"step 300 +accuracy on new pictures (\S+)", now[-1]))
    assert by_class > lecture + 0.05
