"""A stage that cannot be differentiated: error of the sum of the digits one network reads, against what it cost.

A line is the mean over seeds of one method at one N, the band Student's t interval. Only "sum right or wrong" came
back, so nothing ever told the network which digit it misread. Label search asks about sums until it knows each, and
then trains by the exact gradient of the sum's likelihood, which alone, without queries, is a level line.
"""

from esgrad.report import style
from esgrad.report.figures import _curves, _select
from esgrad.suite.gathered import Suite

TITLE = "Learning to read from sums alone: what does an error cost?"
COLUMNS = _curves.COLUMNS
VALUE = "validation_error"


@style.styled
def draw(suite: Suite) -> style.Drawing:
    """The figure, and a row per point drawn: `amount` in `unit`, `cut`: a seed diverged."""
    records = suite.reported[suite.reported["blackbox"] == "digit_sum"]
    if records.empty:
        return style.words(TITLE, "No experiment of this configuration adds digits.", COLUMNS)
    first = records[records["experiment"] == records["experiment"].iloc[0]]
    return _curves.draw(_select.labelled(first), TITLE)
