"""A black box among the rest of torch: networks, transforms, checkpoints, precision, devices."""

from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.boxes import X, gradients, made


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
        (lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True), "vmap.*one gradient at a time"),
        (lambda f, x: torch.func.hessian(lambda x: f(x, step=0).sum())(x), "(vmap|jvp|second)"),
    ],
    ids=["vmap", "jvp", "jacfwd", "jacrev", "vectorize", "hessian"],
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
