"""The planner: how many samples an example needs, what they buy, and what a training with them costs.

Three problems: equal logits (a network's start), real logits, noise at the parameters; three questions: N for a
cosine, the cosine of an N, and the cheapest training. Nothing is sampled and nothing fitted.
"""

from math import exp, isfinite, lgamma, sqrt
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients import at_logits as gradients
from esgrad.planning.box import BLACKBOX, Box
from esgrad.planning.logits import COSINE, VARIANCE, Asked, LogitsPlan
from esgrad.planning.price import DATA_NOISE_SCALE, MIN_STEPS, Terms
from esgrad.planning.prospect import MOST, first

PARAMETER_NOISE, PARAMETER_SHAPING, PARAMETER_VARIANCE = "mirrored", "raw", 0.001
"""Defaults; t enters no law at the parameters, and is small, as the fitness is taken as linear."""
RANKS = {"raw": 1.0, "centered_ranks": theory.RANK_FACTOR}
"""Shapings with a law at the parameters, and what they leave of the directions n."""
EXAMPLE = "`esgrad plan --logit-dim 10 --query-cost 1 --forward-cost 50`"
MOST_LOGITS, MOST_READINGS, MOST_PARAMETERS, MOST_EXAMPLES = 10**9, 5, 10**15, 10**12


def plan(
    *,
    logit_dim: int | None = None,
    logits: Tensor | np.ndarray | None = None,
    targets: Tensor | np.ndarray | None = None,
    blackbox: str | None = None,
    readings: int | None = None,
    parameters: int | None = None,
    cosine: float | None = None,
    num_samples: int | None = None,
    noise: str | None = None,
    credit: str | None = None,
    shaping: str | None = None,
    noise_variance: float | None = None,
    batch_size: int | None = None,
    query_cost: float | None = None,
    forward_cost: float | None = None,
    min_steps: float | None = None,
    data_noise_scale: float | None = None,
) -> dict[str, Any]:
    """Answer how large N must be, from the laws alone (`esgrad.laws`, `esgrad.planning.price`).

    Args:
        logit_dim: K ≥ 2 equal logits, as at a network's start; or
        logits, targets: [B, K] floats and [B] integers from 0 to K − 1, of a network at hand; or
        blackbox, readings: what judges the logits, zero_one unless said otherwise. One that judges several readings of
            an example together, such as digit_sum, takes k readings of K = logit_dim equal logits, where all strings of
            classes are alike, or logits [B, k·K] and targets [B] that are its own labels (the sums).
        parameters: d ≥ 2, for noise at the parameters of a network (arXiv 1703.03864).
        cosine: of an estimate to the exact gradient, its expectation, at the logits the mean over the examples;
            0.5 unless said otherwise. Or
        num_samples: N; the answer is the cosine. At the parameters both signs of a mirrored pair count: n = N/2.
        noise, credit, shaping: independent × noise × raw (the lecture's) unless said otherwise, at the parameters
            mirrored × noise × raw.
        noise_variance: t in units of the logits squared, 1 unless said otherwise. At equal logits no cosine depends on
            t, nor at the parameters, where the fitness is taken as linear: 0.001.
        batch_size: B; only a price depends on it.
        query_cost, forward_cost: prices of one query and of one example's forward and backward pass, in any unit:
            what is not given of N, B, shaping and noise is then chosen: N, shaping and noise of least price to a
            target, B where steps and price are twice the least there are. Only shapings of one objective are
            compared, as S_min is the objective's own: log p (maxrl, success) unless shaping or noise says otherwise,
            since ∇p vanishes on confidently wrong examples.
        min_steps, data_noise_scale: S_min and B_data of arXiv 1812.06162, the steps that the exact gradient of all the
            data takes to the target, and the batch at which the data's noise is as large as the gradient. 1,000 and
            100 unless said otherwise: assumptions, printed with the price, never hidden.

    Returns:
        Plain numbers, words and lists, as `esgrad plan --json` prints them: num_samples, cosine, rms_cosine (√E cos²),
        gradient_variance (tr Var g, the mean over the examples, in `gradient_variance_unit`), relative_variance
        (in units of the squared mean estimate), noise, shaping, noise_variance, space and what else is known. Of more
        than 1,000 examples or 10⁶ logits some, always the same, stand for all: num_examples_used.

    Raises:
        ValueError: for none or several of the three problems or of the first two questions, a number out of range,
            logits or targets as in `esgrad.es_gradient`, a noise × shaping without a law (those with one are named).

    Example:
        >>> import esgrad
        >>> esgrad.plan(logit_dim=1000, cosine=0.5)["num_samples"]
        31773
        >>> esgrad.plan(logit_dim=1000, cosine=0.5, credit="class")["num_samples"]
        693
    """
    problem = _problem(logit_dim, logits, targets, parameters)
    if (blackbox is not None or readings is not None) and problem == "parameters":
        raise ValueError("at the parameters the fitness is taken as linear: blackbox and readings go with logits alone")
    if cosine is not None and num_samples is not None:
        raise ValueError(f"cosine {cosine} and num_samples {num_samples} are two questions: ask one of them")
    if cosine is not None and not (_real(cosine) and 0 < cosine < 1):
        raise ValueError(f"cosine is a number between 0 and 1, such as 0.5, not {cosine!r}")
    num_samples = _whole("num_samples", num_samples, 1, MOST)
    batch_size = _whole("batch_size", batch_size, 1, MOST_EXAMPLES)
    noise_variance = _positive("noise_variance", noise_variance)
    asked = Asked(noise, credit, shaping, noise_variance, cosine, num_samples)
    if problem == "parameters":
        if any(value is not None for value in (query_cost, forward_cost, min_steps, data_noise_scale)):
            raise ValueError(f"no law of a price is known for noise at the parameters: {EXAMPLE} would do")
        answer = _at_parameters(int(parameters or 0), asked)
        variance = PARAMETER_VARIANCE if noise_variance is None else noise_variance
        return answer | {"noise_variance": variance, "batch_size": batch_size}
    terms = _terms(query_cost, forward_cost, min_steps, data_noise_scale, batch_size)
    blackbox = BLACKBOX if blackbox is None else blackbox
    if problem == "logit_dim":
        k = _whole("readings", readings, 1, MOST_READINGS) or 1
        at = LogitsPlan(Box.of(blackbox, k, int(logit_dim or 0)))
    else:
        if readings is not None:
            raise ValueError(
                f"readings {readings} came with logits, whose shape tells how many there are: leave it out"
            )
        variance = VARIANCE if noise_variance is None else noise_variance
        at = LogitsPlan.of(*_checked(logits, targets, variance, blackbox))
    if terms is not None:
        return at.priced(terms, asked)
    return at.answer(asked) | {"batch_size": batch_size}


def array(path: Path) -> np.ndarray:
    """The array of a .npy file, never unpickled; ValueError where it is none or not of numbers, OSError if missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: expected a .npy file of numbers, as numpy.save makes it")
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is no .npy file of numbers, and objects are never unpickled: numpy.save would make one"
        ) from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        kind = found.dtype if isinstance(found, np.ndarray) else "several arrays"
        raise ValueError(f"{path} holds {kind}: expected one array of numbers, as numpy.save makes it")
    return found


def _problem(logit_dim: Any, logits: Any, targets: Any, parameters: Any) -> str:
    """Which of the three problems is given; ValueError unless it is one and whole."""
    words = {"logit_dim": logit_dim, "logits": logits, "targets": targets, "parameters": parameters}
    given = [word for word, value in words.items() if value is not None]
    if given in (["logits"], ["targets"]):
        raise ValueError(f"{given[0]} came alone: logits [B, K] and targets [B] are needed together")
    if given not in (["logit_dim"], ["logits", "targets"], ["parameters"]):
        found = " and ".join(given) if given else "none of them"
        raise ValueError(
            f"one problem is needed, logit_dim, logits with targets, or parameters: got {found}; {EXAMPLE} would do"
        )
    _whole("logit_dim", logit_dim, 2, MOST_LOGITS)
    _whole("parameters", parameters, 2, MOST_PARAMETERS)
    return given[0]


def _terms(query: Any, forward: Any, steps: Any, scale: Any, batch_size: int | None) -> Terms | None:
    """The prices asked about, with the assumptions where nothing is said; None where no price is asked."""
    if query is None and forward is None:
        if steps is not None or scale is not None:
            raise ValueError("min_steps and data_noise_scale matter to a price: query_cost and forward_cost are needed")
        return None
    if query is None or forward is None:
        raise ValueError(f"query_cost is {query} and forward_cost {forward}: a price needs both, in the same unit")
    costs = {"query_cost": query, "forward_cost": forward}
    assumed = {
        "min_steps": MIN_STEPS if steps is None else steps,
        "data_noise_scale": DATA_NOISE_SCALE if scale is None else scale,
    }
    checked = {name: float(_positive(name, value) or 0) for name, value in (costs | assumed).items()}
    return Terms(**checked, batch_size=batch_size)


def _checked(logits: Any, targets: Any, variance: float, blackbox: str) -> tuple[Box, Tensor, Tensor]:
    """The box of logits [B, D] and targets [B], and both as tensors, with the errors of `esgrad.exact_gradient`."""
    logits, targets = (
        _tensor(name, each) if isinstance(each, np.ndarray) else each
        for name, each in (("logits", logits), ("targets", targets))
    )
    some_class = torch.zeros_like(targets) if isinstance(targets, Tensor) else targets
    gradients.exact_gradient(logits, some_class, variance)  # which targets there are is the box's to say
    box, targets = Box.of_logits(blackbox, logits.shape[1]), targets.cpu().long()
    box.check(targets)
    return box, logits.detach().cpu(), targets


def _tensor(name: str, values: np.ndarray) -> Tensor:
    """A tensor whatever the width and byte order of the numbers; only whole numbers stay whole."""
    if values.dtype.kind == "u" and values.size and (largest := int(values.max())) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} lie far below 2⁶³, but one is {largest}: a class is a whole number from 0 to K − 1")
    wide = {"f": np.float64, "i": np.int64, "u": np.int64}.get(values.dtype.kind, values.dtype)
    return torch.from_numpy(np.array(values, dtype=wide))


def _at_parameters(count: int, asked: Asked) -> dict[str, Any]:
    """N or the cosine for mirrored noise at d parameters: cos² ~ Beta(n/2, (d−1)/2), n = N/2 pairs.

    g = (1/n) Σ ε(ε·∇) has the mean ∇ and tr Var g = |∇|² (d + 1)/n. Ranks take the fitness's place up to a factor, at
    the price of 1 − 3/π of the pairs.
    """
    noise, shaping, credit = asked.noise or PARAMETER_NOISE, asked.shaping or PARAMETER_SHAPING, asked.credit or "noise"
    num_samples = asked.num_samples
    for folder, word in (("noises", noise), ("credits", credit), ("shapings", shaping)):
        menu.path(folder, word)
    if credit != "noise":
        raise ValueError(
            f"noise at the parameters cannot be credited with the {credit}: no class is seen there; noise can"
        )
    if noise != "mirrored" or shaping not in RANKS:
        known = ", ".join(f"mirrored × {each}" for each in RANKS)
        raise ValueError(f"no law is known for {noise} × {shaping} at the parameters; known: {known}")
    share = RANKS[shaping]
    if num_samples is None:
        goal = COSINE if asked.cosine is None else asked.cosine
        guess = float(theory.parameter_directions_needed(goal, count)) / share
        pairs = first(lambda index: _beta_cosine((index + 1) * share, count) >= goal, int(guess), MOST)
        if pairs is None:
            raise ValueError(
                f"no N up to {2 * MOST:.0e} gives a cosine of {goal} at {count} parameters: a smaller one would do"
            )
        num_samples = 2 * (pairs + 1)
    elif reason := menu.load("noises", noise).refuses(num_samples, count):
        raise ValueError(reason)
    directions = share * num_samples / 2
    relative = (count + 1) / directions
    return {
        "num_samples": num_samples,
        "cosine": _beta_cosine(directions, count),
        "rms_cosine": sqrt(theory.parameter_squared_cosine(directions, count)),
        "gradient_variance": relative,
        "gradient_variance_unit": "squared gradient",
        "relative_variance": relative,
        "space": "parameters",
        "noise": noise,
        "credit": "noise",
        "shaping": shaping,
        "parameters": count,
        "pairs": num_samples // 2,
    }


def _beta_cosine(directions: float, count: int) -> float:
    """E cos where cos² ~ Beta(n/2, (d−1)/2): Γ((n+1)/2) Γ((n+d−1)/2) / (Γ(n/2) Γ((n+d)/2))."""
    return _half_step(directions / 2) / _half_step((directions + count - 1) / 2)


def _half_step(x: float) -> float:
    """Γ(x + ½)/Γ(x); for large x its asymptotic series, where the logarithms of Γ would cancel (error below 1e-12)."""
    if x < 200:
        return exp(lgamma(x + 0.5) - lgamma(x))
    return sqrt(x) * (1 - 1 / (8 * x) + 1 / (128 * x**2) + 5 / (1024 * x**3) - 21 / (32768 * x**4))


def _whole(name: str, value: Any, least: int, most: int) -> int | None:
    """The value, if there is one; ValueError unless it is a whole number in range."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most:,}, not {value!r}")
    return int(value)


def _positive(name: str, value: Any) -> float | None:
    """The value, if there is one; ValueError unless it is a number above 0 that can be squared."""
    if value is not None and not (_real(value) and 1e-100 < value < 1e100):
        raise ValueError(f"{name} is a number above 0, from 1e-100 to 1e100, not {value!r}")
    return None if value is None else float(value)


def _real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
