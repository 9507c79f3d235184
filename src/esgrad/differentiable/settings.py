"""What a black box was made with, checked when it is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from numbers import Integral, Real
from typing import Any

from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.gradients.key import too_many
from esgrad.kernels.streams import check_stream


@dataclass(frozen=True)
class Settings:
    """The arguments of `esgrad.blackbox`, but for the function."""

    num_samples: int
    noise_variance: float | Sequence[float]
    seed: int
    noise: str
    credit: str
    shaping: str | None
    batch_dims: int
    inputs: tuple[int, ...] | None
    binary: bool | None
    max_examples: int | None

    def __post_init__(self) -> None:
        _whole("num_samples", self.num_samples, 1)
        _whole("batch_dims", self.batch_dims, 0)
        if self.max_examples is not None:
            _whole("max_examples", self.max_examples, 1)
        for place in self.inputs or ():
            _whole("a place in inputs", place, 0)
        if self.inputs is not None and len(set(self.inputs)) != max(1, len(self.inputs)):
            raise ValueError(f"inputs names different places among the inputs, at least one, not {list(self.inputs)}")
        if self.binary not in (None, True, False):
            raise ValueError(f"binary is True, False or None, not {self.binary!r}")
        for t in self.variances:
            if isinstance(t, bool) or not isinstance(t, Real) or not (isfinite(t) and t > 0):
                raise ValueError(f"noise_variance t is a finite number above 0, not {t!r}")
        check_stream([self.seed], 0)
        for binary in (False, True) if self.binary is None else (self.binary,):
            estimator = self.estimator(binary)
            if reason := too_many(estimator.num_samples) or estimator.refuses(self.facts(binary), 1):
                raise ValueError(reason)

    @cached_property
    def variances(self) -> tuple[float, ...]:
        """t, one for all noisy inputs or one for each."""
        given = self.noise_variance
        return tuple(given) if isinstance(given, Sequence) else (given,)

    @property
    def of_classes(self) -> bool:
        """Whether the function is handed classes."""
        return menu.load("credits", self.credit).OF_CLASSES

    def facts(self, binary: bool) -> Facts:
        """What is known of the function; whether an answer is negative is seen when it comes."""
        return Facts("the black box", binary, True, self.of_classes)

    def estimator(self, binary: bool) -> Estimator:
        """The estimator for answers that are 0 or 1, or any; with the shaping that suits them if none was named."""
        return Estimator.of(self.noise, self.credit, self.shaping or self._suiting(binary), self.num_samples)

    def words(self) -> str:
        """What was chosen, for people."""
        kinds = (False, True) if self.binary is None else (self.binary,)
        shaping = " or, for bool answers, ".join(dict.fromkeys(self.shaping or self._suiting(each) for each in kinds))
        kind = f"noise={self.noise}, credit={self.credit}, shaping={shaping}"
        return f"num_samples={self.num_samples}, noise_variance={self.noise_variance}, seed={self.seed}, {kind}"

    def _suiting(self, binary: bool) -> str:
        if self.of_classes and binary:
            return "success"
        unbiased = menu.load("noises", self.noise).UNCORRELATED
        return "leave_one_out" if self.num_samples >= 2 and unbiased else "raw"


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is a whole number from {least}, not {value!r}")
