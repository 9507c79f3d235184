"""Networks around a network: what they make of a batch equals so many networks, whatever is computed together."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from esgrad import menu
from esgrad.gradients import directions as sources
from esgrad.gradients import factors, population
from esgrad.gradients.credits import noise as credit
from esgrad.gradients.key import Key
from esgrad.gradients.spaces import parameters
from esgrad.kernels import compiled, parallel
from esgrad.tasks.chains import Chains, around
from esgrad.tasks.layers import layers
from esgrad.tasks.members import AnyNetworks, Given
from esgrad.tasks.stack import Stack, initialised

SEEDS, GROUP, COUNT, BATCH = 3, 2, 4, 6
EVERY = slice(0, COUNT)
NETWORKS = {
    **{name: (lambda name=name: menu.load("models", name).build((1, 8, 8), 4, 12)) for name in menu.names("models")},
    "no biases": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8, bias=False), nn.Tanh(), nn.Linear(8, 4, bias=False)
    ),
    "strides": lambda: nn.Sequential(
        nn.Conv2d(1, 3, (3, 2), stride=(2, 1), padding=(0, 1), bias=False), nn.SiLU(), nn.Conv2d(3, 2, 3),
        nn.Flatten(), nn.Linear(2 * 7, 4),
    ),
    "parts": lambda: nn.Sequential(nn.Sequential(nn.Flatten(), nn.Identity()), nn.Sequential(nn.Linear(64, 4))),
    "large": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 4)),
    "large, odd": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 258), nn.ReLU(), nn.Linear(258, 4)),
}  # fmt: skip


class Residual(nn.Module):
    """What no chain is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 64), nn.Linear(64, 4)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return self.last(flat + self.first(flat).relu())


def stack_of(build: object, runs: int = SEEDS * GROUP) -> Stack:
    return Stack([initialised(build, seed) for seed in range(runs)])


def batch(axes: tuple[int, ...] = ()) -> Tensor:
    """Images of each run, those of a seed alike, with pixels that are always 0."""
    images = torch.rand(SEEDS, BATCH, *axes, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images[..., :3] = 0
    return images.repeat_interleave(GROUP, 0)


def walks(stack: Stack, signs: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(SEEDS, COUNT, stack.flat().shape[1], generator=generator)
    sigma = torch.rand(SEEDS, GROUP, generator=generator) + 0.1
    return directions, torch.stack([sigma, -sigma][:signs], -1)


@pytest.mark.parametrize("signs", [1, 2])
@pytest.mark.parametrize("axes", [(), (2,)])
@pytest.mark.parametrize("name", [*NETWORKS, "residual"])
def test_members_are_as_many_networks(name: str, axes: tuple[int, ...], signs: int) -> None:
    """Each is built by itself, by torch's own rules."""
    stack, images = stack_of(NETWORKS.get(name, Residual)), batch(axes)
    directions, steps = walks(stack, signs)
    found = around(stack, images, SEEDS).logits(Given(directions), steps, slice(0, SEEDS), EVERY)
    assert found.shape == (SEEDS, GROUP, COUNT, signs, BATCH, 4 * len(axes or (1,)) * (axes or (1,))[0])
    network = NETWORKS.get(name, Residual)()
    for s, g, n, k in product(range(SEEDS), range(GROUP), range(COUNT), range(signs)):
        run = s * GROUP + g
        vector = stack.flat()[run] + steps[s, g, k] * directions[s, n]
        for parameter, value in zip(network.parameters(), stack.unflatten(vector), strict=True):
            parameter.data = value
        logits = network(images[run].flatten(0, -4)).reshape(BATCH, -1)
        torch.testing.assert_close(found[s, g, n, k], logits, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_chain_is_known_and_equals_vmap(name: str) -> None:
    stack, images = stack_of(NETWORKS[name]), batch()
    directions, steps = walks(stack, 2)
    chain = around(stack, images, SEEDS)
    assert isinstance(chain, Chains)
    assert (chain.seen is not None) == (name == "large")
    for part in (slice(0, SEEDS), slice(1, 2)):
        some = Given(directions[part]), steps[part], part, EVERY
        expected = AnyNetworks(stack, images, SEEDS).logits(*some)
        torch.testing.assert_close(chain.logits(*some), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "build",
    [
        Residual,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Softmax(-1)),
        lambda: nn.Sequential(nn.Linear(8, 4), nn.Flatten()),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(256, 4)),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, dilation=2), nn.Flatten(), nn.Linear(64, 4)),
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding="same"), nn.Flatten(), nn.Linear(256, 4)),
        lambda: nn.Sequential(nn.MaxPool2d(3, stride=1), nn.Flatten(), nn.Linear(36, 4)),
        lambda: nn.Sequential(nn.Flatten(0), nn.Linear(64, 4)),
    ],
)
def test_what_is_no_chain_of_known_layers_is_run_as_it_is(build: object) -> None:
    network = initialised(build, 0)
    assert layers(network, [name for name, _ in network.named_parameters()]) is None


def test_a_layer_that_is_there_twice_is_no_chain() -> None:
    """Its parameters have one name: the second of them would be looked for in vain."""
    twice = nn.Linear(8, 8)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), twice, twice)
    assert layers(network, [name for name, _ in network.named_parameters()]) is None


def asked(at: parameters.AtParameters, noise: str, num_samples: int, plain: bool = True) -> credit.Asked:
    variance = torch.linspace(0.01, 0.2, len(at.point))
    arguments = menu.load("noises", noise), num_samples, at.fitness, at.point, variance, Key([5, 6, 9], 2, 4)
    return credit.ask(*arguments) if plain else credit.Asked(*arguments)


def place(name: str, blackbox: str = "cross_entropy") -> parameters.AtParameters:
    targets = torch.arange(BATCH).expand(SEEDS * GROUP, -1) % 4
    return parameters.place(stack_of(NETWORKS.get(name, Residual)), batch(), targets, menu.load("blackboxes", blackbox))


class Twice(nn.Linear):
    """A class of its own, which does something else than that which it comes from."""

    def forward(self, numbers: Tensor) -> Tensor:
        return 2 * super().forward(numbers)


class Steep(nn.ReLU):
    def forward(self, numbers: Tensor) -> Tensor:
        return 3 * numbers


class Narrow(nn.Conv2d):
    def forward(self, numbers: Tensor) -> Tensor:
        return super().forward(numbers).tanh()


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    network[1].register_forward_hook(lambda module, given, made: 3 * made)
    return network


def hooked_as_a_whole() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    network.register_forward_pre_hook(lambda module, given: (given[0] + 1,))
    return network


def replaced() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    network[1].forward = lambda numbers: numbers[..., :4]
    return network


def one_bias() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Linear(4, 4))
    network[2].bias = network[1].bias
    return network


def convolved(pool: nn.Module, **words: object) -> nn.Module:
    last = nn.LazyLinear(4)
    network = nn.Sequential(nn.Conv2d(1, 2, 3, **words), nn.Conv2d(2, 4, 2), pool, nn.Flatten(), last)
    network(torch.zeros(1, 1, 8, 8))
    return network


OTHERS = {
    "its own linear layer": lambda: nn.Sequential(nn.Flatten(), Twice(64, 4)),
    "its own function": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4), Steep()),
    "its own convolution": lambda: nn.Sequential(Narrow(1, 2, 3), nn.Flatten(), nn.Linear(72, 4)),
    "a hook": hooked,
    "a hook of the whole": hooked_as_a_whole,
    "another forward": replaced,
    "one bias for two layers": one_bias,
    "groups": lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 4, 2, groups=2), nn.Flatten(), nn.Linear(100, 4)),
    "a dilated convolution": lambda: convolved(nn.Identity(), dilation=2),
    "a reflecting convolution": lambda: convolved(nn.Identity(), padding=1, padding_mode="reflect"),
    "a pool with a rest": lambda: convolved(nn.MaxPool2d(2, ceil_mode=True)),
    "a padded pool": lambda: convolved(nn.MaxPool2d(3, 3, padding=1)),
    "a dilated pool": lambda: convolved(nn.MaxPool2d(2, 2, dilation=2)),
    "windows that overlap": lambda: convolved(nn.MaxPool2d(2, 1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_like_a_layer_is_run_as_it_is(name: str) -> None:
    stack, images = Stack([OTHERS[name]()]), batch()[:1]
    assert layers(stack.network, stack.names) is None
    torch.testing.assert_close(stack(images)[0], stack.network(images[0]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", ["independent", "mirrored"])
@pytest.mark.parametrize("name", ["mlp", "cnn", "large"])
def test_a_population_is_what_any_samples_are(name: str, noise: str) -> None:
    """Fitness, norms and sums, beside the way of noises that are not plain."""
    found, expected = (asked(place(name), noise, 38, plain) for plain in (True, False))
    assert isinstance(found, population.Population)
    assert isinstance(expected, credit.Asked)
    torch.testing.assert_close(found.fitness, expected.fitness, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.norms(), expected.norms(), rtol=1e-5, atol=0)
    weights = torch.randn(SEEDS * GROUP, 38, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.total(weights), expected.total(weights), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["mlp", "cnn", "large"])
def test_no_bit_of_a_population_depends_on_what_is_asked_together(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = asked(place(name), "mirrored", 38)
    weights = torch.randn(SEEDS * GROUP, 38, 1, generator=torch.Generator().manual_seed(0))
    for room, threads in ((1, 1), (10_000, 2), (100_000, 1), (2**30, 2)):
        monkeypatch.setattr(population, "ROOM", room)
        parallel.use(threads)
        try:
            other = asked(place(name), "mirrored", 38)
            assert torch.equal(other.fitness, whole.fitness)
            assert torch.equal(other.norms(), whole.norms())
            assert torch.equal(other.total(weights), whole.total(weights))
        finally:
            parallel.use(1)


@pytest.mark.parametrize("model", menu.names("models"))
def test_no_bit_of_a_member_depends_on_the_stack_at_the_size_of_mnist_either(model: str) -> None:
    """Those around the first run, alone and beside others, one by one and together."""
    build = menu.load("models", model).build
    networks = [initialised(lambda: build((1, 28, 28), 10, 128), seed) for seed in range(6)]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 32, 1, 28, 28, generator=generator).repeat_interleave(2, 0)
    directions = torch.randn(3, 5, Stack(networks[:1]).flat().shape[1], generator=generator)
    steps = torch.tensor([0.1, -0.1]).expand(3, 2, 2)
    together = around(Stack(networks), images, 3).logits(Given(directions), steps, slice(0, 3), EVERY)[0, 0]
    alone = around(Stack(networks[:1]), images[:1], 1)
    for n in range(5):
        own = alone.logits(Given(directions[:1, n : n + 1]), steps[:1, :1], slice(0, 1), EVERY)[0, 0, 0]
        assert torch.equal(own, together[n])


@pytest.mark.parametrize("noise", ["mirrored", "low_rank"])
@pytest.mark.parametrize("name", [*NETWORKS, "residual"])
def test_no_bit_of_a_population_depends_on_numba(name: str, noise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, weights = asked(place(name), noise, 38), torch.ones(SEEDS * GROUP, 38, 1).cumsum(1)
    total = whole.total(weights)
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    other = asked(place(name), noise, 38)
    assert torch.equal(other.fitness, whole.fitness)
    assert torch.equal(other.total(weights), total)


def test_nor_with_batches_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.stack([batch() + 0.1 * number for number in range(19)], 1)
    targets = torch.arange(BATCH).expand(SEEDS * GROUP, 19, -1) % 4
    stack, judge = stack_of(NETWORKS["mlp"]), menu.load("blackboxes", "cross_entropy")
    at = parameters.configured(own_batches=True).place(stack, images, targets, judge)
    whole = asked(at, "mirrored", 38).fitness
    monkeypatch.setattr(compiled, "AVAILABLE", False)
    assert torch.equal(asked(at, "mirrored", 38).fitness, whole)


@pytest.mark.parametrize("samples", [24, 100, 600])
@pytest.mark.parametrize("group", [1, 3])
def test_no_bit_of_a_sum_of_low_rank_depends_on_other_runs(group: int, samples: int) -> None:
    source = factors.LowRank(((128, 40), (128,), (10, 128), (10,)), 1)
    weights = torch.randn(3, group, samples, generator=torch.Generator().manual_seed(0))
    whole = source.at(Key([5, 6, 9], 2, 4), torch.device("cpu")).sum(weights, square=False)
    for seed, of in enumerate((5, 6, 9)):
        step = source.at(Key([of], 2, 4), torch.device("cpu"))
        for run in range(group):
            alone = step.sum(weights[seed : seed + 1, run : run + 1], square=False)
            assert torch.equal(alone[0, 0], whole[seed, run])


def test_a_population_never_holds_its_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor of noise made for 400 samples is that for some of them."""
    largest = 0
    blocks = sources.streams.blocks

    def watched(*arguments: object, **words: object) -> Tensor:
        nonlocal largest
        made = blocks(*arguments, **words)
        largest = max(largest, made.numel())
        return made

    monkeypatch.setattr(sources.streams, "blocks", watched)
    monkeypatch.setattr(population, "ROOM", 2**18)
    at = place("large")
    asked(at, "mirrored", 400).total(torch.ones(SEEDS * GROUP, 400, 1))
    assert 0 < largest <= 2**18 < 200 * at.point.shape[-1]


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("name", ["mlp", "cnn", "large", "no biases"])
def test_low_rank_members_are_networks_at_products_of_factors(
    name: str, rank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitness, norms and sums, beside networks and sums made of the whole directions."""
    noise, at = menu.load("noises", "low_rank"), place(name)
    monkeypatch.setattr(noise, "RANK", rank)
    key, shapes = Key([5, 6, 9], 2, 4), tuple(tuple(each.shape[1:]) for each in at.stack.parameters)
    step = factors.LowRank(shapes, rank).at(key, torch.device("cpu"))
    z = step.drawn(slice(0, SEEDS), slice(0, 19)).between(0, at.point.shape[-1])  # [S, n, d]
    for shape, each in zip(shapes, at.stack.unflatten(z), strict=True):
        if len(shape) > 1:
            assert torch.linalg.matrix_rank(each.flatten(3)[0, 0]) == min(rank, shape[0], math.prod(shape[1:]))
    assert z.var().item() == pytest.approx(1, abs=0.15)
    found = asked(at, "low_rank", 38)
    both = torch.stack([z, -z], 2).flatten(1, 2)  # [S, N, d]
    sigma = torch.linspace(0.01, 0.2, SEEDS * GROUP).sqrt().view(SEEDS, GROUP)
    members = AnyNetworks(at.stack, at.images, SEEDS)
    logits = members.logits(Given(z), torch.stack([sigma, -sigma], -1), slice(0, SEEDS), slice(0, 19))
    targets = at.targets.view(SEEDS, GROUP, 1, 1, -1)
    expected = at.blackbox.fitness(logits, targets).mean(-1).flatten(2).flatten(0, 1)
    torch.testing.assert_close(found.fitness[..., 0], expected, rtol=1e-4, atol=1e-4)
    norms = both.square().sum(-1).repeat_interleave(GROUP, 0)
    torch.testing.assert_close(found.norms()[..., 0], norms, rtol=1e-4, atol=0)
    weights = torch.randn(SEEDS * GROUP, 38, 1, generator=torch.Generator().manual_seed(0))
    summed = weights[..., 0].view(SEEDS, GROUP, 38) @ both / sigma[..., None]
    torch.testing.assert_close(found.total(weights)[:, 0], summed.flatten(0, 1), rtol=1e-4, atol=5e-4)
    monkeypatch.setattr(population, "ROOM", 1)
    one_by_one = asked(at, "low_rank", 38)
    assert torch.equal(one_by_one.fitness, found.fitness)
    assert torch.equal(one_by_one.total(weights), found.total(weights))


def test_threads_work_on_parts_in_any_order_and_give_them_in_theirs() -> None:
    parallel.use(3)
    try:
        assert parallel.each(lambda number: number**2, range(50)) == [number**2 for number in range(50)]
        with pytest.raises(ZeroDivisionError):
            parallel.each(lambda number: 1 / number, range(3))
    finally:
        parallel.use(1)
