"""One loop trains every method: its costs, its evaluations, its rows, and that no run sees another."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esgrad import es_gradient, menu
from esgrad.gradients import costs
from esgrad.kernels.streams import Role, normals, permutation
from esgrad.tasks import data
from esgrad.tasks.data import Data
from esgrad.tasks.stack import Stack, initialised
from esgrad.training import loop as training
from tests.running import GROUPS, KINDS, SAMPLES, Rows, job, kind, of_run, run, text


@pytest.fixture
def parameters(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The parameters [R, d] of the stack at each evaluation, as training goes on."""
    seen: list[Tensor] = []
    evaluate = training.evaluate

    def spy(stack: Stack, *arguments: Any, **words: Any) -> dict[str, list[Any]]:
        seen.append(stack.flat().clone())
        return evaluate(stack, *arguments, **words)

    monkeypatch.setattr(training, "evaluate", spy)
    return seen


# Costs


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
    judge, call, population, chain = getattr(blackbox, asked), Stack.__call__, Stack.population, Stack.chain

    def judged(seen: Tensor, targets: Tensor) -> Tensor:
        assert not seen.requires_grad  # what a black box sees has no gradient
        counted["queries"] += seen.shape[:-1].numel()
        return judge(seen, targets)

    def forward(stack: Stack, images: Tensor) -> Tensor:
        counted["forwards"] += images.shape[:2].numel() * torch.is_grad_enabled()  # evaluations have none
        return call(stack, images)

    def forwards(stack: Stack, vectors: Tensor, images: Tensor) -> Tensor:
        counted["forwards"] += vectors.shape[:2].numel() * images.shape[1]
        return population(stack, vectors, images)

    def backward(stack: Stack, logits: Tensor, gradient: Tensor) -> list[Tensor]:
        counted["backwards"] += logits.shape[:2].numel()
        return chain(stack, logits, gradient)

    monkeypatch.setattr(blackbox, asked, judged)
    monkeypatch.setattr(Stack, "__call__", forward)
    monkeypatch.setattr(Stack, "population", forwards)
    monkeypatch.setattr(Stack, "chain", backward)
    last = run(of, digits, groups=[(1.0, 0.01)], seeds=(0,), steps=steps)[-1]
    if of.exact == "backprop":  # the labels judge each example once; no black box is asked
        counted["queries"] += of.batch_size * steps
    assert counted == {unit: last[unit] for unit in counted}
    assert last["examples"] == steps * of.batch_size


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


# The loop


@pytest.mark.parametrize("model", menu.names("models"))
@pytest.mark.parametrize("name", KINDS)
def test_a_run_alone_equals_the_same_run_in_a_stack_of_10(
    name: str, model: str, digits: Data, parameters: list[Tensor]
) -> None:
    """Every row and every bit of the parameters, at the last step and on the way."""
    of, seeds = kind(name, model=model), (0, 1, 2, 3, 4)
    rows = run(of, digits, seeds=seeds, steps=6)
    stacked = list(parameters)
    for seed, group in ((0, 0), (3, 1)):
        parameters.clear()
        alone = run(of, digits, groups=[GROUPS[group]], seeds=(seeds[seed],), steps=6)
        assert text(alone) == text(of_run(rows, seeds[seed], GROUPS[group]))
        assert len(alone) == len(stacked)
        for one, all_of_them in zip(parameters, stacked, strict=True):
            assert torch.equal(one[0], all_of_them[2 * seed + group])


def plain_loop(
    images: Data,
    seed: int,
    optimizer: str,
    rate: float,
    steps: int,
    pull: Callable[[nn.Module, Tensor, Tensor, int], None],
) -> Tensor:
    """What anybody would write with torch: one network, one of torch's optimizers, `pull` to fill the gradients."""
    network = initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 10, 16), seed)
    moving = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer](
        network.parameters(), lr=rate, maximize=True, weight_decay=0.001
    )
    order = permutation(seed, Role.BATCHES, 0, len(data.split(images, seed)[0]))
    train = data.split(images, seed)[0][order]
    for step in range(1, steps + 1):
        index = train[32 * (step - 1) : 32 * step]
        moving.zero_grad()
        pull(network, images.images[index].float() / 16, images.targets[index], step)
        moving.step()
    return nn.utils.parameters_to_vector(network.parameters()).detach()


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.5), ("adam", 0.01)])
@pytest.mark.parametrize("name", ["independent", "mirrored", "maxrl", "class", "parameters", "batch", "backprop"])
def test_training_equals_a_plain_loop(
    name: str, optimizer: str, rate: float, digits: Data, parameters: list[Tensor]
) -> None:
    """The loop once more, one sample after the other for noise at the parameters (arXiv 1703.03864, algorithm 1)."""
    seed, variance, of = 3, 0.04, kind(name, model="mlp", optimizer=optimizer)

    def backprop(network: nn.Module, pixels: Tensor, targets: Tensor, step: int) -> None:
        (-nn.functional.cross_entropy(network(pixels), targets)).backward()

    def at_the_logits(network: nn.Module, pixels: Tensor, targets: Tensor, step: int) -> None:
        logits = network(pixels)
        words = {"num_samples": SAMPLES, "noise_variance": variance}
        words |= {"noise": of.noise, "credit": of.credit, "shaping": of.shaping}
        logits.backward(es_gradient(logits, targets, seed=seed, step=step, **words) / len(logits))

    def at_the_parameters(network: nn.Module, pixels: Tensor, targets: Tensor, step: int) -> None:
        centre = nn.utils.parameters_to_vector(network.parameters()).detach()
        half = normals([seed], Role.NOISE, step, 0, SAMPLES // 2, 1, len(centre))[0, :, 0]
        noise = [sign * math.sqrt(variance) * normal for normal in half for sign in (1, -1)]
        fitness = []
        for q in noise:
            nn.utils.vector_to_parameters(centre + q, network.parameters())
            with torch.no_grad():
                fitness.append((network(pixels).argmax(1) == targets).float().mean().item())
        nn.utils.vector_to_parameters(centre, network.parameters())
        ranks = [sum(g < f for g in fitness) + (sum(g == f for g in fitness) - 1) / 2 for f in fitness]
        weights = [(rank / (SAMPLES - 1) - 0.5) / SAMPLES for rank in ranks]
        gradient = sum(w * q for w, q in zip(weights, noise, strict=True)) / variance
        for parameter, piece in zip(
            network.parameters(), gradient.split([p.numel() for p in network.parameters()]), strict=True
        ):
            parameter.grad = piece.view_as(parameter)

    def at_the_batch(network: nn.Module, pixels: Tensor, targets: Tensor, step: int) -> None:
        logits = network(pixels)
        noise = math.sqrt(variance) * normals([seed], Role.NOISE, step, 0, SAMPLES, 1, logits.numel())[0, :, 0]
        shifted = [logits.detach() + q.view_as(logits) for q in noise]
        fitness = [(points.argmax(1) == targets).float().mean().item() for points in shifted]
        weights = [(f - (sum(fitness) - f) / (SAMPLES - 1)) / SAMPLES for f in fitness]
        gradient = sum(w * q for w, q in zip(weights, noise, strict=True)) / variance
        logits.backward(gradient.view_as(logits))

    own = {"parameters": at_the_parameters, "batch": at_the_batch, "backprop": backprop}
    pull = own.get(name, at_the_logits)
    run(of, digits, groups=[(variance, rate)], seeds=(seed,), steps=5)
    expected = plain_loop(digits, seed, optimizer, rate, 5, pull)
    assert (parameters[0][0] - expected).abs().max() > 0.01  # it moved
    torch.testing.assert_close(parameters[-1][0], expected, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("name", KINDS)
def test_training_twice_leaves_the_same_records(name: str, digits: Data) -> None:
    torch.manual_seed(1)
    first = run(kind(name, model="mlp"), digits)
    torch.manual_seed(2)
    assert text(run(kind(name, model="mlp"), digits)) == text(first)


def test_training_leaves_the_global_random_state(digits: Data) -> None:
    before, numpys = torch.get_rng_state(), str(np.random.get_state())
    run(job(), digits)
    assert torch.equal(torch.get_rng_state(), before)
    assert str(np.random.get_state()) == numpys


def test_a_seed_sees_the_same_images_and_start_whatever_the_method(
    digits: Data, monkeypatch: pytest.MonkeyPatch, parameters: list[Tensor]
) -> None:
    """Common random numbers: split, initialisation, batches and evaluation set."""
    seen: dict[str, tuple] = {}
    batch = training.Images.batch
    batches: list[Tensor] = []

    def spy(images: training.Images, step: int, batch_size: int, group: int) -> tuple[Tensor, Tensor]:
        found = batch(images, step, batch_size, group)
        batches.append(torch.cat([found[0].flatten(1), found[1]], 1))
        return found

    monkeypatch.setattr(training.Images, "batch", spy)
    for name in KINDS:
        batches.clear(), parameters.clear()
        rows = run(kind(name), digits, steps=3)
        initial = [(row["validation_accuracy"], row["dead_classes"]) for row in rows if row["step"] == 0]
        seen[name] = (torch.stack(batches), parameters[0].clone(), initial)
    reference = seen["independent"]
    for name, (images, start, initial) in seen.items():
        assert torch.equal(images, reference[0]), name
        assert torch.equal(start, reference[1]), name
        assert initial == reference[2], name
    assert torch.equal(reference[0][:, 0], reference[0][:, 1])  # the two groups of a seed
    assert not torch.equal(reference[0][:, 0], reference[0][:, 2])  # two seeds
    assert not torch.equal(reference[1][0], reference[1][2])


def test_an_epoch_shows_each_training_image_once_and_the_next_in_another_order(digits: Data) -> None:
    images = training.Images(digits, [3], "cpu")
    per_epoch = images.train.shape[1] // 40
    images.images = torch.arange(len(digits.targets)).view(-1, 1)  # an image is its own number
    epochs = [
        torch.cat([images.batch(step, 40, 1)[0][0, :, 0] for step in range(e * per_epoch, (e + 1) * per_epoch)])
        for e in range(2)
    ]
    train = set((images.train[0].float() / images.scale).tolist())
    for epoch in epochs:
        assert len(epoch) == per_epoch * 40
        assert len(set(epoch.tolist())) == len(epoch)
        assert set(epoch.tolist()) <= train
    assert not torch.equal(*epochs)


def test_rows_come_at_the_start_on_the_schedule_and_at_the_end(digits: Data) -> None:
    of, steps = job(), 30
    rows = of_run(run(of, digits, steps=steps), 1, GROUPS[1])
    due = list(islice(training.evaluations(of.resolved_method.costs(32, SAMPLES), 10), steps))
    assert [row["step"] for row in rows] == sorted({0, steps, *(step for step in due if step <= steps)})
    assert [row["queries"] for row in rows] == [row["step"] * 32 * SAMPLES for row in rows]
    assert all(math.isnan(row["test_accuracy"]) for row in rows[:-1])
    assert 0 < rows[-1]["test_accuracy"] <= 1
    assert all(0 < row["validation_accuracy"] <= 1 and row["status"] == "ok" for row in rows)


def test_the_test_images_are_looked_at_once_at_the_end(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither training nor choosing a learning rate sees them: without them, all else is the same."""
    looked: list[tuple[str, Tensor]] = []
    predictions = training._predictions

    def spy(stack: Stack, blackbox: Any, images: training.Images, part: Tensor, group: int) -> tuple[Tensor, Tensor]:
        looked.append(("test" if part is images.test else "validation", part))
        return predictions(stack, blackbox, images, part, group)

    monkeypatch.setattr(training, "_predictions", spy)
    honest = run(job(), digits)
    assert [name for name, _ in looked].count("test") == 1
    assert looked[-1][0] == "test"
    images = training.Images(digits, [0, 1], "cpu")
    for seed in range(2):
        parts = [set(part[seed].tolist()) for part in (images.train, images.validation, images.test)]
        assert sum(map(len, parts)) == len(set().union(*parts)) == len(digits.targets)

    def without_test(seed: int) -> Rows:
        blank = replace(digits, images=digits.images.clone())
        blank.images[data.split(digits, seed)[2]] = 0
        return run(job(), blank, seeds=(seed,))

    for seed in range(2):
        kept = [{**row, "test_accuracy": None} for row in without_test(seed)]
        assert text(kept) == text([{**row, "test_accuracy": None} for row in honest if row["seed"] == seed])


def test_a_method_s_runs_do_not_depend_on_each_other_s_divergence(digits: Data) -> None:
    """With a huge rate a run ends: diverged, without accuracies, while the others of its stack go on unchanged."""
    of = job(optimizer="sgd", model="mlp", exact="backprop", noise="", credit="", shaping="", blackbox="cross_entropy")
    calm, wild = (None, 0.1), (None, 1e30)
    rows = run(of, digits, groups=[calm, wild], steps=12)
    assert text(of_run(rows, 1, calm)) == text(run(of, digits, groups=[calm], seeds=(1,), steps=12))
    ended = of_run(rows, 1, wild)
    assert ended[-1]["step"] < 12
    assert ended[-1]["status"] == "diverged"
    assert math.isnan(ended[-1]["validation_accuracy"])
    assert math.isnan(ended[-1]["test_accuracy"])
    assert ended[-1]["dead_classes"] is None
    assert all(row["status"] == "ok" and row["validation_accuracy"] > 0 for row in ended[:-1])


@pytest.mark.parametrize("rate", [1e30, 1e38])
def test_when_all_runs_diverge_training_ends_and_all_its_steps_are_ticked(rate: float, digits: Data) -> None:
    ticked: list[int] = []
    of = job(optimizer="sgd", model="mlp", exact="backprop", noise="", credit="", shaping="", blackbox="cross_entropy")
    rows = list(training.train(of, digits, None, [(None, rate)], (0, 1), 25, "cpu", ticked.append))
    assert [row["status"] for row in rows[-2:]] == ["diverged"] * 2
    assert sum(ticked) == 2 * 25


@pytest.mark.parametrize("name", ["independent", "parameters", "cross_entropy", "backprop"])
def test_a_run_whose_logits_are_not_finite_is_diverged_though_its_parameters_are(
    name: str, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters of 1e38 are finite, the logits they give are not; argmax would judge them all the same."""
    network = menu.load("models", "linear").build((1, 8, 8), 10, 1)
    nn.init.constant_(network[1].weight, 1e38)
    monkeypatch.setattr(training, "initialised", lambda build, seed: network)
    of = kind(name, optimizer="sgd", weight_decay=0.0)
    rows = run(of, digits, groups=[(1.0, 1e-30)], seeds=(0,), steps=2)
    assert rows[-1]["status"] == "diverged"
    assert math.isnan(rows[-1]["validation_accuracy"])


@pytest.mark.parametrize("logit_dim", [10, 12])
def test_accuracy_and_dead_classes_equal_a_naive_count(logit_dim: int, digits: Data) -> None:
    """Classes that have no label may be predicted; they are neither right nor dead."""
    images, module = training.Images(digits, [0, 1], "cpu"), menu.load("models", "linear")
    stack = Stack([initialised(lambda: module.build((1, 8, 8), logit_dim, 1), seed) for seed in (5, 5, 6, 6)])
    judged = training.evaluate(stack, menu.load("blackboxes", "zero_one"), images, 2, test=True)
    for index in range(4):
        weight, bias = (parameter[index].detach() for parameter in stack.parameters)
        for name, parts in (("validation", images.validation), ("test", images.test)):
            part = parts[index // 2]
            named = ((digits.images[part].flatten(1) / 16) @ weight.T + bias).argmax(1).tolist()
            right = [a == b for a, b in zip(named, digits.targets[part].tolist(), strict=True)]
            assert judged[name][index] == pytest.approx(sum(right) / len(right))
            if name == "validation":
                assert judged["dead"][index] == len(set(range(10)) - set(named)) > 0


def test_a_chunk_of_evaluation_changes_nothing(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = text(run(job(model="mlp"), digits))
    monkeypatch.setattr(training, "EVALUATION_CHUNK", 4 * 64 * 7)
    assert text(run(job(model="mlp"), digits)) == whole


def test_backprop_learns_digits(digits: Data) -> None:
    last = run(kind("backprop", model="mlp", hidden_size=32), digits, groups=[(None, 0.03)], steps=60)[-2:]
    assert all(row["validation_accuracy"] > 0.8 and row["test_accuracy"] > 0.8 for row in last)
    assert all(row["dead_classes"] == 0 for row in last)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "backprop"])
def test_every_method_learns_more_than_chance(name: str, digits: Data) -> None:
    known = {"parameters": ((0.01, 0.02), 200), "batch": ((1.0, 0.003), 1000)}
    group, steps = known.get(kind(name).space, ((1.0, 0.05), 60))
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


# Scale


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
