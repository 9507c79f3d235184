"""Black boxes and spaces: what is judged, what comes back, and how a gradient there reaches the parameters."""

import math
from itertools import product

import pytest
import torch

from esgrad import menu
from esgrad.gradients.fitness import Points
from esgrad.kernels.streams import Role, normals
from esgrad.tasks.data import Data
from esgrad.tasks.stack import Stack, initialised

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


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_cross_entropy_is_the_same_whatever_the_layout(order: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, 3, generator=generator) * 30
    back = sorted(range(3), key=order.__getitem__)
    laid_out = logits.permute(order).contiguous().permute(back)
    fitness = menu.load("blackboxes", "cross_entropy").fitness
    targets = torch.randint(3, (5, 7), generator=generator)
    assert laid_out.stride() != logits.stride() or order == (0, 1, 2)
    torch.testing.assert_close(fitness(laid_out, targets), fitness(logits, targets), rtol=1e-6, atol=1e-6)


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
    judge = menu.load("blackboxes", blackbox)
    at = menu.load("spaces", space).place(Stack(networks), images, targets, judge)
    z = normals([3, 4], Role.NOISE, 1, 0, 10, *at.point.shape[1:])
    got = at.fitness(Points(at.point, torch.tensor([0.5, 0.2]).sqrt()[:, None], z))
    assert got.shape == (2, 10, at.point.shape[1])
    assert at.fitness.examples == 5
    assert at.fitness.facts == menu.load("spaces", space).facts(judge)
    points = at.point[:, None] + torch.tensor([0.5, 0.2]).sqrt().view(2, 1, 1, 1) * z
    for run, sample in product(range(2), range(10)):
        point = points[run, sample]
        if space == "parameters":
            for parameter, value in zip(networks[run].parameters(), at.stack.unflatten(point[0]), strict=True):
                parameter.data = value
            point = networks[run](images[run]).detach()
        each = judge.fitness(point.reshape(5, 4), targets[run])
        expected = each if space == "logits" else each.mean(-1, keepdim=True)
        torch.testing.assert_close(got[run, sample], expected)


@pytest.mark.parametrize("blackbox", ["zero_one", "cross_entropy"])
def test_the_logits_push_by_the_chain_rule_of_the_batch_s_mean(blackbox: str) -> None:
    network = initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 4, 7), 0)
    images, targets, gradient = torch.rand(1, 5, 1, 8, 8), torch.zeros(1, 5, dtype=torch.int64), torch.rand(1, 5, 4)
    judge = menu.load("blackboxes", blackbox)
    moved = menu.load("spaces", "logits").place(Stack([network]), images, targets, judge).push(gradient)
    network(images[0]).backward(gradient[0] / 5)
    for got, parameter in zip(moved, network.parameters(), strict=True):
        torch.testing.assert_close(got[0], parameter.grad)


def test_a_batch_pushes_by_the_chain_rule_alone() -> None:
    """Its gradient is one of the batch's mean already: B times what the logits' space makes of the same numbers."""
    network = initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 4, 7), 0)
    images, targets, gradient = torch.rand(1, 5, 1, 8, 8), torch.zeros(1, 5, dtype=torch.int64), torch.rand(1, 5, 4)
    judge = menu.load("blackboxes", "zero_one")
    batch, logits = (
        menu.load("spaces", space).place(Stack([network]), images, targets, judge) for space in ("batch", "logits")
    )
    assert batch.point.shape == (1, 1, 20)
    assert torch.equal(batch.point.view(1, 5, 4), logits.point)
    for one, other in zip(batch.push(gradient.reshape(1, 1, 20)), logits.push(gradient), strict=True):
        torch.testing.assert_close(one, 5 * other)


@pytest.mark.parametrize("space", menu.names("spaces"))
def test_a_space_says_the_shape_of_its_point(space: str) -> None:
    network = initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 4, 7), 0)
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    images, targets = torch.rand(1, 5, 1, 8, 8), torch.zeros(1, 5, dtype=torch.int64)
    module = menu.load("spaces", space)
    point = module.place(Stack([network]), images, targets, menu.load("blackboxes", "zero_one")).point
    assert point.shape[1:] == module.shape(5, 4, num_parameters)
