"""One loop trains every method: its rows, its evaluations, and that no run sees another."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esgrad import es_gradient, menu
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
    return Stack([network]).flat()[0]


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
        stack = Stack([network])
        centre = stack.flat()[0]
        half = normals([seed], Role.NOISE, step, 0, SAMPLES // 2, 1, len(centre))[0, :, 0]
        noise = [sign * math.sqrt(variance) * normal for normal in half for sign in (1, -1)]
        fitness = []
        for q in noise:
            with torch.no_grad():
                for parameter, value in zip(network.parameters(), stack.unflatten(centre + q), strict=True):
                    parameter.copy_(value)
                fitness.append((network(pixels).argmax(1) == targets).float().mean().item())
        ranks = [sum(g < f for g in fitness) + (sum(g == f for g in fitness) - 1) / 2 for f in fitness]
        weights = [(rank / (SAMPLES - 1) - 0.5) / SAMPLES for rank in ranks]
        gradient = sum(w * q for w, q in zip(weights, noise, strict=True)) / variance
        pieces = zip(network.parameters(), stack.unflatten(centre), stack.unflatten(gradient), strict=True)
        for parameter, value, piece in pieces:
            parameter.data, parameter.grad = value.clone(), piece.clone()

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
    read = training.Images.step
    batches: list[Tensor] = []

    def spy(
        images: training.Images, step: int, batch_size: int, group: int, count: int | None
    ) -> tuple[Tensor, Tensor]:
        found = read(images, step, batch_size, group, count)
        each = [found] if count is None else zip(*(part.unbind(1) for part in found), strict=True)
        batches.extend(torch.cat([pixels.flatten(1), labels], 1) for pixels, labels in each)
        return found

    monkeypatch.setattr(training.Images, "step", spy)
    for name in KINDS:
        batches.clear(), parameters.clear()
        rows = run(kind(name), digits, steps=3)
        initial = [(row["validation_accuracy"], row["dead_classes"]) for row in rows if row["step"] == 0]
        seen[name] = (torch.stack(batches), parameters[0].clone(), initial)
    reference = seen["independent"]
    for name, (images, start, initial) in seen.items():
        assert torch.equal(images[:3], reference[0]), name  # with batches of their own directions read on from there
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
