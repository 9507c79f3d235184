"""Tables: `table(suite)` as a data frame; each file says what a row is, and in words how to read it."""

from typing import Any, Protocol


class Table(Protocol):
    """What a file states of its table; where there is more to say than its cells, also `markdown(frame)`."""

    def table(self, suite: Any) -> Any:
        """The rows, as a pandas data frame, of an `esgrad.suite.gathered.Suite`."""


Contract = Table
"""What mypy holds every file of this menu to."""
