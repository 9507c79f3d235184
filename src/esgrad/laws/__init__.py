"""The laws of the estimators: what an example is to them, variance, expected cosine, closed forms of special logits."""

from esgrad.laws.closed_forms import expected_maximum, level_ratio, tied_ratio, two_class_ratio
from esgrad.laws.cosine import has_direction, heard, mean_cosine, samples_needed, squared_cosine
from esgrad.laws.example import Moments, Place
from esgrad.laws.places import has_place, level_place, moments, place
from esgrad.laws.variance import (
    RANK_FACTOR,
    baseline_variance,
    batch_variance,
    best_baseline,
    best_num_samples,
    covariance,
    gradient_variance,
    has_law,
    mean_and_covariance,
    mean_share,
    parameter_directions_needed,
    parameter_squared_cosine,
    pushed_variance,
)

__all__ = [
    "RANK_FACTOR",
    "Moments",
    "Place",
    "baseline_variance",
    "batch_variance",
    "best_baseline",
    "best_num_samples",
    "covariance",
    "expected_maximum",
    "gradient_variance",
    "has_direction",
    "has_law",
    "has_place",
    "heard",
    "level_place",
    "level_ratio",
    "mean_and_covariance",
    "mean_cosine",
    "mean_share",
    "moments",
    "parameter_directions_needed",
    "parameter_squared_cosine",
    "place",
    "pushed_variance",
    "samples_needed",
    "squared_cosine",
    "tied_ratio",
    "two_class_ratio",
]
