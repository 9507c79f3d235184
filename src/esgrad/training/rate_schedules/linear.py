"""Linear: from the chosen rate to 0 at the end of the run."""


def factor(progress: float) -> float:
    """1 − progress."""
    return 1.0 - progress
