"""The class that noise leads to: its probabilities, and the mean of the noise's score given it.

π_a  =  P(argmax(l + q) = a)          v_a  =  E[score(q)/σ | a]  =  ∇ log π_a(l)          (Rao–Blackwell)
"""

from typing import Protocol

from esgrad.types import Tensor


class Categorical(Protocol):
    """The classes at some logits [R, Q, K] under noise of standard deviation σ [R, Q]; all float64."""

    @property
    def log_probability(self) -> Tensor:
        """log π_a up to a constant, [R, Q, K]."""

    def total(self, coefficients: Tensor, probability: Tensor) -> Tensor:
        """Σ_a c_a v_a, [R, Q, K], for c [R, Q, K]; `probability` is π as it is drawn from."""

    def norms(self, probability: Tensor) -> Tensor:
        """|v_a|² of every class, [R, Q, K]."""


class Family(Protocol):
    """What a file states: how its noise leads to classes."""

    def of(self, logits: Tensor, sigma: Tensor) -> Categorical:
        """The classes at logits [R, Q, K] for σ [R, Q]."""
