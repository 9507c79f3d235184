"""The steps of a black box: which noise a call sees, what is remembered, micro-batches."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from esgrad.differentiable import chain
from tests.boxes import COPIES, X, gradients, made


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


# Boxes one behind the other


def slope(outer: Any, inner: Any, steps: int = 200, **step: int) -> tuple[float, float]:
    """The mean over steps of a gradient through two boxes, and its standard error."""
    found = []
    for _ in range(steps):
        x = torch.zeros(32, 4, requires_grad=True)
        outer(inner(x, **step), **step).sum().backward()
        found.append(x.grad.mean().item())  # type: ignore[union-attr]
    found = torch.tensor(found)
    return found.mean().item(), found.std().item() / steps**0.5


def test_boxes_of_a_chain_with_seeds_of_their_own_are_the_chain_rule() -> None:
    """Their noise is independent, so the mean of the product is the product of the means: 2 · 3."""
    inner, outer = made(lambda x: 2 * x, seed=0), made(lambda x: 3 * x, seed=1)
    mean, error = slope(outer, inner)
    assert abs(mean - 6) < 5 * error


def test_boxes_of_a_chain_that_share_their_noise_are_refused() -> None:
    inner, outer = made(torch.clone, seed=3), made(torch.clone, seed=3)
    with pytest.raises(ValueError, match=r"same noise, seed 3 at step 0: .* needs a seed of its own"):
        outer(torch.nn.Linear(3, 3)(inner(torch.ones(2, 3, requires_grad=True))).tanh())


def test_one_box_twice_in_a_chain_needs_two_steps() -> None:
    f = made(torch.clone)
    x = torch.ones(2, 3, requires_grad=True)
    f(f(x)).sum().backward()  # each call is a step of its own
    f(f(x, step=4), step=5).sum().backward()
    with pytest.raises(ValueError, match="same noise, seed 0 at step 4"):
        f(f(x, step=4), step=4)


def test_boxes_side_by_side_and_micro_batches_may_share_a_step() -> None:
    f, g = made(torch.clone), made(torch.clone)
    x = torch.ones(4, 3, requires_grad=True)
    (f(x, step=1) + g(x, step=1)).sum().backward()
    parts = [f(part, step=2, offset=2 * i) for i, part in enumerate(x.split(2))]
    f(parts[0], step=2, offset=2).sum().backward()  # behind another, but at other places
    classes = made(lambda c: c == 1, credit="class", num_samples=8)
    (-classes(f(x, step=3), step=3).sum()).backward()  # classes are drawn from a stream of their own


def test_what_is_no_longer_needed_is_forgotten() -> None:
    f = made(torch.clone, seed=77)
    said = f(torch.ones(2, 3, requires_grad=True), step=1)
    assert any(noise.seed == 77 and calls for noise, calls in chain._waiting.items())
    del said
    assert not any(noise.seed == 77 and calls for noise, calls in chain._waiting.items())
