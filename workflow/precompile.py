"""Compile to bytecode, once, what every process of the suite imports; run by `setup.sh`.

pip leaves its files uncompiled, as most are never imported. Python compiles those that are at their first import, and
keeps the result; but not where PYTHONDONTWRITEBYTECODE is set, as in many containers. There each of a run's hundred
processes would compile three thousand files again, for 5 s.
"""

import compileall
import importlib
import pkgutil

import esgrad


def main() -> None:
    """Import all of esgrad, which imports nearly all else. Snakemake imports its parts as it goes: compile them all."""
    for module in pkgutil.walk_packages(esgrad.__path__, "esgrad."):
        importlib.import_module(module.name)
    snakemake = importlib.import_module("snakemake.cli")
    importlib.import_module("jinja2")
    compileall.compile_dir(snakemake.__file__.rpartition("/")[0], quiet=2)


if __name__ == "__main__":
    main()
