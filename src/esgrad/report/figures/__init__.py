"""Figures: `draw(suite)` as a picture and a data frame of exactly what is drawn."""

from collections.abc import Callable
from typing import Any, Protocol


class Figure(Protocol):
    """What a file states of its figure; its caption lies in `workflow/report/<name>.rst`."""

    COLUMNS: list[str]
    """Of the data frame."""
    VALUE: str
    """The column that is drawn."""

    draw: Callable[[Any], tuple[Any, Any]]
    """The matplotlib figure and the data frame of an `esgrad.suite.gathered.Suite`."""


Contract = Figure
"""What mypy holds every file of this menu to."""
