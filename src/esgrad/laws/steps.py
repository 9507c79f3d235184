"""How many steps the noise of its gradient asks of a training, and what an interval says of that.

A step of backprop's at which a method's relative noise is x (`esgrad.measurement.noise_scale`) and backprop's x₀ makes
(1 + x)/(1 + x₀) steps of the method, as the best step gains ΔL_max/(1 + B_noise/B) (arXiv 1812.06162, section 2), so

    S/S₀  =  mean over backprop's steps to the target of (1 + x)/(1 + x₀)

with log (1 + x)/(1 + x₀) interpolated in log(1 + step) between the checkpoints: each stretch of the way counts by the
steps that backprop spends on it. The law is made for one loss, small steps, the same curvature in all directions, and
SGD at the best rate for each noise; the ladder's runs are Adam's, at one rate or the best of a few, and some climb
another objective: where it fails, more than noise has changed, be it that the one rate suits a rung less.

The noise is measured, with standard errors e and e₀. The interval moves every checkpoint to the same side by 1.96
standard errors of its log ratio, the root of (e/(1 + x))² + (e₀/(1 + x₀))²: at least 95 % however the errors of one
network go with those of the next (all are measured on the same mini-batches).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from esgrad.statistics import CONFIDENCE, NOTHING, Interval

MARGIN, ACCURACY_MARGIN = 1.25, 0.02
"""How much steps and final accuracy of a control may differ from its twin's and be `alike`: a quarter of the steps, two
points. They were not derived from a use: they are what ten seeds of digits can tell. Fewer seeds, or runs that scatter
more, leave `cannot decide` where more would say `alike`."""


def predicted_steps(noise: pd.DataFrame, reference: pd.DataFrame, steps: float) -> Interval:
    """How many times backprop's steps the noise asks for, with its 95 % interval (see the module).

    Frames with `step`, `relative_noise` and `error`, of a cell and of backprop; `steps` are backprop's. NaN where no
    noise is known at a checkpoint on the way.
    """
    both = noise.merge(reference, on="step", suffixes=("", "_reference")).sort_values("step")
    if both.empty or not np.isfinite(steps):
        return NOTHING
    at = both["step"].to_numpy(dtype=float)
    on_the_way = at <= max(at[0], at[at >= steps].min(initial=np.inf)) if (at >= steps).any() else at >= 0
    own, error = _log_noise(both[on_the_way], "")
    other, other_error = _log_noise(both[on_the_way], "_reference")
    half = stats.norm.isf((1 - CONFIDENCE) / 2) * np.hypot(error, other_error)
    walked, at = np.log1p(np.arange(max(1, round(steps)))), np.log1p(at[on_the_way])
    if np.isnan(own - other).any():
        return NOTHING
    ends = (own - other + side * half for side in (0, -1, 1))
    return Interval(*(float(np.exp(np.interp(walked, at, log_ratio)).mean()) for log_ratio in ends))


def quotient(above: Interval, below: Interval) -> Interval:
    """One prediction over another, their errors on the log scale added as squares.

    Backprop's own error, which both have and which falls out of the quotient, is counted in both: the interval is
    rather too wide.
    """
    ratio, (up, down) = above.estimate / below.estimate, np.log([above, below])
    low = np.hypot(up[0] - up[1], down[2] - down[0])
    high = np.hypot(up[2] - up[0], down[0] - down[1])
    return Interval(float(ratio), float(ratio * np.exp(-low)), float(ratio * np.exp(high)))


def verdict(ratio: Interval, expected: Interval) -> str:
    """What an interval says of a prediction: `slower` or `faster` where the two have nothing in common.

    Else `not contradicted`, which says as much as the intervals are narrow; `cannot decide` where the measured one
    holds everything, and nothing where one of them is not known.
    """
    if np.isnan([*expected, ratio.low]).any():
        return ""
    if ratio.low == 0 and np.isinf(ratio.high):
        return "cannot decide"
    return "slower" if ratio.low > expected.high else "faster" if ratio.high < expected.low else "not contradicted"


def verdict_on_control(ratio: Interval, difference: Interval) -> str:
    """What the intervals of a ratio of steps and of a difference of accuracies say of a control and its twin.

    `alike` if both lie within their margins; `otherwise` if one reaches beyond its own and excludes that there is no
    difference; else `cannot decide`.
    """
    with np.errstate(divide="ignore"):
        logs = Interval(*np.log(ratio))
    judged = [_alike(logs, np.log(MARGIN)), _alike(difference, ACCURACY_MARGIN)]
    if False in judged:
        return "otherwise"
    return "alike" if all(judged) else "cannot decide"


def _alike(interval: Interval, margin: float) -> bool | None:
    """Whether an interval lies within ±margin; None where it does not but may hold 0, or is not known."""
    if np.isnan([interval.low, interval.high]).any():
        return None
    if -margin <= interval.low and interval.high <= margin:
        return True
    return None if interval.low <= 0 <= interval.high else False


def _log_noise(frame: pd.DataFrame, of: str) -> tuple[NDArray, NDArray]:
    """log(1 + x) and its standard error at each checkpoint."""
    factor = 1 + frame[f"relative_noise{of}"].to_numpy(dtype=float)
    return np.log(factor), frame[f"error{of}"].to_numpy(dtype=float) / factor
