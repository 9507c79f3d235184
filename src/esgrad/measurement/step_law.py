"""How many steps the noise of its gradient asks of a training, and what an interval says of that.

A step of backprop's at which a method's relative noise is x (`esgrad.measurement.noise_scale`) and backprop's x₀ makes
(1 + x)/(1 + x₀) steps of the method, as the best step gains ΔL_max/(1 + B_noise/B) (arXiv 1812.06162, section 2), so

    S/S₀  =  mean over backprop's steps to the target of (1 + x)/(1 + x₀)

with log (1 + x)/(1 + x₀) interpolated in log(1 + step) between the checkpoints: each stretch of the way counts by the
steps that backprop spends on it. The law is made for one loss, small steps, the same curvature in all directions, and
SGD at the best rate for each noise; the ladder's runs are Adam's at one rate, and some climb another objective: where
it fails, more than noise has changed.
"""

import numpy as np
import pandas as pd

from esgrad.statistics import Interval

MARGIN, ACCURACY_MARGIN = 1.25, 0.02  # a quarter of the steps, two points: what ten seeds of digits can tell


def predicted_steps(noise: pd.DataFrame, reference: pd.DataFrame, steps: float) -> float:
    """How many times backprop's steps the noise asks for; frames with `step` and `relative_noise`, of a cell and of
    backprop; `steps` are backprop's. NaN where no noise is known at a checkpoint on the way."""
    both = noise.merge(reference, on="step", suffixes=("", "_reference")).sort_values("step")
    if both.empty or not np.isfinite(steps):
        return np.nan
    at = both["step"].to_numpy(dtype=float)
    log_ratio = (np.log1p(both["relative_noise"]) - np.log1p(both["relative_noise_reference"])).to_numpy(dtype=float)
    on_the_way = at <= max(at[0], at[at >= steps].min(initial=np.inf)) if (at >= steps).any() else at >= 0
    if np.isnan(log_ratio[on_the_way]).any():
        return np.nan
    walked = np.arange(max(1, round(steps)))
    return float(np.exp(np.interp(np.log1p(walked), np.log1p(at[on_the_way]), log_ratio[on_the_way])).mean())


def verdict(ratio: Interval, expected: float) -> str:
    """What an interval says of a prediction: `slower`, `faster`, or `not contradicted` where it holds it.

    `cannot decide` where it holds everything, and nothing where one of them is not known.
    """
    if np.isnan([expected, ratio.low]).any():
        return ""
    if ratio.low == 0 and np.isinf(ratio.high):
        return "cannot decide"
    return "slower" if ratio.low > expected else "faster" if ratio.high < expected else "not contradicted"


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
