"""`esgrad.blackbox`: what its backward pass estimates, for each kind of function, and what it refuses."""

import copy
from collections.abc import Callable
from math import exp, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import esgrad
from tests.estimating import assert_mean

COPIES = 20_000
TWO_VARIANCES = pytest.mark.parametrize("t", [0.04, 1.44])
X = torch.tensor([0.3, -0.7, 1.1])
Function = Callable[..., Any]


def made(fn: Function, **options: Any) -> Any:
    return esgrad.blackbox(fn, **{"num_samples": 8, "noise_variance": 0.25, "seed": 0} | options)


def gradients(f: Any, x: Tensor, *others: Tensor, **options: Any) -> Tensor:
    """The gradient of the sum of what is answered, at x."""
    x = x.detach().clone().requires_grad_()
    f(x, *others, **options).sum().backward()
    assert x.grad is not None
    return x.grad


def draws(f: Any, x: Tensor = X) -> Tensor:
    """Independent estimates [copies, ...] at x."""
    return gradients(f, x.expand(COPIES, *x.shape)).double()


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
    assert torch.equal(head.weight.grad, torch.tensor([[1.0, 4.0]]))
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


# Steps, places and what is remembered


def test_a_call_is_a_step_and_no_two_steps_see_the_same_noise() -> None:
    f = made(lambda x: x.sin().sum(-1))
    x = X.expand(2, 3)
    first, second = gradients(f, x), gradients(f, x)
    assert not torch.equal(first, second)
    assert torch.equal(first, gradients(f, x, step=0))
    assert torch.equal(second, gradients(f, x, step=1))
    assert f.step == 2, "a step that is handed over is not counted"


def test_a_call_without_a_gradient_is_no_step() -> None:
    f = made(lambda x: x.sum(-1))
    f(X[None])
    with torch.no_grad():
        f(X[None].requires_grad_())
    assert (f.step, f.queries) == (0, 2)


def test_a_state_that_is_taken_up_again_goes_on_with_fresh_noise() -> None:
    f = made(lambda x: x.sum(-1))
    gradients(f, X[None])
    saved = copy.deepcopy(f.state_dict())
    expected = gradients(f, X[None])
    again = made(lambda x: x.sum(-1))
    again.load_state_dict(saved)
    assert again.queries == 9
    assert torch.equal(gradients(again, X[None]), expected)


def test_a_second_backward_sees_the_same_noise_and_is_counted() -> None:
    f = made(lambda x: x.sin().sum(-1))
    x = X[None].clone().requires_grad_()
    said = f(x).sum()
    said.backward(retain_graph=True)
    first = x.grad.clone()  # type: ignore[union-attr]
    said.backward()
    assert torch.equal(x.grad, 2 * first)
    assert f.queries == 1 + 8 + 8


@pytest.mark.parametrize("credit", ["noise", "class"])
def test_micro_batches_give_the_gradients_of_the_whole_batch_to_the_bit(credit: str) -> None:
    x, y = torch.linspace(-1, 1, 120).reshape(12, 10), torch.arange(12) % 10
    words = {"noise": "gumbel", "credit": credit}

    def judge(seen: Tensor, y: Tensor) -> Tensor:
        return (seen if credit == "class" else seen.argmax(-1)) == y

    def parts(place: Callable[[int], dict[str, int]]) -> Tensor:
        f = made(judge, **words)
        return torch.cat([gradients(f, x[i : i + 3], y[i : i + 3], **place(i)) for i in range(0, 12, 3)])

    whole = gradients(made(judge, **words), x, y, step=7)
    assert torch.equal(parts(lambda i: {"step": 7, "offset": i}), whole)
    assert not torch.equal(parts(lambda i: {"step": 7}), whole)


def test_micro_batches_of_tokens_count_by_the_first_axis() -> None:
    x = torch.linspace(-1, 1, 60).reshape(4, 5, 3)
    f = made(lambda x: x.sum(-1), batch_dims=2)
    whole = gradients(f, x, step=1)
    parts = [gradients(f, x[i : i + 2], step=1, offset=i) for i in (0, 2)]
    assert torch.equal(torch.cat(parts), whole)


def test_a_mask_and_parts_of_tokens_go_together() -> None:
    x, handed = torch.linspace(-1, 1, 60).reshape(4, 5, 3), []
    mask = torch.arange(20).reshape(4, 5) % 3 != 0

    def judge(x: Tensor) -> Tensor:
        handed.append(len(x) * x.shape[1])
        return x.sum(-1)

    whole = gradients(made(judge, batch_dims=2), x, step=1, mask=mask)
    assert torch.equal(whole == 0, ~mask[..., None].expand(4, 5, 3))
    handed.clear()
    found = gradients(made(judge, batch_dims=2, max_examples=10), x, step=1, mask=mask)
    assert torch.equal(found, whole)
    assert max(handed[1:]) <= 10


def test_a_masked_example_is_handed_over_without_noise() -> None:
    seen = []
    x = torch.tensor([[1.0], [2.0]])
    gradients(made(lambda x: seen.append(x.clone()) or x[:, 0]), x, mask=torch.tensor([True, False]))
    assert set(seen[1][1::2].flatten().tolist()) == {2.0}
    assert len(set(seen[1][::2].flatten().tolist())) == 8


def test_each_input_of_a_batch_judged_as_a_whole_has_its_own_t() -> None:
    x, y = torch.zeros(1, 1, requires_grad=True), torch.zeros(1, 1, requires_grad=True)
    f = made(lambda x, y: (x + y).sum(), num_samples=20_000, noise_variance=(0.01, 4.0))
    f(x, y).backward()
    assert x.grad.item() == pytest.approx(1, abs=0.8)  # type: ignore[union-attr]
    assert y.grad.item() == pytest.approx(1, abs=0.05)  # type: ignore[union-attr]


def test_each_input_s_own_t_is_held_to_its_own_numbers() -> None:
    x, y = torch.ones(1, 1, requires_grad=True), torch.full((1, 1), 1e6, requires_grad=True)
    with pytest.raises(ValueError, match="t = 1e-06 is lost beside input 1"):
        made(lambda x, y: (x + y)[:, 0], noise_variance=(1.0, 1e-6))(x, y)


def test_classes_may_be_answered_with_many_numbers() -> None:
    logits, above = torch.zeros(COPIES, 3), torch.tensor([1.0, -2.0])
    many = made(lambda c: torch.stack([c == 1, c == 2], 1).float(), credit="class", noise="gumbel")
    x = logits.clone().requires_grad_()
    (many(x, step=0) @ above).sum().backward()
    single = made(lambda c: (c == 1).float() - 2 * (c == 2).float(), credit="class", noise="gumbel")
    assert torch.allclose(x.grad, gradients(single, logits, step=0), atol=1e-5)  # type: ignore[arg-type]


def test_a_message_names_the_example_s_place_in_the_whole_batch() -> None:
    def judge(x: Tensor) -> Tensor:
        return torch.where(x.round() == 7, torch.nan, x)[:, 0] if len(x) < 6 else x[:, 0]

    x = torch.arange(6.0)[:, None] + 3
    with pytest.raises(ValueError, match=r"nan for example 4 in sample \d"):
        gradients(made(judge, max_examples=2, noise_variance=1e-4), x)


def test_the_noise_of_micro_batches_adds_up_to_no_more_than_that_of_a_batch() -> None:
    """Sharing it, eight parts of 8 would have nearly eight times the variance of one batch of 64."""
    f = made(lambda x: x.sum(-1), num_samples=1, shaping="raw")
    x = torch.zeros(64, 1)

    def total(place: Callable[[int], int], step: int) -> Tensor:
        parts = [gradients(f, x[i : i + 8], step=step, offset=place(i)) for i in range(0, 64, 8)]
        return torch.cat(parts).sum()

    whole = torch.stack([gradients(f, x, step=step).sum() for step in range(400)]).var()
    placed = torch.stack([total(lambda i: i, step) for step in range(400)]).var()
    shared = torch.stack([total(lambda i: 0, step) for step in range(400)]).var()
    assert placed == pytest.approx(whole.item(), rel=1e-5)
    assert shared > 4 * whole


# The rest of torch


def test_a_gradient_in_the_middle_of_a_network_trains_it() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    f = made(lambda x: (x * 4).round() / 4, num_samples=32, noise_variance=0.02)
    head = nn.Linear(1, 1)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], 0.02)
    x = torch.randn(128, 2)
    losses = []
    for _ in range(60):
        loss = (head(f(network(x))) - x.sum(-1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_torch_func_grad_keeps_exact_gradients_exact() -> None:
    f, x, y = made(lambda x, y: (x * y * y).sum(-1), inputs=[0]), X.expand(2, 3).contiguous(), torch.ones(2, 3)
    found = torch.func.grad(lambda x, y: f(x, y, step=0).sum(), argnums=(0, 1))(x, y)
    assert torch.equal(found[1], 2 * x * y)
    assert torch.equal(found[0], gradients(f, x, y, step=0))


def test_torch_func_grad_is_autograd_s() -> None:
    f = made(lambda x: np.sin(x.numpy()).sum(-1))  # with numbers, which a transform's own tensors do not show
    x = X.expand(2, 3).contiguous()
    found = torch.func.grad(lambda x: f(x, step=5).sum())(x)
    assert torch.equal(found, gradients(f, x, step=5))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (
            lambda f, x: torch.func.vmap(torch.func.grad(lambda x: f(x, step=0)[0]))(x[:, None]),
            "vmap.*hand it the whole",
        ),
        (lambda f, x: torch.func.jvp(f, (x,), (x,)), "jvp.*use torch.autograd.grad"),
        (lambda f, x: torch.func.jacfwd(f)(x), "jvp.*use torch.autograd.grad"),
        (lambda f, x: torch.func.jacrev(lambda x: f(x, step=0))(x), "vmap.*one gradient at a time"),
        (lambda f, x: torch.func.hessian(lambda x: f(x, step=0).sum())(x), "(vmap|jvp|second)"),
    ],
    ids=["vmap", "jvp", "jacfwd", "jacrev", "hessian"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, of torch.jit
def test_transforms_that_no_estimate_has_are_refused_by_name(ask: Callable[..., Any], words: str) -> None:
    with pytest.raises(NotImplementedError, match=f"esgrad.blackbox knows no .*{words}"):
        ask(made(lambda x: x.sum(-1)), X.expand(2, 3).contiguous())


def test_a_second_derivative_is_refused_by_name() -> None:
    x = X[None].clone().requires_grad_()
    (first,) = torch.autograd.grad(made(lambda x: x.sin().sum(-1))(x).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"second derivative.*detach"):
        first.sum().backward()


def test_a_second_derivative_through_what_is_exact_is_refused_too() -> None:
    w, x = torch.ones(3, 1, requires_grad=True), X[None].clone().requires_grad_()
    said = made(lambda x: (x @ w)[:, 0])(x)
    (first,) = torch.autograd.grad(said.square().sum(), w, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"second derivative.*detach"):
        first.sum().backward()


@pytest.mark.parametrize("most", [None, 2])
def test_a_function_that_changes_what_it_is_handed_changes_nothing_else(most: int | None) -> None:
    def spoiling(x: Tensor, y: Tensor) -> Tensor:
        y += 1
        return x.mul_(y).sum(-1)

    x, y = X.expand(2, 3).clone().requires_grad_(), torch.zeros(2, 3)
    f = made(spoiling, num_samples=4000, max_examples=most, inputs=[0])
    said = f(x, y.clone(), step=0)
    assert torch.equal(x.detach(), X.expand(2, 3))
    handed = torch.zeros(2, 3)
    said = f(x, handed, step=0)
    assert torch.equal(handed, torch.ones(2, 3)), "in the forward pass it is the caller's own"
    said.sum().backward()
    assert torch.equal(handed, torch.ones(2, 3))
    assert torch.allclose(x.grad, torch.full((2, 3), 2.0), atol=0.3)  # type: ignore[arg-type]


def test_answers_with_more_digits_than_the_input_keep_them() -> None:
    x = torch.zeros(500, 3)
    for fn in (lambda x: 1e9 + x.double().sum(-1), lambda x: 10**15 + (x.double().sum(-1) * 1e6).long()):
        found = gradients(made(fn), x, step=0)
        scale = 1.0 if fn(x).is_floating_point() else 1e6
        assert torch.allclose(found.mean(0) / scale, torch.ones(3), atol=0.2)


def test_replicas_of_data_parallel_are_refused() -> None:
    with pytest.raises(ValueError, match="use DistributedDataParallel"):
        made(lambda x: x.sum(-1))._replicate_for_data_parallel()


def test_a_list_of_tensors_keeps_their_graph() -> None:
    head = nn.Linear(3, 1)
    gradients(made(lambda x: [head(row)[0] for row in x]), X.expand(2, 3))
    assert head.weight.grad is not None


def test_checkpointing_asks_again_for_the_answer_but_keeps_the_noise() -> None:
    f = made(lambda x: x.sin().sum(-1))
    x = X.expand(2, 3).clone().requires_grad_()
    torch.utils.checkpoint.checkpoint(f, x, use_reentrant=False).sum().backward()
    assert torch.equal(x.grad, gradients(f, x, step=0))


def test_the_samples_see_the_automatic_precision_of_the_call() -> None:
    weight, kinds = torch.ones(3, 1), []

    def judge(x: Tensor) -> Tensor:
        said = (x @ weight)[:, 0]
        kinds.append(said.dtype)
        return said

    f = made(judge)
    x = X[None].clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        said = f(x)
    said.sum().backward()
    assert set(kinds) == {torch.bfloat16}
    assert x.grad.dtype == torch.float32  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_are_handed_over_and_back_as_they_are(kind: torch.dtype) -> None:
    seen = []

    def judge(x: Tensor) -> Tensor:
        seen.append(x.dtype)
        return x.sin().sum(-1)

    x = X.to(kind)[None]
    found = gradients(made(judge, num_samples=4096), x)
    assert (found.dtype, set(seen)) == (kind, {kind})
    assert torch.allclose(found[0].float(), exp(-0.125) * X.cos(), atol=0.3)


@pytest.mark.parametrize(("kind", "t"), [(torch.bfloat16, 1e-6), (torch.float16, 1e-9), (torch.float32, 1e-16)])
def test_noise_that_is_lost_beside_the_input_is_refused(kind: torch.dtype, t: float) -> None:
    x = torch.tensor([[0.5, 1.0]], dtype=kind, requires_grad=True)
    with pytest.raises(ValueError, match=rf"^noise_variance t = {t} is lost beside input 0.*wider type would do$"):
        made(lambda x: x.sum(-1), noise_variance=t)(x)


def test_a_default_device_of_another_kind_does_no_harm() -> None:
    x = X.expand(2, 3).contiguous()
    expected = [gradients(made(lambda x: x.sin().sum(-1), noise=noise), x, step=0) for noise in ("gumbel", "quasi")]
    with torch.device("meta"):
        found = [gradients(made(lambda x: x.sin().sum(-1), noise=noise), x, step=0) for noise in ("gumbel", "quasi")]
    assert all(map(torch.equal, found, expected))


def test_an_empty_batch_has_an_empty_gradient() -> None:
    assert gradients(made(lambda x: x.sum(-1)), torch.zeros(0, 3)).shape == (0, 3)


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    gradients(made(lambda x: x.sum(-1)), X[None])
    assert torch.equal(torch.get_rng_state(), before)


# Refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_samples": 0}, "num_samples is a whole number from 1, not 0"),
        ({"num_samples": 2.0}, "num_samples is a whole number from 1, not 2.0"),
        ({"noise_variance": 0.0}, "noise_variance t is a finite number above 0, not 0.0"),
        ({"noise_variance": (1.0, float("nan"))}, "noise_variance t is a finite number above 0, not nan"),
        ({"seed": -1}, "seed is -1; it must be a whole number from 0"),
        ({"noise": "gauss"}, "unknown name in noises 'gauss'"),
        ({"shaping": "lave_one_out"}, "Did you mean 'leave_one_out'"),
        ({"shaping": "leave_one_out", "num_samples": 1}, "leave_one_out needs another sample"),
        ({"num_samples": 3, "noise": "mirrored"}, "N = 3 is odd"),
        ({"credit": "class", "noise": "mirrored"}, "mirrored"),
        ({"batch_dims": -1}, "batch_dims is a whole number from 0, not -1"),
        ({"max_examples": 0}, "max_examples is a whole number from 1, not 0"),
        ({"inputs": [0, 0]}, "inputs names different places"),
        ({"inputs": 0}, "inputs is a list of places"),
        ({"binary": "yes"}, "binary is True, False or None, not 'yes'"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused_when_it_is_made(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(lambda x: x, **options)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ValueError, match="fn is a function or a module, not 3"):
        made(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("handed", "named", "words"),
    [
        ((), {}, "at least one tensor"),
        ((3,), {}, "input 0 is a int: inputs are tensors"),
        ((torch.ones(2, 3), torch.ones(3, 3)), {}, r"input 1 has shape \[3, 3\], input 0 \[2, 3\]"),
        ((torch.ones(2, 3, device="meta"),), {}, "device meta"),
        ((torch.ones(2, 3).to_sparse(),), {}, "to_dense"),
        ((torch.ones(2, 3),), {"offset": 3}, "offset=3 without a step"),
        ((torch.ones(2, 3),), {"step": -1}, "step is -1"),
        ((torch.ones(2, 3),), {"step": 0, "offset": 2**32}, "offset is 4294967296"),
        ((torch.ones(2, 3),), {"mask": torch.ones(3, dtype=torch.bool)}, r"mask is bool, of the batch's shape \[2\]"),
        ((torch.ones(2, 3),), {"mask": [True, False]}, "mask is a bool tensor, not a list"),
        ((torch.tensor([[1.0, float("inf")]]),), {}, r"input 0 holds finite numbers, but at \[0, 1\] it is inf"),
    ],
    ids=["none", "number", "batches", "meta", "sparse", "offset", "step", "far", "mask", "list", "inf"],
)
def test_wrong_inputs_are_refused_before_anything_is_asked(handed: Any, named: dict[str, Any], words: str) -> None:
    f = made(lambda x: x.sum(-1))
    handed = [x.requires_grad_() if isinstance(x, Tensor) and x.is_floating_point() else x for x in handed]
    with pytest.raises(ValueError, match=words):
        f(*handed, **named)
    assert f.queries == 0


@pytest.mark.parametrize(
    ("fn", "options", "words"),
    [
        (lambda x: "yes", {}, "answers with one tensor, array, list or number, not with a str"),
        (lambda x: x[:1, 0], {}, r"answers a batch of shape \[2\] with shape \[1\]"),
        (lambda x: x + 1j, {}, "complex64: real numbers"),
        (lambda x: x, {"shaping": "maxrl"}, "shaping 'maxrl' does not add up over the 3 numbers"),
        (lambda x: x.sum(), {"mask": True}, "let it do so itself"),
    ],
    ids=["str", "shape", "complex", "vector", "mask"],
)
def test_wrong_answers_are_refused_in_the_forward_pass(fn: Function, options: dict[str, Any], words: str) -> None:
    mask = torch.ones(2, dtype=torch.bool) if options.pop("mask", False) else None
    with pytest.raises(ValueError, match=words):
        made(fn, **options)(torch.ones(2, 3, requires_grad=True), mask=mask)


def test_an_answer_that_is_no_number_names_sample_example_and_step() -> None:
    def judge(x: Tensor) -> Tensor:
        said = x.sum(-1)
        if len(said) > 2:
            said[2 * 5 + 1] = torch.nan
        return said

    with pytest.raises(ValueError, match=r"answers nan for example 1 in sample 5 of step 3; .* finite numbers"):
        gradients(made(judge), torch.ones(2, 3), step=3)


@pytest.mark.parametrize(
    ("fn", "options", "words"),
    [
        (lambda x: x[:, 0], {"binary": True}, "0 or 1"),
        (lambda x: x[:, 0], {"shaping": "maxrl"}, "numbers not below 0, which this shaping needs"),
    ],
    ids=["binary", "negative"],
)
def test_an_answer_out_of_range_names_its_sample(fn: Function, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=rf"for example \d in sample \d of step 0; its answers are {words}"):
        gradients(made(fn, **options), torch.zeros(2, 3))


def test_a_function_that_fails_on_a_sample_names_it_and_keeps_its_own_words() -> None:
    def judge(x: Tensor) -> Tensor:
        if (x != 0).any():
            raise KeyError("no such part")
        return x.sum(-1)

    with pytest.raises(RuntimeError, match=r"failed at samples 0 to 7 of step 0: KeyError: 'no such part'") as raised:
        gradients(made(judge), torch.zeros(2, 3))
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_function_of_a_fixed_number_of_examples_is_told_what_would_do() -> None:
    def judge(x: Tensor) -> Tensor:
        return x.sum(-1)[:2]

    with pytest.raises(ValueError, match=r"handed samples 0 to 7 .*16 examples, .*\[2\].*\[16\].*max_examples=2"):
        gradients(made(judge), torch.zeros(2, 3))
    assert gradients(made(judge, max_examples=2), torch.zeros(2, 3)).shape == (2, 3)
