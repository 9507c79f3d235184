"""What a training counts is what it asks, reads and goes back through, and when it looks."""

import math
from itertools import islice, pairwise
from typing import Any

import pytest
from torch import Tensor

from esgrad import menu
from esgrad.gradients import costs
from esgrad.tasks.data import Data
from esgrad.tasks.members import Directions, Members
from esgrad.tasks.stack import Stack
from esgrad.training import loop as training
from tests.running import KINDS, SAMPLES, kind, run


@pytest.mark.parametrize("model", ["linear", "mlp"])
@pytest.mark.parametrize("name", [name for name in KINDS if kind(name).exact in (None, "backprop")])
def test_costs_are_what_an_instrumented_run_counts(
    name: str, model: str, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that the black box judges, the network reads and the chain rule goes back through, in one run's steps."""
    counted = {"queries": 0, "forwards": 0, "backwards": 0}
    of, steps = kind(name, model=model), 3
    blackbox = menu.load("blackboxes", of.blackbox)
    asked = "judge" if of.credit == "class" else "fitness"  # of classes, or of points
    judge, vjp, logits = getattr(blackbox, asked), Stack.vjp, Members.logits

    def judged(seen: Tensor, targets: Tensor) -> Tensor:
        assert not seen.requires_grad  # what a black box sees has no gradient
        counted["queries"] += seen.shape[:-1].numel()
        return judge(seen, targets)

    def opened(stack: Stack, images: Tensor) -> tuple[Tensor, Any]:
        logits, pull = vjp(stack, images)
        counted["forwards"] += images.shape[:2].numel()

        def backward(gradient: Tensor) -> list[Tensor]:
            counted["backwards"] += logits.shape[:2].numel()
            return pull(gradient)

        return logits, backward

    def forwards(members: Members, directions: Directions, steps: Tensor, seeds: slice, which: slice) -> Tensor:
        found = logits(members, directions, steps, seeds, which)
        counted["forwards"] += found.shape[:-1].numel()
        return found

    monkeypatch.setattr(blackbox, "IS_HIT", False)  # else a body that knows its answer would not ask it
    monkeypatch.setattr(blackbox, asked, judged)
    monkeypatch.setattr(Stack, "vjp", opened)
    monkeypatch.setattr(Members, "logits", forwards)
    last = run(of, digits, groups=[(1.0, 0.01)], seeds=(0,), steps=steps)[-1]
    if of.exact == "backprop":  # the labels judge each example once; no black box is asked
        counted["queries"] += of.batch_size * steps
    assert counted == {unit: last[unit] for unit in counted}
    assert last["examples"] == steps * of.batch_size * (of.resolved_method.batches(SAMPLES) or 1)


@pytest.mark.parametrize("exact", ["smoothed", "log_smoothed"])
def test_exact_smoothing_asks_nobody(exact: str, digits: Data) -> None:
    last = run(kind(exact), digits)[-1]
    assert math.isnan(last["queries"])
    assert (last["forwards"], last["backwards"]) == (320, 320)


@pytest.mark.parametrize("unit", [1, 8, 32, 320, 1000, 3200, 12_800])
@pytest.mark.parametrize("per_decade", [3, 10])
def test_the_schedule_holds_each_step_that_first_reaches_a_point_of_the_grid(unit: int, per_decade: int) -> None:
    """Of the grid 10^(i/per_decade) of queries; the first step reaches all points up to its own queries."""
    price = costs.Costs(queries=float(unit), forwards=1.0, backwards=1.0, examples=1.0)
    points = [10 ** (i / per_decade) for i in range(10 * per_decade)]
    first = [
        step for step in range(1, 100) if any((step - 1) * unit < point * (1 - 1e-9) <= step * unit for point in points)
    ]
    got = list(islice(training.evaluations(price, per_decade), len(first)))
    assert all(later > earlier for earlier, later in pairwise(got))
    assert got == first


def test_the_schedule_counts_examples_where_nobody_is_asked() -> None:
    nobody = costs.Costs(math.nan, 32.0, 32.0, 32.0)
    asked = costs.Costs(32.0, 32.0, 32.0, 32.0)
    assert list(islice(training.evaluations(nobody, 10), 20)) == list(islice(training.evaluations(asked, 10), 20))
