"""Optimizers and networks over stacks: each is its torch namesake, and no bit of a run depends on its stack."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from esgrad import menu
from esgrad.tasks.stack import Stack, initialised

# Optimizers


class PlainClipUp(torch.optim.Optimizer):
    """Algorithm 1 of arXiv 2008.02387 for one run, on one vector of all parameters."""

    def __init__(self, parameters: list[Tensor], lr: float, maximize: bool, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        assert maximize
        self.velocity = torch.zeros(sum(parameter.numel() for parameter in parameters))

    def step(self) -> None:
        (group,) = self.param_groups
        at = nn.utils.parameters_to_vector(group["params"]).detach()
        gradient = torch.cat([parameter.grad.flatten() for parameter in group["params"]])
        gradient = gradient - group["weight_decay"] * at
        self.velocity = 0.9 * self.velocity + group["lr"] * gradient / gradient.norm()
        if self.velocity.norm() > 2 * group["lr"]:
            self.velocity *= 2 * group["lr"] / self.velocity.norm()
        with torch.no_grad():
            nn.utils.vector_to_parameters(at + self.velocity, group["params"])


NAMESAKES = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "clip_up": PlainClipUp,
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", menu.names("optimizers"))
def test_an_optimizer_equals_its_torch_namesake(name: str, weight_decay: float) -> None:
    """Twenty steps of three runs, a learning rate each, against three optimizers of torch's; clip_up's twin is here."""
    optimizer = menu.load("optimizers", name)
    namesake = NAMESAKES[name]
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
    """Logits and gradients of the first run, alone and beside others."""
    build = menu.load("models", model).build
    networks = [initialised(lambda: build((1, 28, 28), 10, 128), seed) for seed in range(10)]
    generator = torch.Generator().manual_seed(0)
    images, pull = torch.rand(10, 64, 1, 28, 28, generator=generator), torch.randn(10, 64, 10, generator=generator)

    def first(runs: int) -> list[Tensor]:
        stack = Stack(networks[:runs])
        logits = stack(images[:runs])
        moved = torch.autograd.grad(logits, stack.parameters, pull[:runs])
        return [logits[0], *(gradient[0] for gradient in moved)]

    for runs in (2, 10):
        assert all(map(torch.equal, first(1), first(runs)))


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


# Rates


@pytest.mark.parametrize("name", menu.names("rate_schedules"))
def test_a_rate_begins_as_it_was_chosen_and_never_grows(name: str) -> None:
    factor = menu.load("rate_schedules", name).factor
    factors = [factor(step / 100) for step in range(100)]
    assert factors[0] == 1
    assert factors == sorted(factors, reverse=True)
    assert min(factors) > 0


def test_rates_are_what_their_names_say() -> None:
    at = {name: menu.load("rate_schedules", name).factor(1 / 3) for name in menu.names("rate_schedules")}
    assert at == pytest.approx({"constant": 1, "linear": 2 / 3, "cosine": 3 / 4})


def test_clip_up_stays_where_nothing_climbs() -> None:
    optimizer, ours = menu.load("optimizers", "clip_up"), [torch.ones(2, 3)]
    optimizer.step(ours, [torch.zeros(2, 3)], torch.tensor([0.1, 1.0]), 0.0, optimizer.initial(ours))
    assert torch.equal(ours[0], torch.ones(2, 3))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_clip_up_moves_as_far_however_small_or_large_a_gradient_is(size: float) -> None:
    """Squares of which float32 cannot hold."""
    optimizer, ours = menu.load("optimizers", "clip_up"), [torch.zeros(1, 4)]
    optimizer.step(ours, [torch.full((1, 4), size)], torch.tensor([0.1]), 0.0, optimizer.initial(ours))
    torch.testing.assert_close(ours[0], torch.full((1, 4), 0.05))


# The chain rule


@pytest.mark.parametrize("runs", [1, 7])
@pytest.mark.parametrize("axes", [(), (2,)])
@pytest.mark.parametrize(
    ("model", "side", "hidden"), [("linear", 8, 5), ("mlp", 8, 32), ("mlp", 28, 128), ("cnn", 8, 5)]
)
def test_logits_and_gradients_are_those_of_vmap_and_autograd_to_the_bit(
    model: str, side: int, hidden: int, axes: tuple[int, ...], runs: int
) -> None:
    build = menu.load("models", model).build
    stack = Stack([initialised(lambda: build((1, side, side), 10, hidden), seed) for seed in range(runs)])
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(runs, 32, *axes, 1, side, side, generator=generator)
    upstream = torch.randn(runs, 32, 10 * math.prod(axes), generator=generator)
    logits, pull = stack.vjp(images)
    found = pull(upstream)
    assert (stack.plain is None) == (model == "cnn")
    stack.plain = None
    expected = stack(images)
    assert torch.equal(logits, expected)
    for each, other in zip(found, stack.chain(expected, upstream), strict=True):
        assert torch.equal(each, other)


def test_the_compiled_adam_has_the_bits_of_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    adam, generator = menu.load("optimizers", "adam"), torch.Generator().manual_seed(0)
    shapes = [(3, 128, 784), (3, 7, 5), (3, 1), (3,)]
    ours = [torch.randn(shape, generator=generator) for shape in shapes]
    theirs = [each.clone() for each in ours]
    states = adam.initial(ours), adam.initial(theirs)
    rate = torch.tensor([0.001, 0.01, 0.1])
    for number in range(12):
        gradients = [torch.randn(shape, generator=generator) * 10.0 ** (number % 5 - 3) for shape in shapes]
        gradients[1] = gradients[1].transpose(1, 2).contiguous().transpose(1, 2)
        adam.step(ours, gradients, rate, 0.01 * (number % 2), states[0])
        with monkeypatch.context() as patch:
            patch.setattr(adam.compiled, "AVAILABLE", False)
            adam.step(theirs, gradients, rate, 0.01 * (number % 2), states[1])
        for key in ("mean", "square"):
            assert all(map(torch.equal, states[0][key], states[1][key]))
        assert all(map(torch.equal, ours, theirs))


def test_adam_moves_a_parameter_where_it_lies_however_that_is() -> None:
    adam, generator = menu.load("optimizers", "adam"), torch.Generator().manual_seed(0)
    turned = torch.randn(3, 5, 7, generator=generator).transpose(1, 2)
    plain = turned.contiguous()
    gradient, rate = torch.randn(3, 7, 5, generator=generator), torch.tensor([0.001, 0.01, 0.1])
    for parameter in (turned, plain):
        adam.step([parameter], [gradient], rate, 0.0, adam.initial([parameter]))
    assert not turned.is_contiguous()
    assert torch.equal(turned, plain)
