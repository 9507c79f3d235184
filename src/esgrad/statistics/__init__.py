"""Pure functions on arrays: intervals of censored costs, comparisons, exponents, and a study of how well they cover."""

from esgrad.statistics.intervals import (
    CONFIDENCE,
    NOTHING,
    Interval,
    arrival,
    cost_interval,
    expected_running_time,
    expected_running_time_interval,
    geometric_mean_interval,
    mean_interval,
    median_cost,
    median_interval,
    median_order,
    progress_levels,
    ratio_interval,
    survival,
    wilson_interval,
)

__all__ = [
    "CONFIDENCE",
    "NOTHING",
    "Interval",
    "arrival",
    "cost_interval",
    "expected_running_time",
    "expected_running_time_interval",
    "geometric_mean_interval",
    "mean_interval",
    "median_cost",
    "median_interval",
    "median_order",
    "progress_levels",
    "ratio_interval",
    "survival",
    "wilson_interval",
]
