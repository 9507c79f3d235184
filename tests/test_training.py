"""One loop trains every method: its optimizers, models, black boxes and costs, and that no run sees another."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esgrad import costs, data, es_gradient, menu, training
from esgrad.data import Data
from esgrad.job import Job
from esgrad.perturbation import Perturbation
from esgrad.stack import Stack, initialised
from esgrad.streams import Role, normals, permutation

Rows = list[dict[str, Any]]
GROUPS = [(1.0, 0.01), (0.04, 0.03)]
SAMPLES = 8

KINDS: dict[str, dict[str, Any]] = {
    "independent": {},
    "mirrored": {"noise": "mirrored", "shaping": "centered_ranks"},
    "maxrl": {"shaping": "maxrl"},
    "parameters": {"space": "parameters", "noise": "mirrored", "shaping": "centered_ranks"},
    "cross_entropy": {"space": "parameters", "shaping": "leave_one_out", "blackbox": "cross_entropy"},
    **{
        name: {"exact": name, "noise": "", "shaping": "", "blackbox": menu.load("exact", name).BLACKBOX}
        for name in menu.names("exact")
    },
}


@pytest.fixture(scope="module")
def digits() -> Data:
    return data.decode("digits", Path())


def job(**changes: Any) -> Job:
    """A small job on digits, the lecture's method unless told otherwise."""
    words: dict[str, Any] = {
        "experiment": "test",
        "dataset": "digits",
        "model": "linear",
        "blackbox": "zero_one",
        "method": "test",
        "logit_dim": 10,
        "batch_size": 32,
        "space": "logits",
        "noise": "independent",
        "shaping": "raw",
        "exact": None,
        "optimizer": "adam",
        "weight_decay": 0.001,
        "hidden_size": 16,
        "num_classes": 10,
        "num_samples": (SAMPLES,),
        "noise_variance": (1.0,),
        "num_seeds": 2,
        "max_steps": 10,
        "max_queries": None,
        "learning_rates": (0.01, 0.03, 0.1),
        "num_tuning_seeds": 2,
        "tuning_fraction": 0.3,
        "max_widenings": 2,
        "evaluations_per_decade": 10,
        "draws_per_cell": 1e12,
    }
    return Job(**(words | changes))


def kind(name: str, **changes: Any) -> Job:
    return job(**(KINDS[name] | changes))


def run(
    of: Job, images: Data, groups: list[training.Group] = GROUPS, seeds: tuple[int, ...] = (0, 1), steps: int = 10
) -> Rows:
    return list(training.train(of, images, None if of.exact else SAMPLES, groups, seeds, steps, "cpu"))


def text(rows: Rows) -> list[str]:
    """Rows to be compared whole: NaN equals NaN, and every bit of a number counts."""
    return [repr(row) for row in rows]


def of_run(rows: Rows, seed: int, group: training.Group) -> Rows:
    return [row for row in rows if (row["seed"], row["noise_variance"], row["learning_rate"]) == (seed, *group)]


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


# Optimizers


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", menu.names("optimizers"))
def test_an_optimizer_equals_its_torch_namesake(name: str, weight_decay: float) -> None:
    """Twenty steps of three runs, a learning rate each, against three optimizers of torch's."""
    optimizer = menu.load("optimizers", name)
    namesake = next(getattr(torch.optim, word) for word in dir(torch.optim) if word.lower() == name)
    generator = torch.Generator().manual_seed(0)
    rates, shapes = [0.003, 0.1, 1.0], [(4, 3), (5,), ()]
    ours = [torch.randn(3, *shape, generator=generator) for shape in shapes]
    theirs = [[parameter[run].clone().requires_grad_() for parameter in ours] for run in range(3)]
    torchs = [
        namesake(run, lr=rate, maximize=True, weight_decay=weight_decay)
        for run, rate in zip(theirs, rates, strict=True)
    ]
    state = optimizer.initial(ours)
    for _ in range(20):
        gradients = [torch.randn(3, *shape, generator=generator) for shape in shapes]
        before = [gradient.clone() for gradient in gradients]
        optimizer.step(ours, gradients, torch.tensor(rates), weight_decay, state)
        assert all(map(torch.equal, gradients, before))
        for index, run in enumerate(theirs):
            for parameter, gradient in zip(run, gradients, strict=True):
                parameter.grad = gradient[index].clone()
            torchs[index].step()
        for index, run in enumerate(theirs):
            for parameter, stacked in zip(run, ours, strict=True):
                torch.testing.assert_close(stacked[index], parameter.detach(), rtol=1e-5, atol=1e-6)


# Models

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 9, 13)]
EACH_MODEL = pytest.mark.parametrize("model", menu.names("models"))


@EACH_MODEL
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("logit_dim", [2, 10, 100])
def test_a_model_counts_its_parameters_honestly(model: str, shape: tuple[int, int, int], logit_dim: int) -> None:
    module = menu.load("models", model)
    network = module.build(shape, logit_dim, 7)
    assert isinstance(network, nn.Module)
    assert module.num_parameters(shape, logit_dim, 7) == sum(p.numel() for p in network.parameters())


@EACH_MODEL
@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_reads_each_image_by_itself(model: str, shape: tuple[int, int, int]) -> None:
    network = initialised(lambda: menu.load("models", model).build(shape, 4, 7), 0)
    images = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    logits = network(images)
    assert logits.shape == (5, 4)
    for image, logit in zip(images, logits, strict=True):
        torch.testing.assert_close(network(image[None])[0], logit, rtol=1e-4, atol=1e-5)


@EACH_MODEL
@pytest.mark.parametrize("axes", [(), (2,)])
def test_networks_of_different_seeds_make_a_stack(model: str, axes: tuple[int, ...]) -> None:
    networks = [initialised(lambda: menu.load("models", model).build((1, 8, 8), 4, 7), seed) for seed in (0, 1, 2)]
    stack, images = Stack(networks), torch.rand(3, 6, *axes, 1, 8, 8)
    logits = stack(images)
    assert logits.shape == (3, 6, 4 * math.prod(axes))
    for network, image, logit in zip(networks, images, logits, strict=True):
        each = network(image.flatten(0, -4)).reshape(6, -1)
        torch.testing.assert_close(each, logit, rtol=1e-4, atol=1e-5)


@EACH_MODEL
def test_no_bit_depends_on_the_stack_at_the_size_of_mnist_either(model: str) -> None:
    """Logits, gradients and a population of the first run, alone and beside others."""
    build = menu.load("models", model).build
    networks = [initialised(lambda: build((1, 28, 28), 10, 128), seed) for seed in range(10)]
    generator = torch.Generator().manual_seed(0)
    images, pull = torch.rand(10, 64, 1, 28, 28, generator=generator), torch.randn(10, 64, 10, generator=generator)

    def first(runs: int, members: int) -> list[Tensor]:
        stack = Stack(networks[:runs])
        logits = stack(images[:runs])
        moved = torch.autograd.grad(logits, stack.parameters, pull[:runs])
        vectors = Stack(networks).flat()[:members].repeat(runs, 1, 1)
        with torch.no_grad():
            population = stack.population(vectors, images[:runs])
        return [logits[0], population[0, 0], *(gradient[0] for gradient in moved)]

    for runs, members in ((2, 8), (10, 3)):
        assert all(map(torch.equal, first(1, 8), first(runs, members)))


@EACH_MODEL
def test_a_population_is_as_many_networks(model: str) -> None:
    def build() -> nn.Module:
        return menu.load("models", model).build((1, 8, 8), 4, 7)

    stack, images = Stack([initialised(build, 0)] * 2), torch.rand(2, 5, 1, 8, 8)
    members = [[initialised(build, seed) for seed in (1, 2, 3)], [initialised(build, seed) for seed in (4, 5, 6)]]
    vectors = torch.stack([Stack(run).flat() for run in members])  # [R, n, d]
    logits = stack.population(vectors, images)
    assert logits.shape == (2, 3, 5, 4)
    for run, member in product(range(2), range(3)):
        torch.testing.assert_close(members[run][member](images[run]), logits[run, member], rtol=1e-4, atol=1e-5)


def test_a_network_with_buffers_is_refused() -> None:
    with pytest.raises(ValueError, match="running_mean"):
        Stack([nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))])


def test_an_initialisation_obeys_its_seed_and_leaves_the_global_state() -> None:
    before = torch.get_rng_state()
    same, again, other = (initialised(lambda: nn.Linear(3, 2), seed).weight for seed in (5, 5, 6))
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_flat_and_unflatten_are_inverse() -> None:
    stack = Stack([initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 4, 7), seed) for seed in (0, 1)])
    for parameter, piece in zip(stack.parameters, stack.unflatten(stack.flat()), strict=True):
        assert torch.equal(parameter, piece)


# Black boxes

EACH_BLACKBOX = pytest.mark.parametrize("blackbox", menu.names("blackboxes"))


def test_zero_one_asks_for_the_largest_logit() -> None:
    logits = torch.tensor([[[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]], [[5.0, 3.0, 2.0], [-3.0, -1.0, -2.0]]])
    fitness = menu.load("blackboxes", "zero_one").fitness
    assert fitness(logits, torch.tensor([1, 2])).tolist() == [[1, 0], [0, 0]]
    assert fitness(logits, torch.tensor([[1, 0], [0, 1]])).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("logit_dim", [1, 2, 3, 10, 33])
def test_the_recognised_class_is_torch_s_argmax(logit_dim: int, dtype: torch.dtype) -> None:
    """The first of equals, the first NaN where there is one, whatever the layout in memory."""
    generator = torch.Generator().manual_seed(0)
    predict = menu.load("blackboxes", "zero_one").predict
    logits = torch.randint(-2, 3, (50, 7, logit_dim), generator=generator).to(dtype)
    odd = torch.tensor([math.nan, math.inf, -math.inf]).to(dtype)
    spoiled = logits.clone()
    spoiled[::2, ::3, torch.randint(logit_dim, (1,), generator=generator)] = math.nan
    spoiled.view(-1)[::5] = odd[torch.randint(3, (len(spoiled.view(-1)[::5]),), generator=generator)]
    for given in (logits, spoiled, spoiled.transpose(0, 1), logits[:, ::2], logits[0, 0]):
        assert torch.equal(predict(given), given.argmax(-1))


def test_cross_entropy_is_the_log_likelihood() -> None:
    logits = torch.tensor([[[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]], [[50.0, 0.0, 0.0], [-200.0, 0.0, 0.0]]])
    got = menu.load("blackboxes", "cross_entropy").fitness(logits, torch.tensor([1, 0]))
    third = -math.log(3)
    expected = [[3 - math.log(math.e + math.e**2 + math.e**3), third], [-50 - math.exp(-50), -200 - math.log(2)]]
    torch.testing.assert_close(got, torch.tensor(expected))


def test_digit_sum_equals_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(3, 40, 30, generator=generator), torch.randint(28, (40,), generator=generator)
    blackbox = menu.load("blackboxes", "digit_sum")
    fitness, predicted = blackbox.fitness(logits, targets), blackbox.predict(logits)
    for n, b in product(range(3), range(40)):
        total = 0
        for digit in range(3):
            total += max(range(10), key=lambda value: logits[n, b, 10 * digit + value].item())
        assert predicted[n, b] == total
        assert fitness[n, b] == (total == targets[b])
    assert 0 < fitness.mean() < 0.2


def test_digit_sum_takes_strings_apart_and_labels_them_by_their_sum() -> None:
    images = torch.arange(5 * 1 * 2 * 9, dtype=torch.uint8).view(5, 1, 2, 9)  # three digits of 2 × 3 pixels
    strings = Data(images, torch.tensor([0, 7, 42, 999, 805]), 1000, 255, (5, 0, 0))
    ready = menu.load("blackboxes", "digit_sum").prepare(strings)
    assert ready.targets.tolist() == [0, 7, 6, 27, 13]
    assert ready.num_classes == 28
    assert ready.images.shape == (5, 3, 1, 2, 3)
    assert torch.equal(torch.cat(list(ready.images.unbind(1)), -1), images)
    assert menu.load("blackboxes", "digit_sum").readings(1000) == (3, 10)
    assert menu.load("blackboxes", "digit_sum").readings(100) == (2, 10)


@EACH_BLACKBOX
@pytest.mark.parametrize("spread", [0.1, 30.0])
def test_a_black_box_is_never_negative_if_it_says_so(blackbox: str, spread: float) -> None:
    module = menu.load("blackboxes", blackbox)
    logits = spread * torch.randn(500, 8, 10, generator=torch.Generator().manual_seed(0))
    fitness = module.fitness(logits, torch.arange(8))
    assert fitness.shape == (500, 8)
    assert fitness.dtype == logits.dtype
    assert bool((fitness >= 0).all()) == module.NONNEGATIVE


@EACH_BLACKBOX
def test_a_better_reading_is_never_judged_worse(blackbox: str) -> None:
    """Larger is better: all confidence in the target's class beats all confidence in another."""
    fitness = menu.load("blackboxes", blackbox).fitness
    right, wrong = 20 * torch.eye(10)[[3, 5]], 20 * torch.eye(10)[[4, 7]]
    assert (fitness(right, torch.tensor([3, 5])) > fitness(wrong, torch.tensor([3, 5]))).all()


# Spaces


@pytest.mark.parametrize("blackbox", ["zero_one", "cross_entropy"])
@pytest.mark.parametrize("space", menu.names("spaces"))
def test_a_space_judges_each_perturbed_point(space: str, blackbox: str) -> None:
    """One network and one perturbation after the other: fitness per example, or of the batch its mean."""
    build = menu.load("models", "mlp").build
    networks = [initialised(lambda: build((1, 8, 8), 4, 7), seed) for seed in (0, 1)]
    generator = torch.Generator().manual_seed(0)
    images, targets = torch.rand(2, 5, 1, 8, 8, generator=generator), torch.randint(4, (2, 5), generator=generator)
    fitness = menu.load("blackboxes", blackbox).fitness
    at = menu.load("spaces", space).Space(Stack(networks), images, targets, fitness)
    q = Perturbation(menu.load("noises", "independent"), [3, 4], Role.NOISE, 1, 10, torch.tensor([0.5, 0.2]))
    got = at.fitness(q)
    assert got.shape == (2, 10, at.point.shape[1])
    points = torch.cat(list(q.around(at.point)), 1)
    for run, sample in product(range(2), range(10)):
        point = points[run, sample]
        if space == "parameters":
            nn.utils.vector_to_parameters(point[0], networks[run].parameters())
            point = networks[run](images[run]).detach()
        each = fitness(point, targets[run])
        expected = each.mean(-1, keepdim=True) if space == "parameters" else each
        torch.testing.assert_close(got[run, sample], expected)


@pytest.mark.parametrize("blackbox", ["zero_one", "cross_entropy"])
def test_the_logits_push_by_the_chain_rule_of_the_batch_s_mean(blackbox: str) -> None:
    network = initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 4, 7), 0)
    images, targets, gradient = torch.rand(1, 5, 1, 8, 8), torch.zeros(1, 5, dtype=torch.int64), torch.rand(1, 5, 4)
    fitness = menu.load("blackboxes", blackbox).fitness
    moved = menu.load("spaces", "logits").Space(Stack([network]), images, targets, fitness).push(gradient)
    network(images[0]).backward(gradient[0] / 5)
    for got, parameter in zip(moved, network.parameters(), strict=True):
        torch.testing.assert_close(got[0], parameter.grad)


# Costs


@pytest.mark.parametrize("model", ["linear", "mlp"])
@pytest.mark.parametrize("name", [name for name in KINDS if "smoothed" not in name])
def test_costs_are_what_an_instrumented_run_counts(
    name: str, model: str, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that the black box judges, the network reads and the chain rule goes back through, in one run's steps."""
    counted = {"queries": 0, "forwards": 0, "backwards": 0}
    of, steps = kind(name, model=model), 3
    blackbox = menu.load("blackboxes", of.blackbox)
    judge, call, population, grad = blackbox.fitness, Stack.__call__, Stack.population, torch.autograd.grad

    def fitness(logits: Tensor, targets: Tensor) -> Tensor:
        assert not logits.requires_grad  # what a black box sees has no gradient
        counted["queries"] += logits.shape[:-1].numel()
        return judge(logits, targets)

    def forward(stack: Stack, images: Tensor) -> Tensor:
        counted["forwards"] += images.shape[:2].numel() * torch.is_grad_enabled()  # evaluations have none
        return call(stack, images)

    def forwards(stack: Stack, vectors: Tensor, images: Tensor) -> Tensor:
        counted["forwards"] += vectors.shape[:2].numel() * images.shape[1]
        return population(stack, vectors, images)

    def backward(outputs: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        counted["backwards"] += outputs.shape[:2].numel()
        return grad(outputs, *arguments)

    monkeypatch.setattr(blackbox, "fitness", fitness)
    monkeypatch.setattr(Stack, "__call__", forward)
    monkeypatch.setattr(Stack, "population", forwards)
    monkeypatch.setattr(torch.autograd, "grad", backward)
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
    got = list(islice(training.schedule(price, per_decade), len(first)))
    assert all(later > earlier for earlier, later in pairwise(got))
    assert got == first


def test_the_schedule_counts_examples_where_nobody_is_asked() -> None:
    nobody = costs.Costs(math.nan, 32.0, 32.0, 32.0)
    asked = costs.Costs(32.0, 32.0, 32.0, 32.0)
    assert list(islice(training.schedule(nobody, 10), 20)) == list(islice(training.schedule(asked, 10), 20))


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
@pytest.mark.parametrize("name", ["independent", "mirrored", "maxrl", "parameters", "backprop"])
def test_training_equals_a_plain_loop(
    name: str, optimizer: str, rate: float, digits: Data, parameters: list[Tensor]
) -> None:
    """The loop once more, one sample after the other for noise at the parameters (arXiv 1703.03864, algorithm 1)."""
    seed, variance, of = 3, 0.04, kind(name, model="mlp", optimizer=optimizer)

    def backprop(network: nn.Module, pixels: Tensor, targets: Tensor, step: int) -> None:
        (-nn.functional.cross_entropy(network(pixels), targets)).backward()

    def at_the_logits(network: nn.Module, pixels: Tensor, targets: Tensor, step: int) -> None:
        logits = network(pixels)
        words = {"num_samples": SAMPLES, "noise_variance": variance, "noise": of.noise, "shaping": of.shaping}
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

    pull = {"parameters": at_the_parameters, "backprop": backprop}.get(name, at_the_logits)
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
    due = list(islice(training.schedule(costs.per_step("logits", None, 32, SAMPLES), 10), steps))
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
    of = job(optimizer="sgd", model="mlp", exact="backprop", noise="", shaping="", blackbox="cross_entropy")
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
    of = job(optimizer="sgd", model="mlp", exact="backprop", noise="", shaping="", blackbox="cross_entropy")
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
    group, steps = ((0.01, 0.02), 200) if KINDS[name].get("space") == "parameters" else ((1.0, 0.05), 60)
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


# Scale (theory.md, section 5)


@pytest.mark.parametrize("shaping", ["raw", "maxrl"])
def test_the_network_can_undo_the_scale_of_the_noise(
    shaping: str, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer times c, t times c², that layer's Adam step times c and its ε by c: a run stays as it was."""
    adam, blackbox = menu.load("optimizers", "adam"), menu.load("blackboxes", "zero_one")
    images, epsilon, last = training.Images(digits, [0], "cpu"), adam.EPSILON, slice(2, 4)  # its weight and bias

    def trained(c: float) -> list[Tensor]:
        stack = Stack([initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 10, 16), 0)])
        for parameter in stack.parameters[last]:
            parameter.data.mul_(c)
        gradient = training._gradient(job(shaping=shaping), SAMPLES, [0], torch.tensor([0.25 * c**2]))
        layers = [(slice(0, 2), 1.0), (last, c)]
        states = [adam.initial(stack.parameters[layer]) for layer, _ in layers]
        for step in range(12):
            at = menu.load("spaces", "logits").Space(stack, *images.batch(step, 32, 1), blackbox.fitness)
            with torch.no_grad():
                moved = at.push(gradient(at, step))
                for (layer, scale), state in zip(layers, states, strict=True):
                    monkeypatch.setattr(adam, "EPSILON", epsilon / scale)
                    adam.step(stack.parameters[layer], moved[layer], torch.tensor([0.05 * scale]), 0.0, state)
        return [parameter.detach() for parameter in stack.parameters]

    plain, scaled = trained(1.0), trained(4.0)  # a power of two scales without rounding
    assert all(torch.equal(a, b) for a, b in zip(plain[:2], scaled[:2], strict=True))
    assert all(torch.equal(4 * a, b) for a, b in zip(plain[last], scaled[last], strict=True))


# Tuning


class Planted:
    """Stands for `train`: a run's last accuracy is what `score(t, rate, seed)` says; it remembers its calls."""

    def __init__(self, score: Callable[[float | None, float, int], float]) -> None:
        self.score, self.calls = score, []

    def __call__(
        self,
        of: Job,
        images: Data,
        num_samples: int | None,
        groups: list,
        seeds: list[int],
        steps: int,
        *_: Any,
        ends_only: bool,
    ):
        self.calls.append((groups, seeds, steps))
        for (t, rate), seed, step in product(groups, seeds, (0, steps)):
            yield {
                "noise_variance": t,
                "learning_rate": rate,
                "seed": seed,
                "step": step,
                "validation_accuracy": self.score(t, rate, seed) * (1 if step else -9),  # the start must not count
                "test_accuracy": -self.score(t, rate, seed),  # nor the test
            }


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch, digits: Data) -> Callable:
    def call(score: Callable, variances: tuple = (1.0,), **changes: Any) -> tuple[list[float], Planted, Rows]:
        planted = Planted(score)
        monkeypatch.setattr(training, "train", planted)
        rates, rows = training.tune(job(**changes), digits, SAMPLES, variances, "cpu", lambda steps: None)
        return rates, planted, rows

    return call


def peak(best: float) -> Callable[..., float]:
    return lambda t, rate, seed: 1 - abs(math.log10(rate / best)) / 10


def test_tuning_picks_the_best_rate_and_stops_where_it_lies_inside(tuned: Callable) -> None:
    rates, planted, rows = tuned(peak(0.03))
    assert rates == [0.03]
    assert len(planted.calls) == 1
    assert len(rows) == 3 * 2 * 2  # rates × seeds × first and last row


@pytest.mark.parametrize(
    ("best", "tried", "chosen"), [(1.2, [0.333, 1.11], 1.11), (0.003, [0.00333, 0.00111], 0.00333)]
)
def test_an_optimum_at_the_edge_widens_the_grid_by_its_own_ratio(
    best: float, tried: list[float], chosen: float, tuned: Callable
) -> None:
    rates, planted, rows = tuned(peak(best))
    assert rates == [chosen]
    assert [groups for groups, *_ in planted.calls[1:]] == [[(1.0, rate)] for rate in tried]
    assert len(rows) == 5 * 2 * 2


@pytest.mark.parametrize("max_widenings", [0, 1, 4])
def test_the_grid_is_widened_so_often_and_no_more(max_widenings: int, tuned: Callable) -> None:
    _, planted, _ = tuned(peak(1e9), max_widenings=max_widenings)
    assert len(planted.calls) == 1 + max_widenings


def test_of_equal_rates_the_smallest_is_chosen(tuned: Callable) -> None:
    assert tuned(lambda t, rate, seed: 0.5 + (rate > 0.02))[0] == [0.03]
    assert tuned(lambda t, rate, seed: 0.5, max_widenings=0)[0] == [0.01]


def test_candidates_may_come_in_any_order(tuned: Callable) -> None:
    assert tuned(peak(1.2), learning_rates=(0.1, 0.01, 0.03))[0] == [1.11]


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_a_diverged_run_counts_as_no_accuracy(rate: float, tuned: Callable) -> None:
    """Twenty seeds at a rate, half of them diverged, are worse than .6 at another, though the others ended at .9."""

    def chosen(elsewhere: float, num_seeds: int = 20) -> list[float]:
        def score(t: float, r: float, seed: int) -> float:
            return elsewhere if r != rate else (math.nan if seed % 2 else 0.9)

        return tuned(score, max_widenings=0, num_tuning_seeds=num_seeds)[0]

    assert chosen(0.6) == [0.03 if rate == 0.01 else 0.01]
    assert chosen(0.3) == [rate], "a mean of .45"
    assert chosen(0.5) == [0.01], "√(.9²/4 · 20/19 / 3 / 20) = .06: within a standard error, zeros counted in it too"


def spread_out(means: dict[float, float], errors: dict[float, float]) -> Callable[..., float]:
    """Two seeds above and below each rate's mean by what is, of two, its standard error."""
    return lambda t, rate, seed: means[rate] + (errors[rate] if seed % 2 else -errors[rate])


@pytest.mark.parametrize(("gap", "chosen"), [(0.038, 0.01), (0.0395, 0.03)])
def test_the_smallest_rate_within_a_pooled_standard_error_of_the_best_is_chosen(
    gap: float, chosen: float, tuned: Callable
) -> None:
    """Errors of 0, .03 and .06 pool to √((0 + .03² + .06²)/3) = .0387, neither the best rate's nor the candidate's."""
    means, errors = {0.01: 0.8 - gap, 0.03: 0.8, 0.1: 0.5}, {0.01: 0.0, 0.03: 0.03, 0.1: 0.06}
    rates, planted, _ = tuned(spread_out(means, errors))
    assert rates == [chosen]
    assert len(planted.calls) == 1, "the best lies inside, the grid is not widened though the chosen lies at its edge"


def test_a_rate_between_that_is_worse_does_not_hide_a_smaller_one(tuned: Callable) -> None:
    means = {0.003: 0.5, 0.01: 0.795, 0.03: 0.7, 0.1: 0.8, 0.3: 0.799}
    score = spread_out(means, dict.fromkeys(means, 0.01))
    assert tuned(score, learning_rates=tuple(means))[0] == [0.01]


def test_with_one_seed_no_error_is_known_and_the_best_rate_is_chosen(tuned: Callable) -> None:
    means = {0.01: 0.7999, 0.03: 0.8, 0.1: 0.5}
    assert tuned(lambda t, rate, seed: means[rate], num_tuning_seeds=1)[0] == [0.03]


def test_the_best_rate_at_an_edge_widens_the_grid_whichever_is_chosen(tuned: Callable) -> None:
    """.01 is within an error of .1 and is chosen; beyond .1, which is best, a rate is tried all the same."""
    means = {0.00333: 0.1, 0.01: 0.79, 0.03: 0.78, 0.1: 0.8, 0.333: 0.5}
    rates, planted, _ = tuned(spread_out(means, dict.fromkeys(means, 0.02)))
    assert rates == [0.01]
    assert [groups for groups, *_ in planted.calls[1:]] == [[(1.0, 0.333)]]


def test_the_noise_at_one_variance_lends_no_error_to_another(tuned: Callable) -> None:
    means = {0.01: 0.79, 0.03: 0.8, 0.1: 0.5}

    def score(t: float, rate: float, seed: int) -> float:
        return spread_out(means, dict.fromkeys(means, 0.05 if t == 9 else 0.001))(t, rate, seed)

    assert tuned(score, variances=(1.0, 9.0))[0] == [0.03, 0.01]


def test_each_variance_has_its_own_rate_and_only_those_at_an_edge_go_on(tuned: Callable) -> None:
    rates, planted, _ = tuned(lambda t, rate, seed: peak(0.03 if t == 1 else 0.3)(t, rate, seed), variances=(1.0, 9.0))
    assert rates == [0.03, 0.333]
    assert planted.calls[1][0] == [(9.0, 0.333)]


def test_a_single_candidate_is_not_widened(tuned: Callable) -> None:
    rates, planted, _ = tuned(peak(1.0), learning_rates=(0.01,))
    assert rates == [0.01]
    assert len(planted.calls) == 1


def test_tuning_runs_are_shorter_and_of_other_seeds(tuned: Callable) -> None:
    _, planted, rows = tuned(peak(0.03), max_steps=11)
    assert [(seeds, steps) for _, seeds, steps in planted.calls] == [([1000, 1001], 4)]  # ⌈.3 · 11⌉
    assert {row["seed"] for row in rows}.isdisjoint(job().seeds)


def test_a_cell_is_trained_at_the_rates_that_tuning_chose(digits: Data) -> None:
    of = job(learning_rates=(0.001, 0.05), num_tuning_seeds=1, tuning_fraction=1.0, max_widenings=0)
    cell = training.train_cell(of, digits, SAMPLES, [0.04, 1.0], "cpu", lambda steps: None)
    chosen = {(row["noise_variance"], row["learning_rate"]) for row in cell.records}
    assert chosen == {(0.04, 0.05), (1.0, 0.05)}
    assert {row["seed"] for row in cell.records} == {0, 1}
    assert {row["seed"] for row in cell.tuning} == {1000}
    assert {row["step"] for row in cell.tuning} == {0, 10}


@pytest.mark.parametrize("name", ["independent", "parameters"])
def test_a_cell_s_runs_end_with_the_step_that_reaches_its_queries(name: str, digits: Data) -> None:
    """640 queries are two steps and a half of 8 · 32."""
    of = kind(name, max_queries=640, learning_rates=(0.01,), num_tuning_seeds=1, max_steps=10)
    cell = training.train_cell(of, digits, SAMPLES, [0.04], "cpu", lambda steps: None)
    for seed in (0, 1):
        last = [row for row in cell.records if row["seed"] == seed][-1]
        assert (last["step"], last["queries"]) == (3, 768)
        assert last["test_accuracy"] > 0
    assert max(row["step"] for row in cell.tuning) == 1, "⌈.3 · 3⌉"
