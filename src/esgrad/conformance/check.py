"""The conformance card of anybody's gradient estimator: `esgrad check my_module:my_gradient`."""

import importlib
import sys
from pathlib import Path
from typing import Any

from esgrad import menu
from esgrad.conformance import laws
from esgrad.conformance.card import Card
from esgrad.conformance.draws import CASES, Gradient, ask


def check(gradient: Gradient, name: str = "", copies: int = 20_000) -> Card:
    """Find out what an estimator of the gradient at a classifier's logits estimates, and whether it keeps the laws.

    The fitness is isequal(argmax(logits + q), target) under Gaussian noise q of variance t, as in the lecture (CMPUT
    328, "Evolution Strategies for Approximating Gradients"). Judged are sign, scale at two σ, what the estimate is
    unbiased for, its variance beside the laws, the seed and the global random state; told are queries, NaN, whether the
    examples of a batch share their noise, and micro-batches.
    Asks for estimates at three places, with two t and two N, and takes 5 standard errors for a difference: the card
    says how small a fault of scale it could see.

    Args:
        gradient: `fn(logits [B, K], targets [B], *, num_samples, noise_variance, seed) -> [B, K]`, to be ascended, per
            example. It may take `blackbox=`, a function of (logits, targets) that it asks, and `offset=`.
        name: what to call it on the card.
        copies: estimates at each place, t and N; fewer find less. Where the examples of a batch share their noise, so
            many calls are made for a tenth of them.

    Returns:
        The card: `card.passed`, `card.lines()`, `card.as_dict()`.

    Raises:
        ValueError: for what answers with no [B, K] of finite numbers.

    Example:
        >>> import esgrad
        >>> def lecture(logits, targets, *, num_samples, noise_variance, seed):
        ...     asked = dict(num_samples=num_samples, noise_variance=noise_variance, seed=seed)
        ...     return esgrad.es_gradient(logits, targets, step=0, **asked)
        >>> esgrad.check(lecture).passed
        True
    """
    draws = [ask(gradient, *case, copies) for case in CASES]
    near = laws.nearest(draws)
    found = [laws.sign(draws), *(law(draws, near) for law in (laws.scale, laws.bias, laws.variance)), laws.batch(draws)]
    found += [law(gradient) for law in (laws.seed, laws.global_state, laws.queries, laws.nan, laws.micro_batches)]
    return Card(name or getattr(gradient, "__name__", "estimator"), tuple(found))


def load(word: str) -> Any:
    """The function behind `module:function`, looked for from this folder on; ValueError where there is none."""
    module, colon, function = word.partition(":")
    if not (module and colon and function):
        raise ValueError(f"'{word}' is no module:function, such as my_module:my_gradient")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ValueError(f"there is no module '{module}' here or installed") from None
    finally:
        sys.path.pop(0)
    if not callable(getattr(found, function, None)):
        functions = sorted(key for key, value in vars(found).items() if callable(value) and not key.startswith("_"))
        raise menu.unknown(f"function in {module}", function, functions)
    return getattr(found, function)
