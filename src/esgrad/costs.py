"""What a step costs, in units that no machine changes: the harness counts them, no method declares its own.

| method                   | queries a step | forwards | backwards |
|--------------------------|----------------|----------|-----------|
| backprop                 | B              | B        | B         |
| noise at the logits      | N·B            | B        | B         |
| noise at the parameters  | N·B            | N·B      | 0         |
| exact smoothing          | none (NaN)     | B        | B         |

A forward is an example through the network, with all the images it may consist of.
"""

from math import nan
from typing import NamedTuple


class Costs(NamedTuple):
    """Of one step of one run."""

    queries: float
    forwards: float
    backwards: float
    examples: float


def per_step(space: str, exact: str | None, batch_size: int, num_samples: int | None) -> Costs:
    """The costs of a step, from where the noise enters (or which exact arm replaces it)."""
    if exact is not None:
        queries = float(batch_size) if exact == "backprop" else nan
        return Costs(queries, batch_size, batch_size, batch_size)
    assert num_samples is not None
    queries = float(num_samples * batch_size)
    if space == "parameters":
        return Costs(queries, queries, 0, batch_size)
    return Costs(queries, batch_size, batch_size, batch_size)
