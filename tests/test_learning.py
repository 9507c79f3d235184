"""Every method learns, from labels and from sums alone, and the network can undo the scale of the noise."""

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.tasks.data import Data
from esgrad.tasks.stack import Stack, initialised
from esgrad.training import loop as training
from tests.running import KINDS, SAMPLES, job, kind, run


def test_backprop_learns_digits(digits: Data) -> None:
    last = run(kind("backprop", model="mlp", hidden_size=32), digits, groups=[(None, 0.03)], steps=60)[-2:]
    assert all(row["validation_accuracy"] > 0.8 and row["test_accuracy"] > 0.8 for row in last)
    assert all(row["dead_classes"] == 0 for row in last)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "backprop"])
def test_every_method_learns_more_than_chance(name: str, digits: Data) -> None:
    known = {"parameters": ((0.01, 0.02), 200), "batch": ((1.0, 0.003), 1000), "snes": ((0.01, 1.0), 200)}
    known["low_rank"] = ((0.01, 0.02), 500)
    group, steps = known.get(name, known.get(kind(name).space, ((1.0, 0.05), 60)))
    rows = run(kind(name), digits, groups=[group], steps=steps)
    assert all(row["validation_accuracy"] > 0.35 for row in rows[-2:])


def two_digit_strings(digits: Data) -> Data:
    """900 strings of two digits, each image used once, as `digit_strings-2` would have them."""
    left, right = digits.images[:900], digits.images[897:]
    targets = 10 * digits.targets[:900] + digits.targets[897:]
    return Data(torch.cat([left, right], -1), targets, 100, 16, (900, 0, 0))


def test_a_network_that_reads_digits_learns_from_their_sum_alone(digits: Data) -> None:
    strings = menu.load("blackboxes", "digit_sum").prepare(two_digit_strings(digits))
    of = job(blackbox="digit_sum", shaping="maxrl", dataset="digit_strings-2")
    rows = list(training.train(of, strings, 64, [(1.0, 0.03)], [0], 250, "cpu"))
    assert rows[0]["dead_classes"] > 9 > rows[-1]["dead_classes"]
    assert rows[-1]["validation_accuracy"] > 0.3 > 2 * rows[0]["validation_accuracy"]


@pytest.mark.parametrize("space", menu.names("spaces"))
@pytest.mark.parametrize("model", menu.names("models"))
def test_every_model_reads_strings_in_every_space(model: str, space: str, digits: Data) -> None:
    strings = menu.load("blackboxes", "digit_sum").prepare(two_digit_strings(digits))
    of = job(model=model, blackbox="digit_sum", space=space, dataset="digit_strings-2")
    rows = run(of, strings, groups=[(0.01, 0.01)], seeds=(0,), steps=2)
    assert [row["status"] for row in rows] == ["ok"] * len(rows)
    assert rows[-1]["queries"] == 2 * 32 * SAMPLES


@pytest.mark.parametrize(("name", "rate", "power"), [("adam", 0.05, 1), ("sgd", 0.5, 2)])
@pytest.mark.parametrize("shaping", ["raw", "maxrl"])
def test_the_network_can_undo_the_scale_of_the_noise(
    shaping: str, name: str, rate: float, power: int, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer times c, t times c², that layer's rate times c (Adam, its ε by c) or c² (SGD): the same run.

    The last layer's gradient is 1/c of what it was and its steps are to be c times as long; the others' is the same.
    """
    adam, blackbox = menu.load("optimizers", "adam"), menu.load("blackboxes", "zero_one")
    optimizer = menu.load("optimizers", name)
    images, epsilon, last = training.Images(digits, [0], "cpu"), adam.EPSILON, slice(2, 4)  # its weight and bias

    def trained(c: float) -> list[Tensor]:
        stack = Stack([initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 10, 16), 0)])
        for parameter in stack.parameters[last]:
            parameter.data.mul_(c)
        ascent = training.Ascent(job(shaping=shaping), SAMPLES, [0], torch.tensor([0.25 * c**2]), 20)
        layers = [(slice(0, 2), 1.0), (last, c)]
        states = [optimizer.initial(stack.parameters[layer]) for layer, _ in layers]
        for step in range(12):
            at = menu.load("spaces", "logits").place(stack, *images.batch(step, 32, 1), blackbox)
            with torch.no_grad():
                moved = at.push(ascent(at, step))
                for (layer, scale), state in zip(layers, states, strict=True):
                    monkeypatch.setattr(adam, "EPSILON", epsilon / scale)
                    own_rate = torch.tensor([rate * scale**power])
                    optimizer.step(stack.parameters[layer], moved[layer], own_rate, 0.0, state)
        start = initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 10, 16), 0)
        for after, before in zip(stack.parameters[last], [*start.parameters()][last], strict=True):
            assert (after[0] / c - before).abs().max() > 0.01  # it moved
        return [parameter.detach() for parameter in stack.parameters]

    plain, scaled = trained(1.0), trained(4.0)  # a power of two scales without rounding
    assert all(torch.equal(a, b) for a, b in zip(plain[:2], scaled[:2], strict=True))
    assert all(torch.equal(4 * a, b) for a, b in zip(plain[last], scaled[last], strict=True))
