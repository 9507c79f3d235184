"""What a step costs, in units that no machine changes; each space and exact arm says its own, and a test counts.

| method                   | queries a step | forwards | backwards |
|--------------------------|----------------|----------|-----------|
| backprop                 | B              | B        | B         |
| noise at the logits      | N·B            | B        | B         |
| one fitness per batch    | N·B            | B        | B         |
| noise at the parameters  | N·B            | N·B      | 0         |
| exact smoothing          | none (NaN)     | B        | B         |

A forward is an example through the network, with all the images it may consist of.
"""

from typing import NamedTuple

from esgrad import menu


class Costs(NamedTuple):
    """Of one step of one run."""

    queries: float
    forwards: float
    backwards: float
    examples: float


def per_step(space: str, exact: str | None, batch_size: int, num_samples: int | None) -> Costs:
    """The costs of a step, as the space (or the exact arm that replaces it) names them."""
    if exact is not None:
        return menu.load("exact", exact).costs(batch_size)
    assert num_samples is not None
    return menu.load("spaces", space).costs(batch_size, num_samples)
