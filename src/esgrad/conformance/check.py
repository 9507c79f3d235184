"""The conformance card of anybody's gradient estimator: `esgrad check my_module:my_gradient`."""

import importlib
import sys
from pathlib import Path
from typing import Any

from esgrad import menu
from esgrad.conformance import laws, means
from esgrad.conformance.card import Card
from esgrad.conformance.draws import CASES, draw
from esgrad.conformance.subject import Gradient, Subject


def check(gradient: Gradient, name: str = "", copies: int = 20_000) -> Card:
    """Find out what an estimator of the gradient at a classifier's logits estimates, and whether it keeps the laws.

    The fitness is isequal(argmax(logits + q), target) under noise q of variance t, Gaussian as in the lecture (CMPUT
    328, "Evolution Strategies for Approximating Gradients") or Gumbel's. Judged are sign, scale, what the estimate is
    unbiased for, its variance beside the laws, the seed and the global random state. Told are queries, NaN,
    micro-batches, whether the examples of a batch share their noise, and the type of the answer.
    Asks for estimates at four places, with three t and two N, and takes 5 standard errors for a difference: the card
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
        RuntimeError: for what raises; its own error is the cause.

    Example:
        >>> import esgrad
        >>> def lecture(logits, targets, *, num_samples, noise_variance, seed):
        ...     asked = dict(num_samples=num_samples, noise_variance=noise_variance, seed=seed)
        ...     return esgrad.es_gradient(logits, targets, step=0, **asked)
        >>> esgrad.check(lecture).passed
        True
    """
    subject = Subject(gradient, name or getattr(gradient, "__name__", "estimator"))
    draws = [draw(subject, *case, copies) for case in CASES]
    near = means.nearest(draws)
    found = [
        means.sign(draws),
        means.scale(draws, near),
        means.bias(draws, near, subject),
        laws.variance(draws, near),
        laws.seed(subject, draws),
        *(law(subject) for law in (laws.global_state, laws.queries, laws.nan, laws.micro_batches)),
        *(law(draws) for law in (laws.batch, laws.type_)),
    ]
    return Card(subject.name, tuple(found))


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
