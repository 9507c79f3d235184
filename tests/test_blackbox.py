"""`esgrad.blackbox`: what its backward pass estimates, for each kind of function."""

from collections.abc import Callable
from math import exp, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import esgrad
from esgrad.differentiable import called
from tests.boxes import COPIES, TWO_VARIANCES, X, draws, gradients, made
from tests.estimating import assert_mean

# Laws: the mean is the gradient of the smoothed function, at two σ


@TWO_VARIANCES
@pytest.mark.parametrize("noise", ["independent", "mirrored", "orthogonal", "quasi", "gumbel"])
def test_a_constant_has_no_gradient(noise: str, t: float) -> None:
    f = made(lambda x: torch.full_like(x[:, 0], 5.0), noise=noise, noise_variance=t)
    assert_mean(draws(f), torch.zeros(3, dtype=torch.float64))


@TWO_VARIANCES
@pytest.mark.parametrize("noise", ["independent", "mirrored", "orthogonal", "quasi", "gumbel"])
def test_a_linear_function_s_gradient_is_its_slope(noise: str, t: float) -> None:
    slope = torch.tensor([2.0, -1.0, 0.5])
    assert_mean(draws(made(lambda x: x @ slope, noise=noise, noise_variance=t)), slope.double())


@TWO_VARIANCES
def test_a_quadratic_s_gradient_is_that_at_the_centre(t: float) -> None:
    curvature = torch.tensor([1.0, -0.5, 2.0])
    f = made(lambda x: (curvature * x * x).sum(-1) / 2, noise_variance=t)
    assert_mean(draws(f), (curvature * X).double())


@TWO_VARIANCES
def test_a_smooth_function_s_gradient_is_that_of_its_smoothed_form(t: float) -> None:
    """E sin(x + q) = e^(−t/2) sin x for Gaussian q."""
    assert_mean(draws(made(lambda x: x.sin().sum(-1), noise_variance=t)), (exp(-t / 2) * X.cos()).double())


@TWO_VARIANCES
def test_a_step_s_gradient_is_the_density(t: float) -> None:
    density = torch.distributions.Normal(0.0, sqrt(t)).log_prob(X).exp()
    assert_mean(draws(made(lambda x: (x > 0).float().sum(-1), noise_variance=t)), density.double())


@TWO_VARIANCES
def test_what_comes_from_above_weighs_the_answers_of_a_function_of_many(t: float) -> None:
    """fitness = v·fn(x + q): the vector's pull-back, Aᵀv."""
    matrix = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
    above = torch.tensor([0.5, -2.0])
    f = made(lambda x: x @ matrix.T, noise_variance=t)
    x = X.expand(COPIES, 3).clone().requires_grad_()
    (f(x) @ above).sum().backward()
    assert_mean(x.grad.double(), (matrix.T @ above).double())  # type: ignore[union-attr]


def test_what_comes_from_above_scales_the_gradient_of_a_number() -> None:
    f = made(lambda x: x.sin().sum(-1))
    x = X.expand(4, 3)
    plain = gradients(f, x, step=3)
    scaled = x.clone().requires_grad_()
    (f(scaled, step=3) * torch.tensor([1.0, 2.0, 0.0, -4.0])).sum().backward()
    assert torch.equal(scaled.grad, plain * torch.tensor([[1.0], [2.0], [0.0], [-4.0]]))


@TWO_VARIANCES
def test_one_answer_for_a_batch_perturbs_it_as_a_whole(t: float) -> None:
    f = made(lambda x: (x[0] * x[1]).sum(), num_samples=4, noise_variance=t)
    x = torch.tensor([[0.5, -1.0], [2.0, 0.3]])
    found = torch.stack([gradients(f, x, step=step) for step in range(4000)])
    assert_mean(found.double(), x.flip(0).double())
    assert f.queries == 4000 * (1 + 4) * 2, "a query is an example judged once"


def test_batch_dims_tell_tokens_apart() -> None:
    """[B, T, K] judged token by token is [B·T, K] judged one by one, to the bit."""
    x = torch.linspace(-1, 1, 2 * 3 * 4).reshape(2, 3, 4)
    together = gradients(made(lambda x: x.sin().sum(-1), batch_dims=2), x, step=1)
    flat = gradients(made(lambda x: x.sin().sum(-1)), x.flatten(0, 1), step=1)
    assert torch.equal(together.flatten(0, 1), flat)


def test_without_batch_dims_all_is_one_example() -> None:
    x = torch.tensor([0.2, -0.4])
    alone = gradients(made(lambda x: x.sin().sum(), batch_dims=0), x, step=2)
    assert torch.equal(alone, gradients(made(lambda x: x.sin().sum(-1)), x[None], step=2)[0])


# The hits of es_gradient


@pytest.mark.parametrize(
    "words",
    [
        {"shaping": "raw"},
        {"shaping": "maxrl"},
        {"shaping": "centered_ranks", "noise": "mirrored"},
        {"credit": "class", "noise": "gumbel", "shaping": "success"},
        {"credit": "class", "noise": "independent", "shaping": "leave_one_out"},
    ],
    ids=str,
)
def test_hits_of_a_target_give_es_gradient_to_the_bit(words: dict[str, str]) -> None:
    logits, targets = torch.linspace(-1, 1, 60).reshape(6, 10), torch.arange(6)
    of_classes = words.get("credit") == "class"

    def hit(seen: Tensor, targets: Tensor) -> Tensor:
        return (seen if of_classes else seen.argmax(-1)) == targets

    asked: dict[str, Any] = {"num_samples": 12, "noise_variance": 0.5, "seed": 3} | words
    found = gradients(esgrad.blackbox(hit, **asked), logits, targets, step=4, offset=2)
    assert torch.equal(found, esgrad.es_gradient(logits, targets, step=4, offset=2, **asked))
    assert found.abs().sum() > 0


def test_a_function_of_classes_is_handed_whole_numbers() -> None:
    seen = []

    def judge(classes: Tensor) -> Tensor:
        seen.append(classes)
        return classes[:, 0] + classes[:, 1] == 3

    f = made(judge, credit="class", noise="gumbel")
    assert gradients(f, torch.zeros(5, 2, 4)).shape == (5, 2, 4)
    assert all(classes.dtype == torch.int64 and classes.shape[1:] == (2,) for classes in seen)
    assert [len(classes) for classes in seen] == [5, 8 * 5]
    with torch.no_grad():
        assert f(torch.eye(4)[None, :2]).tolist() == [0.0]


# What suits an answer


@pytest.mark.parametrize(
    ("options", "binary", "expected"),
    [
        ({}, False, "leave_one_out"),
        ({}, True, "leave_one_out"),
        ({"num_samples": 1}, False, "raw"),
        ({"noise": "mirrored"}, False, "raw"),
        ({"noise": "quasi"}, False, "raw"),
        ({"credit": "class"}, True, "success"),
        ({"credit": "class"}, False, "leave_one_out"),
        ({"credit": "class", "num_samples": 1}, False, "raw"),
    ],
)
def test_without_a_shaping_the_one_that_suits_is_taken(options: dict[str, Any], binary: bool, expected: str) -> None:
    settings = made(lambda x: x, **options).settings
    assert settings.estimator(binary).shaping.__name__.endswith(f".{expected}")


# Several inputs, masks, parts


def test_inputs_that_require_a_gradient_get_noise_and_the_others_their_own_examples() -> None:
    handed = []

    def product(x: Tensor, y: Tensor) -> Tensor:
        handed.append((x, y))
        return (x * y).sum(-1)

    x, y = torch.ones(3, 2), torch.arange(6.0).reshape(3, 2)
    found = gradients(made(product, num_samples=4000), x, y)
    assert torch.allclose(found, y, atol=0.7)
    assert torch.equal(handed[1][1], y.repeat(len(handed[1][1]) // 3, 1)), "each sample meets its own y"


def test_each_input_may_have_a_t_of_its_own() -> None:
    """The estimate at an input scales with the others' σ only by what they add to the fitness."""
    x = torch.zeros(COPIES, 1, requires_grad=True)
    y = torch.zeros(COPIES, 2, requires_grad=True)
    f = made(lambda x, y: x[:, 0].sin() + y.sum(-1).sin(), noise_variance=(0.04, 1.0))
    f(x, y).sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert_mean(x.grad.double(), torch.tensor([exp(-0.02)]).double())
    assert_mean(y.grad.double(), torch.tensor([exp(-1.0)] * 2).double())


def test_an_input_without_noise_keeps_its_exact_gradient() -> None:
    x, y = torch.ones(3, 2, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    made(lambda x, y: (x * y * y).sum(-1), inputs=[0])(x, y).sum().backward()
    assert torch.equal(y.grad, torch.full((3, 2), 2.0))
    assert not torch.equal(x.grad, torch.ones(3, 2))


def test_parameters_within_the_function_get_their_exact_gradient() -> None:
    head = nn.Linear(2, 1)
    f = made(lambda x: head(x.round())[:, 0])
    gradients(f, torch.tensor([[1.2, 3.4], [0.1, 0.7]]))
    assert torch.equal(-head.weight.grad, torch.tensor([[1.0, 4.0]]))
    module = made(head)
    assert len(list(module.parameters())) == 2, "a module's parameters are found by an optimizer"


def test_where_the_mask_is_false_nothing_is_judged() -> None:
    def judge(x: Tensor) -> Tensor:
        return torch.where(x[..., 0].abs() < 5, x.sum(-1), torch.nan)

    x = torch.tensor([[0.1, 0.2], [float("nan"), 9.0], [0.3, 0.4]])
    f, mask = made(judge), torch.tensor([True, False, True])
    found = gradients(f, x, mask=mask, step=0)
    assert torch.equal(found[1], torch.zeros(2))
    assert torch.equal(found[mask], gradients(made(judge), x.nan_to_num(), step=0)[mask])
    assert f.queries == 2 + 8 * 2


@pytest.mark.parametrize("most", [1, 3, 4, 7, 1000])
@pytest.mark.parametrize("credit", ["noise", "class"])
def test_no_more_examples_than_asked_for_are_handed_over_and_nothing_changes(most: int, credit: str) -> None:
    counts = []

    def judge(x: Tensor) -> Tensor:
        counts.append(len(x))
        return (x if credit == "class" else x.argmax(-1)) == 1

    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    whole = gradients(made(judge, credit=credit), x, step=0)
    counts.clear()
    assert torch.equal(gradients(made(judge, credit=credit, max_examples=most), x, step=0), whole)
    assert max(counts[1:]) <= most


@pytest.mark.parametrize(
    "shaping", ["raw", "leave_one_out", "best_baseline", "maxrl", "success", "z_score", "centered_ranks"]
)
def test_many_examples_are_taken_in_blocks_and_nothing_changes(shaping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, also where the answers are no whole numbers and their sums are rounded."""

    def judge(x: Tensor) -> Tensor:
        return (x * x).sum(-1)

    x = torch.linspace(-1, 1, 60).reshape(20, 3)
    whole = gradients(made(judge, shaping=shaping, num_samples=50), x, step=0)
    monkeypatch.setattr("esgrad.differentiable.call.BLOCK", 16 * 3 * 6)
    assert torch.equal(gradients(made(judge, shaping=shaping, num_samples=50), x, step=0), whole)


def test_blocks_change_nothing_where_an_example_is_answered_with_many_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.linspace(-1, 1, 60).reshape(20, 3)
    whole = gradients(made(lambda x: x * x), x, step=0)
    monkeypatch.setattr("esgrad.differentiable.call.BLOCK", 16 * 3 * 6)
    assert torch.equal(gradients(made(lambda x: x * x), x, step=0), whole)


@pytest.mark.parametrize("answer", [list, np.asarray, Tensor.tolist, Tensor.numpy, Tensor.long, Tensor.bool])
def test_a_list_an_array_and_whole_numbers_will_do(answer: Callable[[Tensor], Any]) -> None:
    x = torch.linspace(-1, 1, 12).reshape(4, 3)
    expected = gradients(made(lambda x: (x[:, 0] > 0).float()), x, step=0)
    found = gradients(made(lambda x: answer((x[:, 0] > 0).float())), x, step=0)
    assert torch.allclose(found, expected) if answer in (Tensor.bool, Tensor.long) else torch.equal(found, expected)


def test_long_answers_are_asked_for_a_few_samples_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def long(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x.sin().repeat(1, 50)

    whole = gradients(made(long), X.expand(2, 3), step=0)
    monkeypatch.setattr(called, "PART", 600)  # an answer to the batch has 300 numbers
    assert torch.equal(gradients(made(long), X.expand(2, 3), step=0), whole)
    assert asked == [2, 16, 2, 4, 4, 4, 4]
