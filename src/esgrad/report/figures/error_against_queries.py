"""Validation error against what it cost, in queries and in forward passes: the learning curves of the headline.

A line is the mean over seeds of one method at its N nearest 10, the band Student's t interval. A line ends, with a
cross, before the first step at which one of its seeds diverged. Exact smoothing asks nothing, so in queries it is
a level line at its last error. The start (no query yet) has no place on a log axis.
"""

from esgrad.report import style
from esgrad.report.figures import _curves, _select
from esgrad.suite.gathered import Suite

TITLE = "What does an error cost?"
COLUMNS = _curves.COLUMNS
VALUE = "validation_error"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn: `amount` in `unit` (NaN: a level line), `cut`: a seed diverged."""
    records = _select.reported(suite, _select.experiment(suite, "headline", "method"))
    if records.empty:
        return style.words(TITLE, "No experiment of this configuration compares methods.", COLUMNS)
    return _curves.draw(_select.labelled(_select.at_one_n(records)), TITLE)
