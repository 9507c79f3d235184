"""`esgrad check`: what a card says of sound estimators, and that planted defects are found."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import esgrad
from esgrad.cli import main
from esgrad.conformance.card import Card

Gradient = Callable[..., Tensor]


def ours(**words: str) -> Gradient:
    def gradient(logits: Tensor, targets: Tensor, *, offset: int = 0, **asked: Any) -> Tensor:
        return esgrad.es_gradient(logits, targets, step=0, offset=offset, **asked, **words)

    return gradient


def slide(logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int) -> Tensor:
    """The lecture's ten lines."""
    drawn, total = torch.Generator().manual_seed(seed), torch.zeros_like(logits)
    for _ in range(num_samples):
        q = torch.randn(logits.shape, generator=drawn) * noise_variance**0.5
        total += ((logits + q).argmax(-1) == targets).float()[:, None] * q
    return total / (noise_variance * num_samples)


def said(card: Card) -> dict[str, str]:
    return {finding.law: finding.said for finding in card.findings}


def failed(card: Card) -> set[str]:
    return {finding.law for finding in card.findings if finding.passed is False}


@pytest.mark.parametrize(
    ("words", "unbiased", "law"),
    [
        ({}, "∇p", "raw credited with the noise"),
        ({"shaping": "leave_one_out"}, "∇p", "leave_one_out credited with the noise"),
        ({"credit": "class"}, "∇p", "credited with the class"),
        ({"shaping": "success"}, "(1 − (1−p)^N) ∇log p", "success credited with the noise"),
        ({"shaping": "maxrl"}, "(1 − (1−p)^(N−1)) ∇log p", "maxrl credited with the noise"),
        ({"shaping": "maxrl", "credit": "class"}, "(1 − (1−p)^(N−1)) ∇log p", "maxrl credited with the class"),
        ({"noise": "gumbel", "credit": "class"}, "∇p under Gumbel noise", "raw credited with the class"),
        (
            {"noise": "gumbel", "shaping": "success", "credit": "class"},
            "(1 − (1−p)^N) ∇log p under Gumbel noise",
            "success credited with the class",
        ),
    ],
    ids=str,
)
def test_our_own_estimators_keep_their_laws(words: dict[str, str], unbiased: str, law: str) -> None:
    card = esgrad.check(ours(**words))
    found = said(card)
    assert card.passed, card.lines()
    assert found["unbiased for"].startswith(f"{unbiased} within")
    assert law in found["variance"]
    assert found["micro-batches"] == "with offset= are one batch, to the bit"
    assert found["NaN"] == "is refused: ValueError"


def test_the_lecture_s_lines_keep_their_laws() -> None:
    card = esgrad.check(slide)
    assert card.passed, card.lines()
    found = said(card)
    assert found["NaN"] == "gives numbers there, silently; the other examples are as before"
    assert "it takes no offset=" in found["micro-batches"]
    assert "unknown" in found["queries"]


def changed(change: Callable[[Tensor, dict[str, Any]], Tensor]) -> Gradient:
    return lambda logits, targets, **asked: change(slide(logits, targets, **asked), asked)


def by_the_global_seed(logits: Tensor, targets: Tensor, *, seed: int, **asked: Any) -> Tensor:
    return slide(logits, targets, seed=int(torch.randint(2**31, ())), **asked)


def that_sets_the_global_seed(logits: Tensor, targets: Tensor, *, seed: int, **asked: Any) -> Tensor:
    random.seed(seed)
    return slide(logits, targets, seed=random.randrange(2**31), **asked)


def without_a_baseline(logits: Tensor, targets: Tensor, **asked: Any) -> Tensor:
    """Fitness from −1 to 0: the same mean, more variance where hits are few."""
    level = slide(logits, targets, **asked)
    q = slide(torch.zeros_like(logits), torch.zeros_like(targets), **(asked | {"seed": asked["seed"] + 77}))
    return level + 3 * (q - q.mean(0, keepdim=True))


def of_the_other_class(logits: Tensor, targets: Tensor, **asked: Any) -> Tensor:
    found = slide(logits, targets, **asked)
    return found + 0.2 * slide(logits, (targets + 1) % 4, **(asked | {"seed": asked["seed"] + 1}))


def in_place(logits: Tensor, targets: Tensor, **asked: Any) -> Tensor:
    found = slide(logits, targets, **asked)
    logits += 1
    return found


def of_neighbouring_seeds(logits: Tensor, targets: Tensor, *, num_samples: int, seed: int, **asked: Any) -> Tensor:
    """Sample n by the seed `seed + n`: two seeds share all samples but one."""
    return sum(slide(logits, targets, num_samples=1, seed=seed + n, **asked) for n in range(num_samples)) / num_samples


def mirrored_seeds(logits: Tensor, targets: Tensor, *, seed: int, **asked: Any) -> Tensor:
    """An odd seed draws minus what the one before it drew, around the same mean."""
    found = slide(logits, targets, seed=seed // 2, **asked)
    return found if seed % 2 == 0 else 2 * esgrad.exact_gradient(logits, targets, asked["noise_variance"])[1] - found


def rolled_in_small_batches(logits: Tensor, targets: Tensor, **asked: Any) -> Tensor:
    found = slide(logits, targets, **asked)
    return found.roll(1, 0) if len(logits) < 64 else found


def of_twelve(logits: Tensor, targets: Tensor, *, num_samples: int, **asked: Any) -> Tensor:
    """No more than twelve samples, and still divided by N."""
    used = min(12, num_samples)
    return slide(logits, targets, num_samples=used, **asked) * (used / num_samples)


DEFECTS: list[tuple[str, Gradient, set[str], str]] = [
    ("descends", changed(lambda g, asked: -g), {"sign", "scale"}, "descends: negate it"),
    ("half", changed(lambda g, asked: g / 2), {"scale"}, "times ∇p: the same factor everywhere"),
    ("σ for t", changed(lambda g, asked: g * asked["noise_variance"] ** 0.5), {"scale"}, "it grows as t^0.50"),
    ("mean of the batch", changed(lambda g, asked: g / len(g)), {"scale"}, "one over the number of examples, 80000"),
    ("nothing", changed(lambda g, asked: 0 * g), {"sign", "scale", "unbiased for"}, "has no direction"),
    ("in place", in_place, {"global state"}, "that it is handed are changed: work on a copy"),
    ("seed + n", of_neighbouring_seeds, {"seed"}, "seeds 0 and 1 draw has a correlation of 0.8"),
    ("the other class", of_the_other_class, {"scale", "unbiased for"}, "neither p nor log p"),
    ("noisy", without_a_baseline, {"variance"}, "times that of"),
    ("no seed", lambda *a, seed, **k: slide(*a, seed=0, **k), {"seed"}, "seeds 1 and 2 give the same numbers"),
    ("few seeds", lambda *a, seed, **k: slide(*a, seed=seed % 3, **k), {"seed"}, "seeds 1 and 4 give the same numbers"),
    ("a fixed N", changed(lambda g, asked: g * asked["num_samples"] / 6), {"scale"}, "it grows as N^1.00"),
    ("a little long", changed(lambda g, asked: 1.04 * g), {"scale"}, "the same factor everywhere"),
    ("clamped logits", lambda x, *a, **k: slide(x.clamp(-10, 10), *a, **k), {"scale", "unbiased for"}, "neither p nor"),
    ("mirrored seeds", mirrored_seeds, {"seed"}, "seeds 0 and 1 draw has a correlation of -0"),
    ("rolled", rolled_in_small_batches, {"unbiased for"}, "batches of 4 examples"),
    ("twelve samples", of_twelve, {"scale", "variance"}, "it grows as N^-0."),
    ("at small t", changed(lambda g, asked: g * (1 + (asked["noise_variance"] < 0.2))), {"scale"}, "it grows as t^-"),
    ("the third class", lambda x, y, **k: slide(x, y.where(y != 2, 3), **k), {"scale", "unbiased for"}, "neither"),
    ("global seed", by_the_global_seed, {"seed", "global state"}, "decides the noise"),
    ("sets the seed", that_sets_the_global_seed, {"global state"}, "of Python is changed"),
]


@pytest.mark.parametrize(("gradient", "laws", "words"), [each[1:] for each in DEFECTS], ids=[d[0] for d in DEFECTS])
def test_a_planted_defect_is_found_and_nothing_else(gradient: Gradient, laws: set[str], words: str) -> None:
    card = esgrad.check(gradient)
    assert failed(card) == laws, card.lines()
    assert card.passed is not bool(laws)
    assert words in " ".join(said(card).values())


def test_an_estimator_whose_examples_share_their_noise_is_asked_seed_by_seed() -> None:
    def lecture(logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int) -> Tensor:
        q = torch.randn(num_samples, 1, 4, generator=torch.Generator().manual_seed(seed)) * noise_variance**0.5
        hit = ((logits + q).argmax(-1) == targets).float()
        return (hit[..., None] * q).mean(0) / noise_variance

    card = esgrad.check(lecture)
    assert card.passed, card.lines()
    assert said(card)["batch"] == "its examples share their noise"
    assert said(card)["unbiased for"].startswith("∇p within")
    assert not esgrad.check(lambda *a, **k: 1.3 * lecture(*a, **k)).passed


def test_neighbours_that_share_their_noise_and_other_types_are_told() -> None:
    def in_pairs(logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int) -> Tensor:
        q = torch.randn(num_samples, -(-len(logits) // 2), 4, generator=torch.Generator().manual_seed(seed))
        q = q.repeat_interleave(2, 1)[:, : len(logits)].double() * noise_variance**0.5
        hit = ((logits + q).argmax(-1) == targets).double()
        return (hit[..., None] * q).mean(0) / noise_variance

    found = said(esgrad.check(in_pairs))
    assert found["batch"].startswith("neighbouring examples share noise: their")
    assert found["type"] == "float64, where the logits are float32"


def test_an_exact_gradient_needs_no_seed() -> None:
    card = esgrad.check(
        lambda logits, targets, *, noise_variance, **_: esgrad.exact_gradient(logits, targets, noise_variance)[1]
    )
    assert card.passed, card.lines()
    assert said(card)["seed"] == "is not needed: nothing is drawn"


def test_an_estimator_that_raises_is_told_how_it_is_called(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(
        RuntimeError, match=r"<lambda> failed: TypeError: .* \(it is called as fn\(logits, targets, \*, num"
    ):
        esgrad.check(lambda logits, targets: logits)
    assert main(["check", "os.path:join"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("esgrad: error: os.path:join failed: TypeError")
    assert said.count("\n") == 1


def test_queries_are_counted_where_the_box_can_be_handed_over() -> None:
    def gradient(
        logits: Tensor, targets: Tensor, *, num_samples: int, noise_variance: float, seed: int, blackbox: Any = None
    ) -> Tensor:
        judge = blackbox or (lambda x, y: (x.argmax(-1) == y).float())
        f = esgrad.blackbox(judge, num_samples=num_samples, noise_variance=noise_variance, seed=seed, shaping="raw")
        point = logits.clone().requires_grad_()
        f(point, targets, step=0).sum().backward()
        assert point.grad is not None
        return point.grad

    assert said(esgrad.check(gradient))["queries"] == "7 an example at N = 6"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda logits: logits.tolist(), "a gradient is a torch tensor, not a list"),
        (lambda logits: logits.sum(0), r"has the logits' shape \[80000, 4\], not \[4\]"),
        (lambda logits: logits * torch.nan, "NaN or infinities"),
    ],
)
def test_what_is_no_gradient_is_refused(answer: Callable[[Tensor], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        esgrad.check(lambda logits, targets, **asked: answer(logits))


MODULE = """
import esgrad

def good(logits, targets, **asked):
    return esgrad.es_gradient(logits, targets, step=0, **asked)

def bad(logits, targets, **asked):
    return -good(logits, targets, **asked)
"""


@pytest.mark.parametrize(("function", "code"), [("good", 0), ("bad", 1)])
def test_the_command_prints_a_card_and_its_exit_code_is_the_verdict(
    function: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "their_module.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["check", f"their_module:{function}"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"their_module:{function}"
    assert lines[-1] == ("every judged law holds" if code == 0 else "not every judged law holds")
    assert main(["check", f"their_module:{function}", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["passed"] == (code == 0)


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("their_module", "'their_module' is no module:function"),
        ("no_such_module:f", "there is no module 'no_such_module' here or installed"),
        ("esgrad.conformance.means:sing", "unknown function in esgrad.conformance.means 'sing'. Did you mean 'sign'?"),
    ],
)
def test_a_function_that_is_not_there_is_named(word: str, words: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["check", word]) == 2
    assert words in capsys.readouterr().err
