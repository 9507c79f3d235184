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


class Costs(NamedTuple):
    """Of one step of one run."""

    queries: float
    forwards: float
    backwards: float
    examples: float
