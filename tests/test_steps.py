"""The law of steps: a prediction is its formula's, its interval that of the noise, a verdict that of two intervals."""

from math import inf, nan, sqrt

import numpy as np
import pandas as pd
import pytest

from esgrad.laws.steps import predicted_steps, quotient, verdict, verdict_on_control
from esgrad.statistics import Interval


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Interval(3, 2.5, 3.5), "slower"),
        (Interval(3, 2.1, 3.5), "not contradicted"),
        (Interval(1.2, 1.1, 1.5), "not contradicted"),
        (Interval(1.2, 1.1, 1.3), "faster"),
        (Interval(0, 0, 1.3), "faster"),
        (Interval(inf, 2.5, inf), "slower"),
        (Interval(nan, 0, inf), "cannot decide"),
        (Interval(2, nan, nan), ""),
    ],
)
def test_only_intervals_apart_contradict(ratio: Interval, said: str) -> None:
    """The prediction, 1.8, may be 1.4 to 2.2: a ratio of 2.1 to 3.5 excludes its estimate alone."""
    assert verdict(ratio, Interval(1.8, 1.4, 2.2)) == said
    assert verdict(ratio, Interval(nan, nan, nan)) == ""


def scales(*noise: float, error: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"step": [0, 10, 100], "relative_noise": noise, "error": error})


def test_the_interval_of_a_prediction_is_that_of_the_errors_of_the_noise() -> None:
    """1 + x = 4 ± .2 and 2 ± .1, at every network: log ratio ± 1.96·√(.05² + .05²)."""
    found = predicted_steps(scales(3, 3, 3, error=0.2), scales(1, 1, 1, error=0.1), 50)
    half = np.exp(1.959964 * 0.05 * sqrt(2))
    assert found == pytest.approx((2, 2 / half, 2 * half))
    assert predicted_steps(scales(3, 3, 3), scales(1, 1, 1), 50) == pytest.approx((2, 2, 2))


def test_the_interval_of_a_prediction_covers_what_is_planted() -> None:
    """Noise measured with an error, alike or not from one network to the next: 95 % or more."""
    rng, runs = np.random.default_rng(0), 400
    for shared in (True, False):
        held = 0
        for _ in range(runs):
            luck = np.repeat(rng.normal(size=2), 3) if shared else rng.normal(size=6)
            own = scales(*(np.array([3, 5, 9]) + 0.2 * luck[:3]), error=0.2)
            reference = scales(*(1 + 0.1 * luck[3:]), error=0.1)
            found = predicted_steps(own, reference, 60)
            held += found.low <= predicted_steps(scales(3, 5, 9), scales(1, 1, 1), 60).estimate <= found.high
        assert held >= 0.95 * runs - 5 * sqrt(0.95 * 0.05 * runs)
        assert not shared or held < runs, "as wide as it need be"


def test_the_quotient_of_two_predictions_adds_their_errors_as_squares() -> None:
    assert quotient(Interval(6, 3, 12), Interval(2, 2, 2)) == pytest.approx((3, 1.5, 6))
    assert quotient(Interval(6, 6, 6), Interval(2, 1, 6)) == pytest.approx((3, 1, 6))
    both = 2 ** sqrt(2)
    assert quotient(Interval(6, 3, 12), Interval(2, 1, 4)) == pytest.approx((3, 3 / both, 3 * both))


def test_the_prediction_is_the_mean_over_backprops_steps_of_the_interpolated_ratio() -> None:
    own, reference = scales(1, 3, 7), scales(1, 1, 1)  # (1 + x)/(1 + x₀): 1, 2, 4

    def predicted(noise: pd.DataFrame, reference: pd.DataFrame, steps: float) -> float:
        return predicted_steps(noise, reference, steps).estimate

    assert predicted(own, own, 50) == pytest.approx(1)
    assert predicted(own, reference, 1) == pytest.approx(1), "the first step alone"
    assert predicted(scales(3, 3, 3), reference, 70) == pytest.approx(2)
    first = [2 ** (np.log1p(s) / np.log1p(10)) for s in range(11)]
    then = [2 ** (1 + (np.log1p(s) - np.log1p(10)) / (np.log1p(100) - np.log1p(10))) for s in range(11, 60)]
    assert predicted(own, reference, 60) == pytest.approx(np.mean([*first, *then]))
    assert predicted(own, reference, 10**6) == pytest.approx(4, rel=1e-3), "held beyond the last"


def test_there_is_no_prediction_where_no_noise_is_known_on_the_way() -> None:
    own, reference = scales(1, 3, nan), scales(1, 1, 1)
    assert np.isfinite(predicted_steps(own, reference, 10)).all()
    assert np.isnan(predicted_steps(own, reference, 11)).all()
    assert np.isnan(predicted_steps(own.iloc[:0], reference, 10)).all()
    assert np.isnan(predicted_steps(own, reference, inf)).all()


SAME = Interval(0.0, -0.002, 0.002)
CONTROLS = {
    "both within": (Interval(1.02, 0.95, 1.1), SAME, "alike"),
    "a difference within the margin": (Interval(1.1, 1.05, 1.2), SAME, "alike"),
    "slower": (Interval(1.4, 1.1, 1.7), SAME, "otherwise"),
    "faster": (Interval(0.6, 0.5, 0.7), SAME, "otherwise"),
    "less accurate": (Interval(1.02, 0.95, 1.1), Interval(-0.03, -0.05, -0.01), "otherwise"),
    "wide": (Interval(1.1, 0.7, 1.7), SAME, "cannot decide"),
    "open": (Interval(inf, 0.9, inf), SAME, "cannot decide"),
    "one seed": (Interval(1.0, nan, nan), Interval(0.0, nan, nan), "cannot decide"),
}


@pytest.mark.parametrize(("ratio", "difference", "verdict"), CONTROLS.values(), ids=CONTROLS)
def test_a_verdict_on_a_control_is_what_its_two_intervals_say(ratio, difference, verdict) -> None:
    assert verdict_on_control(ratio, difference) == verdict
