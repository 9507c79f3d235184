"""The cells the configuration asks for that cannot be trained, and why."""

import pandas as pd

from esgrad.report.runs import COLUMNS, ordered
from esgrad.suite.gathered import Suite


def table(suite: Suite) -> pd.DataFrame:
    """One row for each skipped cell."""
    return ordered(suite, suite.skipped)[[*COLUMNS, "reason"]]
