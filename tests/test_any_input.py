"""Whatever is handed to the public functions: a right answer, or one line that says what was wrong."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

import esgrad

KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]
EXAMPLES = settings(max_examples=150, deadline=None, derandomize=True)


@some.composite
def tensors(draw: Any, dims: tuple[int, int] = (0, 4)) -> Tensor:
    """Any shape, type, device and strides."""
    shape = draw(some.lists(some.integers(0, 4), min_size=dims[0], max_size=dims[1]))
    made = torch.linspace(-2, 2, max(1, torch.Size(shape).numel()))[: torch.Size(shape).numel()].reshape(shape)
    made = made.to(draw(some.sampled_from(KINDS)))
    form = draw(some.sampled_from(["plain", "turned", "strided", "spread", "meta", "nan"]))
    if form == "turned" and made.dim() > 1:
        made = made.transpose(0, -1).contiguous().transpose(0, -1)
    if form == "strided" and made.dim():
        made = made.repeat_interleave(2, -1)[..., ::2]
    if form == "spread" and made.dim():
        made = made[..., :1].expand(shape) if shape[-1] else made
    if form == "meta":
        made = made.to("meta")
    if form == "nan" and made.is_floating_point() and made.numel():
        made = made.clone()
        made.view(-1)[-1] = torch.nan
    return made


def answer_or_line(ask: Any) -> Any:
    """What is answered, or None after a refusal of one line."""
    try:
        return ask()
    except (ValueError, NotImplementedError) as error:
        refusal = str(error)
    assert refusal
    assert "\n" not in refusal
    return None


@EXAMPLES
@given(
    x=tensors(),
    batch_dims=some.integers(0, 3),
    words=some.sampled_from(
        [{}, {"noise": "mirrored"}, {"noise": "quasi"}, {"noise": "gumbel", "credit": "class"}, {"shaping": "maxrl"}]
    ),
    answer=some.sampled_from(["each", "whole", "many", "hit"]),
    masked=some.booleans(),
)
def test_a_black_box(x: Tensor, batch_dims: int, words: dict[str, str], answer: str, masked: bool) -> None:
    batch = x.shape[:batch_dims]

    def judge(seen: Tensor) -> Tensor:
        flat = seen.float().flatten(batch_dims) if seen.dim() > batch_dims else seen.float()[..., None]
        if answer == "whole":
            return flat.square().sum()
        return {"each": flat.square().sum(-1), "many": flat, "hit": flat.sum(-1) > 0}[answer]

    f = esgrad.blackbox(judge, num_samples=4, noise_variance=1.0, seed=0, batch_dims=batch_dims, **words)

    def ask() -> Tensor:
        leaf = x.detach().clone(memory_format=torch.preserve_format)
        leaf.requires_grad_(x.is_floating_point() or x.is_complex())
        mask = torch.ones(batch, dtype=torch.bool) if masked else None
        said = f(leaf, mask=mask, step=0)
        assert said.is_floating_point()
        if not leaf.requires_grad:
            return said
        said.sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    found = answer_or_line(ask)
    if found is not None and x.is_floating_point():
        assert (found.shape, found.dtype) == (x.shape, x.dtype)
        assert found.isfinite().all()
        whole = f(again := x.detach().contiguous().clone().requires_grad_(), step=0)
        whole.sum().backward()
        assert torch.equal(again.grad, found), "strides change nothing"  # type: ignore[arg-type]
    ordinary = x.is_floating_point() and x.device.type == "cpu" and x.isfinite().all() and x.dim() > batch_dims
    if ordinary and x.numel() and not words and not (masked and (answer == "whole" or not batch_dims)):
        assert found is not None, "nothing was wrong with that"


@EXAMPLES
@given(
    logits=tensors(),
    targets=tensors((0, 2)),
    num_samples=some.sampled_from([1, 2, 7, 0, -1, 2.0, True]),
    noise_variance=some.sampled_from([1.0, 1, 1e-300, 1e300, 0.0, float("nan"), "1"]),
    offset=some.sampled_from([0, 5, -1, 2**32, 0.5]),
)
def test_es_gradient(logits: Tensor, targets: Tensor, num_samples: Any, noise_variance: Any, offset: Any) -> None:
    asked = {"num_samples": num_samples, "noise_variance": noise_variance, "seed": 0, "step": 0, "offset": offset}
    found = answer_or_line(lambda: esgrad.es_gradient(logits, targets, **asked))
    if found is not None:
        assert (found.shape, found.dtype) == (logits.shape, logits.dtype)
        assert found.isfinite().all()


@EXAMPLES
@given(logits=tensors((2, 2)), t=some.sampled_from([1.0, 1e-6, 1e6, 1e-300]), log=some.booleans())
def test_exact_gradient(logits: Tensor, t: float, log: bool) -> None:
    targets = torch.zeros(logits.shape[0], dtype=torch.int64)
    found = answer_or_line(lambda: esgrad.exact_gradient(logits, targets, t, log=log))
    if found is not None:
        assert found[1].shape == logits.shape
        assert found[0].isfinite().all()


@pytest.mark.parametrize("wrong", [None, 3, "x", [1.0]])
def test_what_is_no_tensor(wrong: Any) -> None:
    f = esgrad.blackbox(lambda x: x, num_samples=2, noise_variance=1.0, seed=0)
    with pytest.raises(ValueError, match="input 0 is a "):
        f(wrong)
