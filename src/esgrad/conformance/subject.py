"""An estimator as the laws call it: it is handed copies, what it raises is told in a line, what it changes is seen."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Gradient = Callable[..., Tensor]
"""fn(logits [B, K], targets [B], *, num_samples, noise_variance, seed) -> [B, K]."""
CALLED = "fn(logits, targets, *, num_samples, noise_variance, seed)"


class Failed(RuntimeError):
    """An estimator raised; what it raised is the cause."""


class Subject:
    """An estimator under test."""

    def __init__(self, gradient: Gradient, name: str) -> None:
        self.gradient, self.name = gradient, name
        self.changes_inputs = False

    def __call__(self, logits: Tensor, targets: Tensor, **asked: Any) -> Tensor:
        """What it answers; Failed if it raises."""
        given = logits.clone(), targets.clone()
        try:
            found = self.gradient(*given, **asked)
        except Exception as error:
            first_line = str(error).strip().partition("\n")[0]
            raise Failed(
                f"{self.name} failed: {type(error).__name__}: {first_line} (it is called as {CALLED})"
            ) from error
        same = torch.equal(given[0].nan_to_num(), logits.nan_to_num()) and torch.equal(given[1], targets)
        self.changes_inputs |= not same
        return found

    def takes(self, word: str) -> bool:
        """Whether it says that it has a parameter of that name."""
        try:
            return word in inspect.signature(self.gradient).parameters
        except (TypeError, ValueError):
            return False
