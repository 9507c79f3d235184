"""The pages of the API from its docstrings, by pdoc: `make docs` writes build/docs/."""

import sys
from pathlib import Path

import pdoc

import esgrad


def main(out: Path) -> None:
    """Write the pages; the public names are imported on first use, and pdoc shows what is there."""
    for name in esgrad.__all__:
        setattr(esgrad, name, getattr(esgrad, name))
    pdoc.render.configure(docformat="google", math=False, search=True)
    pdoc.pdoc("esgrad", output_directory=out)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) == 2 else "build/docs"))
