"""A guard: what is fast here stays fast beside plain torch in the same process. Ratios, with room for a noisy machine.

The limits lie at about twice what `make bench` measured; where a ratio lies above, it is measured again, twice at most.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from esgrad.kernels import compiled, streams
from esgrad.tasks.stack import Stack

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
at_logits, at_parameters, a_step, rounds = (
    pytest.importorskip(name) for name in ("logits", "parameters", "training", "rounds")
)
pytestmark = pytest.mark.skipif(not compiled.AVAILABLE, reason="numba is not installed")
Pair = tuple[Callable[[], Any], Callable[[], Any]]


def the_fill() -> Pair:
    place = 8, 1, 101_770
    return partial(torch.randn, *place), partial(streams.normals, [0], 0, 0, 0, *place)


def an_estimate(num_logits: int, ahead: float, **words: Any) -> Pair:
    targets = torch.arange(64) % num_logits
    logits = torch.zeros(64, num_logits).scatter(1, targets[:, None], ahead)
    return partial(at_logits.whole_tensor, logits, targets), partial(at_logits.ours, logits, targets, **words)


def a_generation(noise: str) -> Pair:
    network, images, targets = at_parameters.task("mlp")
    examples = images[0].repeat(256, 1, 1, 1)
    ours = partial(at_parameters.ours, Stack([network]), images, targets, 256, noise, "centered_ranks")
    return partial(at_parameters.forward, network, examples, 1), ours


def a_step_of_training(arm: str, digits: Any) -> Pair:
    method, num_samples = a_step.ARMS[arm]
    settings = a_step.SETTINGS["digits"]
    by_hand = a_step.ByHand(digits, arm, num_samples, *settings)
    steps = a_step.STEPS["logits"]
    return partial(a_step.repeated, by_hand.step, steps), a_step.ours(digits, "digits", method, num_samples, *settings)


BY_CLASS = {"credit": "class", "noise": "gumbel", "shaping": "success"}
GUARDS: dict[str, tuple[Callable[..., Pair], float]] = {
    "the fill": (the_fill, 0.7),
    "all hit, K = 10": (partial(an_estimate, 10, 12.0), 0.6),
    "all hit, K = 100": (partial(an_estimate, 100, 12.0), 0.5),
    "every number, K = 100": (partial(an_estimate, 100, 0.0, shaping="maxrl"), 0.5),
    "few hit, K = 1,000": (partial(an_estimate, 1000, 0.0), 0.03),
    "by class, K = 1,000": (partial(an_estimate, 1000, 0.0, **BY_CLASS), 0.03),
    "a generation": (partial(a_generation, "mirrored"), 1.2),
    "a generation of rank one": (partial(a_generation, "low_rank"), 0.3),
    "a step of training, maxrl": (partial(a_step_of_training, "maxrl"), 2.0),
    "a step of training, lecture": (partial(a_step_of_training, "lecture"), 1.0),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_it_is_as_fast_beside_plain_torch_as_it_was(guard: str, digits: Any) -> None:
    make, limit = GUARDS[guard]
    plain, ours = make(digits=digits) if "step" in guard else make()
    found = []
    for _ in range(3):
        rows = rounds.ratios({"plain": plain, "ours": ours}, "plain", rounds=5, least=0.01)
        found.append(next(row["ratio"] for row in rows if row["contestant"] == "ours"))
        if found[-1] < limit:
            return
    pytest.fail(f"{guard}: {', '.join(f'{each:.3g}' for each in found)} times as long as plain torch, limit {limit}")
