"""The estimators: what enters where as noise, what a sample is credited with, how fitness becomes weights."""
