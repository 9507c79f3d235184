"""Fixed: t is the level, in every step (the lecture's).

Which does not fix σ relative to the logits: they grow as the network learns, and only their ratio matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def variance(level: Tensor, previous: Tensor, hit_rate: Tensor, point: Tensor, progress: float) -> Tensor:
    """t [R] from the level [R] alone."""
    return level


def refuses(space: str, exact: str | None, blackbox: str) -> str | None:
    """Why this rule cannot serve there, or None."""
    return None
