"""config/README.md, made from the schema's own descriptions: `make config-docs`."""

from collections.abc import Iterator
from typing import Any

from esgrad.suite.config import schema

HEAD = """# Configurations

<!-- Made by `make config-docs` from src/esgrad/suite/config.schema.yaml; edit that file. -->

`snakemake --cores all` runs `config.yaml`; `--configfile config/NAME.yaml` another one, which replaces it whole.

| file | what it runs |
|---|---|
| `config.yaml` | the default: real digits, methods at the logits and OpenAI's ES, a quarter of an hour on two cores |
| `smoke.yaml` | every part of the chain in under a minute; its numbers mean nothing |
| `mnist.yaml` | MNIST, 784-128-10, every method at N = 1, 10 and 100; wants `--config data_root=...` or a network |
| `full_es.yaml` | noise at all parameters on MNIST, N = 10, 100 and 1,000; hours on two cores |
| `es_arms.yaml` | noise at all parameters on digits, five arms side by side; five minutes on two cores |
| `paper.yaml` | the full grid on MNIST, Fashion-MNIST and CIFAR-10, for a GPU |

A cell is a method on a task at one N and one t; a run is a cell at one learning rate and one seed. Cells that cannot
run (or not within `draws_per_cell`) are skipped and listed with the reason in `tables/skipped.md`.

## Keys

| key | what it is | default |
|---|---|---|
"""


def markdown() -> str:
    """The whole page."""
    return HEAD + "\n".join(_rows(schema(), "")) + "\n"


def _rows(section: dict[str, Any], prefix: str) -> Iterator[str]:
    """A line for each key of a section, then those of the sections below it."""
    for key, below in section.get("properties", {}).items():
        default = below.get("default")
        shown = "" if default in (None, {}) else f"`{default}`"
        if key in section.get("required", []):
            shown = "required"
        yield f"| `{prefix}{key}` | {below.get('description', '')} | {shown} |"
        yield from _rows(below, f"{prefix}{key}.")
    if isinstance(named := section.get("additionalProperties"), dict):
        yield from _rows(named, f"{prefix}NAME.")


if __name__ == "__main__":
    print(markdown(), end="")
