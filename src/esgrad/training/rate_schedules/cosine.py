"""Cosine: half a wave, from the chosen rate to 0 (Loshchilov & Hutter, arXiv 1608.03983, without restarts)."""

from math import cos, pi


def factor(progress: float) -> float:
    """(1 + cos(π·progress))/2."""
    return (1.0 + cos(pi * progress)) / 2.0
