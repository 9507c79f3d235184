"""The public gradients: what they refuse, that they agree, and that a model of anybody's learns by them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import esgrad
from esgrad import es_gradient, exact_gradient, menu

LOGITS = torch.tensor([[0.3, 0.1, -0.2, 0.35], [0.0, 0.0, 0.0, 0.0], [2.0, -1.0, 0.4, 0.1]])
TARGETS = torch.tensor([3, 1, 0])
TWO_VARIANCES = pytest.mark.parametrize("variance", [0.04, 9.0])


def es(logits: Any = LOGITS, targets: Any = TARGETS, **changes: Any) -> Tensor:
    words = {"num_samples": 8, "noise_variance": 1.0, "seed": 4, "step": 6}
    return es_gradient(logits, targets, **(words | changes))


def exact(logits: Any = LOGITS, targets: Any = TARGETS, noise_variance: Any = 1.0, log: bool = False) -> Tensor:
    return exact_gradient(logits, targets, noise_variance, log=log)[1]


BOTH = pytest.mark.parametrize("gradient", [es, exact])


def with_value(value: float) -> Tensor:
    logits = LOGITS.clone()
    logits[1, 2] = value
    return logits


# Refusals


@BOTH
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"logits": LOGITS[0]}, r"\[B, K\].*\[4\]"),
        ({"logits": LOGITS[None]}, r"\[B, K\].*\[1, 3, 4\]"),
        ({"logits": LOGITS[:0], "targets": TARGETS[:0]}, r"\[B, K\].*\[0, 4\]"),
        ({"logits": LOGITS[:, :0]}, r"\[B, K\].*\[3, 0\]"),
        ({"logits": LOGITS.long()}, r"floating.*int64"),
        ({"logits": with_value(math.nan)}, r"finite.*example 1.*nan"),
        ({"logits": with_value(math.inf)}, r"finite.*example 1.*inf"),
        ({"logits": with_value(-math.inf)}, r"finite.*example 1.*-inf"),
        ({"targets": torch.tensor([3, 1])}, r"\[3\].*\[2\]"),
        ({"targets": torch.tensor([[3, 1, 0]])}, r"\[3\].*\[1, 3\]"),
        ({"targets": TARGETS.float()}, r"whole numbers.*float32"),
        ({"targets": TARGETS.bool()}, r"whole numbers.*bool"),
        ({"targets": torch.tensor([3, 4, 0])}, r"0 to K − 1 = 3.*4"),
        ({"targets": torch.tensor([3, 1, -1])}, r"0 to K − 1 = 3.*-1"),
        ({"noise_variance": 0.0}, r"above 0, not 0\.0"),
        ({"noise_variance": -2.0}, r"above 0, not -2\.0"),
        ({"noise_variance": math.nan}, r"finite.*nan"),
        ({"noise_variance": math.inf}, r"finite.*inf"),
    ],
)
def test_bad_input_is_named(gradient, change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        gradient(**change)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_samples": 0}, r"whole number from 1, not 0"),
        ({"num_samples": 2**32 + 2}, r"numbers for 2\^32 samples: N = 4294967298 is more"),
        ({"num_samples": -5}, r"whole number from 1, not -5"),
        ({"num_samples": True}, r"whole number from 1, not True"),
        ({"num_samples": 8.0}, r"whole number from 1, not 8\.0"),
        *(
            ({word: value, **credit}, f"{word} is {said}")
            for credit in ({}, {"credit": "class"})
            for word in ("seed", "step")
            for value, said in (
                (-1, "-1"),
                (2**32, "4294967296"),
                (2**70, "1180591620717411303424"),
                (1.5, r"1\.5"),
                ("a", "'a'"),
            )
        ),
        ({"noise": "mirored"}, r"'mirored'.*'mirrored'"),
        ({"shaping": "max_rl"}, r"'max_rl'.*'maxrl'"),
        ({"shaping": "xyzzy"}, r"'xyzzy'.*Known: best_baseline, centered_ranks, "),
        ({"noise": "mirrored", "num_samples": 7}, r"7 is odd"),
        ({"noise": "mirrored", "shaping": "maxrl"}, r"Σq = 0.*would be success"),
        ({"noise": "mirrored", "shaping": "leave_one_out"}, r"Σq = 0.*N/\(N−1\) times raw"),
        ({"noise": "mirrored", "shaping": "best_baseline"}, r"Σq = 0"),
        ({"noise": "quasi", "logits": torch.zeros(3, 21_202)}, r"21201 coordinates.*D = 21202"),
        ({"shaping": "best_baseline", "num_samples": 1}, r"N = 1, N ≥ 2"),
        ({"shaping": "z_score", "num_samples": 1}, r"N = 1: N ≥ 2"),
        ({"shaping": "leave_one_out", "num_samples": 1}, r"N = 1, N ≥ 2"),
        ({"shaping": "maxrl", "num_samples": 1}, r"N = 1: N ≥ 2"),
        ({"shaping": "centered_ranks", "num_samples": 1}, r"N = 1, N ≥ 2"),
    ],
)
def test_a_bad_estimator_is_named(change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        es(**change)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("change", [{"num_samples": 8, "noise": "mirrored"}, {"num_samples": 1}])
def test_what_is_next_to_a_refusal_is_served(change: dict) -> None:
    assert es(**change).isfinite().all()


@BOTH
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_whole_numbers_serve_as_targets(gradient, dtype: torch.dtype) -> None:
    assert torch.equal(gradient(targets=TARGETS.to(dtype)), gradient())


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_gradient_has_the_logits_type(gradient, dtype: torch.dtype) -> None:
    got = gradient(logits=LOGITS.to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), gradient(logits=LOGITS.to(dtype).float()), rtol=0.02, atol=0.01)


@pytest.mark.parametrize("shaping", menu.names("shapings"))
def test_single_and_double_precision_agree(shaping: str) -> None:
    torch.testing.assert_close(es(LOGITS.double(), shaping=shaping).float(), es(shaping=shaping))


@BOTH
@pytest.mark.parametrize("noise_variance", [1e-50, 1e-39, 1e-30, 1e30, 1e39])
def test_a_variance_beyond_float32_is_served_or_refused_but_gives_no_nan(gradient, noise_variance: float) -> None:
    try:
        got = gradient(targets=torch.tensor([1, 1, 2]), noise_variance=noise_variance)  # behind, level, behind
    except ValueError as refusal:
        assert "noise_variance" in str(refusal)  # noqa: PT017
    else:
        assert got.isfinite().all()


@pytest.mark.parametrize(("dtype", "t"), [(torch.float16, 1e-16), (torch.bfloat16, 1e-30), (torch.float32, 1e-15)])
def test_noise_that_is_lost_beside_the_logits_is_refused(dtype: torch.dtype, t: float) -> None:
    """σ below the steps of float32, in which x + q is made whatever the logits are."""
    with pytest.raises(ValueError, match=rf"^noise_variance t = {t} is lost beside logits"):
        es(LOGITS.to(dtype), noise_variance=t)


def test_a_gradient_that_half_precision_cannot_hold_is_refused_and_no_infinity() -> None:
    logits = torch.zeros(3, 4, dtype=torch.float16)
    with pytest.raises(ValueError, match=r"^the gradient reaches .*float16; logits.float\(\) would do"):
        es(logits, noise_variance=1e-12)
    assert es(logits.float(), noise_variance=1e-12).isfinite().all()


def test_a_default_device_of_another_kind_does_no_harm() -> None:
    words = [{"noise": noise} for noise in menu.names("noises")] + [{"noise": "gumbel", "credit": "class"}]
    expected = [es(**each) for each in words]
    with torch.device("meta"):
        assert all(torch.equal(es(**each), before) for each, before in zip(words, expected, strict=True))


@pytest.mark.parametrize("credit", ["noise", "class"])
@pytest.mark.parametrize("shaping", menu.names("shapings"))
def test_micro_batches_with_their_place_are_one_batch_to_the_bit(shaping: str, credit: str) -> None:
    logits, targets = torch.linspace(-1, 1, 88).reshape(22, 4), torch.arange(22) % 4
    words = {"shaping": shaping, "credit": credit, "noise": "gumbel"}
    whole = es(logits, targets=targets, offset=3, **words)
    parts = [es(logits[i : i + 5], targets=targets[i : i + 5], offset=3 + i, **words) for i in range(0, 22, 5)]
    assert torch.equal(torch.cat(parts), whole)


# Agreement


@TWO_VARIANCES
@pytest.mark.parametrize(("shaping", "log"), [("raw", False), ("leave_one_out", False), ("maxrl", True)])
def test_estimates_have_the_exact_gradient_as_their_mean(shaping: str, log: bool, variance: float) -> None:
    """One call with many copies of each example, and the loop over steps that a user writes; maxrl up to its factor."""
    copies, num_samples = 4000, 40
    rows = torch.arange(len(LOGITS)).repeat_interleave(copies)
    words = {"num_samples": num_samples, "noise_variance": variance, "shaping": shaping}
    draws = es(LOGITS[rows], TARGETS[rows], **words).double().unflatten(0, (-1, copies))  # [B, copies, K]
    steps = torch.stack([es(**words, step=step) for step in range(300)], 1).double()  # [B, steps, K]
    value, gradient = exact_gradient(LOGITS, TARGETS, variance, log=log)
    factor = 1 - (1 - value.exp()) ** (num_samples - 1) if log else torch.ones(len(LOGITS))
    for sample in (draws, steps):
        error = sample.std(1) / sample.shape[1] ** 0.5
        assert ((sample.mean(1) - factor[:, None] * gradient).abs() <= 5 * error + 1e-6).all()


@TWO_VARIANCES
def test_the_exact_gradient_is_the_slope_of_its_value(variance: float) -> None:
    logits, width = LOGITS.double(), 1e-4 * math.sqrt(variance)
    for log in (False, True):
        gradient = exact(logits, noise_variance=variance, log=log)
        for k in range(4):
            shift = width * torch.eye(4, dtype=torch.float64)[k]
            high, low = (exact_gradient(logits + s, TARGETS, variance, log=log)[0] for s in (shift, -shift))
            torch.testing.assert_close((high - low) / (2 * width), gradient[:, k], rtol=1e-5, atol=1e-6)


@TWO_VARIANCES
def test_log_and_plain_are_one_pair(variance: float) -> None:
    p, gradient = exact_gradient(LOGITS, TARGETS, variance)
    log_p, log_gradient = exact_gradient(LOGITS, TARGETS, variance, log=True)
    torch.testing.assert_close(p, log_p.exp())
    torch.testing.assert_close(gradient, p[:, None] * log_gradient)
    assert p.shape == log_p.shape == (3,)


def test_log_p_stays_where_p_underflows() -> None:
    logits = torch.tensor([[0.0, 60.0]])
    p, _ = exact_gradient(logits, torch.tensor([0]), 1.0)
    log_p, gradient = exact_gradient(logits, torch.tensor([0]), 1.0, log=True)
    assert p == 0
    assert log_p.item() == pytest.approx(-(60**2) / 4, rel=0.01)
    assert gradient[0].tolist() == pytest.approx([30, -30], rel=0.01)


def test_every_step_draws_its_own_noise() -> None:
    steps = [es(step=step) for step in range(5)]
    assert not any(torch.equal(a, b) for i, a in enumerate(steps) for b in steps[:i])


def test_the_default_is_the_lecture_s() -> None:
    assert torch.equal(es(), es(noise="independent", shaping="raw"))
    assert not torch.equal(es(), es(shaping="leave_one_out"))


# In somebody's training loop


@BOTH
def test_no_gradient_leaks(gradient) -> None:
    logits = LOGITS.clone().requires_grad_()
    got = gradient(logits=logits)
    assert not got.requires_grad
    assert logits.grad is None
    assert logits.requires_grad
    assert torch.equal(logits, LOGITS)
    assert torch.equal(got, gradient())
    logits.backward(-got / len(logits))
    assert torch.equal(logits.grad, -got / len(logits))


def test_inference_mode_serves_too() -> None:
    with torch.inference_mode():
        assert torch.equal(es(LOGITS.clone()), es())


@pytest.mark.parametrize("shaping", menu.names("shapings"))
def test_a_model_learns_by_the_chain_rule(shaping: str) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 3
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    inputs = centres[targets] + 0.4 * torch.randn(120, 2, generator=generator)
    model = nn.Linear(2, 3)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=2.0)
    for step in range(40):
        optimizer.zero_grad()
        logits = model(inputs)
        gradient = es_gradient(logits, targets, num_samples=10, noise_variance=1.0, seed=0, step=step, shaping=shaping)
        logits.backward(-gradient / len(logits))
        optimizer.step()
    assert (model(inputs).argmax(1) == targets).float().mean() > 0.95


def test_the_public_names_are_where_the_package_says() -> None:
    assert {"es_gradient", "exact_gradient"} <= set(esgrad.__all__)
    assert all(getattr(esgrad, name) is not None for name in esgrad.__all__)
    with pytest.raises(AttributeError, match="no attribute 'es_gradeint'"):
        _ = esgrad.es_gradeint
