"""What `esgrad.blackbox` refuses, each in a line that names the value, what was expected and what would do."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.boxes import Function, gradients, made


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_samples": 0}, "num_samples is a whole number from 1, not 0"),
        ({"num_samples": 2.0}, "num_samples is a whole number from 1, not 2.0"),
        ({"num_samples": 2**32 + 2}, "numbers for 2\\^32 samples: N = 4294967298 is more"),
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
        ((torch.ones(2, 3), torch.tensor(1.0)), {}, r"input 1 has shape \[\], without the 1 axes"),
        ((torch.ones(2, 3, device="meta"),), {}, "device meta"),
        ((torch.ones(2, 3).to_sparse(),), {}, "to_dense"),
        ((torch.ones(2, 3),), {"offset": 3}, "offset=3 without a step"),
        ((torch.ones(2, 3),), {"step": -1}, "step is -1"),
        ((torch.ones(2, 3),), {"step": 0, "offset": 2**32}, "offset is 4294967296"),
        ((torch.ones(2, 3),), {"mask": torch.ones(3, dtype=torch.bool)}, r"mask is bool, of the batch's shape \[2\]"),
        ((torch.ones(2, 3),), {"mask": [True, False]}, "mask is a bool tensor, not a list"),
        ((torch.tensor([[1.0, float("inf")]]),), {}, r"input 0 holds finite numbers, but at \[0, 1\] it is inf"),
    ],
    ids=["none", "number", "batches", "no batch", "meta", "sparse", "offset", "step", "far", "mask", "list", "inf"],
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
        (lambda x: "yes", {}, "or a number that is one, not with this str: TypeError"),
        (lambda x: x[:1, 0], {}, r"answers a batch of shape \[2\] with shape \[1\]"),
        (lambda x: x + 1j, {}, "complex64: real numbers"),
        (lambda x: x, {"shaping": "maxrl"}, "shaping 'maxrl' does not add up: raw or"),
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

    with pytest.raises(
        RuntimeError, match=r"failed at samples 0 to 7 of step 0, 16 examples at once: KeyError: 'no such part'"
    ) as raised:
        gradients(made(judge), torch.zeros(2, 3))
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_function_of_a_fixed_number_of_examples_is_told_what_would_do() -> None:
    def judge(x: Tensor) -> Tensor:
        return x.sum(-1)[:2]

    with pytest.raises(ValueError, match=r"handed samples 0 to 7 .*16 examples, .*\[2\].*\[16\].*max_examples=2"):
        gradients(made(judge), torch.zeros(2, 3))
    assert gradients(made(judge, max_examples=2), torch.zeros(2, 3)).shape == (2, 3)


def test_a_word_that_both_the_module_and_the_function_take_is_refused() -> None:
    f = made(lambda x, mask=None: x.sum(-1) if mask is None else (x * mask).sum(-1))
    x = torch.ones(2, 3, requires_grad=True)
    assert torch.equal(f(x, torch.zeros(2, 3)), torch.zeros(2)), "by place it is an input like another"
    with pytest.raises(ValueError, match=r"mask= is the module's own, .* lambda x, my_mask: fn\(x, mask=my_mask\)"):
        f(x, mask=torch.ones(2, dtype=torch.bool))


def test_a_call_that_was_refused_is_no_step() -> None:
    f = made(lambda x: x.sum(-1))
    with pytest.raises(ValueError, match="it is nan"):
        f(torch.full((2, 3), torch.nan, requires_grad=True))
    assert (f.step, f.queries) == (0, 0)


def test_a_function_s_long_complaint_is_one_line_of_ours() -> None:
    def failing(x: Tensor) -> Tensor:
        if len(x) > 2:
            raise ValueError("the first line\nand many more")
        return x.sum(-1)

    with pytest.raises(RuntimeError, match=r"ValueError: the first line$"):
        gradients(made(failing), torch.ones(2, 3))


def test_an_answer_with_an_axis_too_many_is_told_the_shape_that_would_do() -> None:
    with pytest.raises(ValueError, match=r"answers with shape \[2, 1\], .* or answers \[2\]"):
        made(lambda x: x[:, :1].abs(), shaping="maxrl")(torch.ones(2, 3, requires_grad=True))


def test_a_list_that_is_no_tensor_is_told_why() -> None:
    with pytest.raises(ValueError, match="not with this list: ValueError: expected sequence of length"):
        made(lambda x: [[1.0], [1.0, 2.0]])(torch.ones(2, 3))


@pytest.mark.parametrize(
    ("options", "sign", "warns"),
    [({}, 1, True), ({}, -1, False), ({"shaping": "success"}, 1, False), ({"credit": "noise"}, 1, False)],
    ids=["descended", "ascended", "by name", "linear"],
)
def test_a_loss_that_grows_with_right_answers_is_warned_of(options: dict[str, Any], sign: int, warns: bool) -> None:
    f = made(lambda c: c != 1 if c.dim() == 1 else c[:, 0] > 0, **{"credit": "class"} | options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (sign * f(torch.zeros(4, 3, requires_grad=True)).mean()).backward()
    assert [str(each.message).startswith("the loss grows with") for each in caught] == [True] * warns


def test_what_it_says_of_itself_names_the_weights_of_both_kinds_of_answers() -> None:
    assert "shaping=leave_one_out or, for bool answers, success" in repr(made(lambda c: c == 1, credit="class"))
    assert "shaping=leave_one_out)" in repr(made(lambda x: x.sum(-1))).replace("\n", ")")
