"""`esgrad plan`: what it reads, what it prints, and what it answers to wrong questions."""

import json
import re

import numpy as np
import pytest
import torch

import esgrad
from esgrad import cli
from esgrad.planning.plan import EXAMPLE


def said(capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    code = cli.main(["plan", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def files(tmp_path):
    """Paths of arrays, good and bad."""
    logits = np.random.default_rng(0).normal(size=(6, 4))
    holed = logits.copy()
    holed[2, 1] = np.nan
    arrays = {
        "logits": logits,
        "half": logits.astype(np.float16),
        "swapped": logits.astype(">f4"),
        "whole": np.ones((6, 4), dtype=int),
        "words": np.array([["a"] * 4] * 6),
        "objects": np.array([Planted()] * 6, dtype=object),
        "holed": holed,
        "flat": logits[:, 0],
        "one": logits[:, :1],
        "targets": np.arange(6) % 4,
        "small": (np.arange(6) % 4).astype(np.uint8),
        "high": np.arange(6),
        "short": np.arange(3),
        "real": np.arange(6) / 2,
        "huge": np.arange(6, dtype=np.uint64) + np.uint64(2**63),
    }
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values, allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").write_text("")
    np.savez(tmp_path / "many.npz", logits)
    return tmp_path


class Planted:
    """Unpickling it is seen."""

    opened = False

    def __reduce__(self):
        return _opened, ()


def _opened():
    Planted.opened = True


@pytest.mark.parametrize("logits", ["logits", "half", "swapped"])
@pytest.mark.parametrize("targets", ["targets", "small"])
def test_it_reads_logits_and_targets_of_any_width_and_byte_order(capsys, files, logits, targets):
    given = ["--logits", files / f"{logits}.npy", "--targets", files / f"{targets}.npy"]
    code, out, _ = said(capsys, *given, "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["num_samples"] >= 1
    assert {"noise_variance", "gradient_variance", "noise", "shaping", "cosine", "space", "logit_dim"} <= set(answer)
    assert (answer["noise"], answer["shaping"], answer["noise_variance"]) == ("independent", "raw", 1.0)
    assert answer["num_samples"] == esgrad.plan(logits=np.load(given[1]), targets=np.load(given[3]))["num_samples"]


WRONG_FILES = {
    "missing": ("nowhere", "targets", "nowhere.npy"),
    "objects": ("objects", "targets", "never unpickled"),
    "text": ("text", "targets", "no .npy file"),
    "empty": ("empty", "targets", "no .npy file"),
    "words": ("words", "targets", "<U1"),
    "whole logits": ("whole", "targets", "floating-point numbers, not torch.int64"),
    "NaN": ("holed", "targets", "example 2"),
    "one dimension": ("flat", "targets", r"\[B, K\]"),
    "one class": ("one", "short", r"\[B\] = \[6\]"),
    "labels too high": ("logits", "high", "targets of zero_one lie from 0 to 3, but one is 4"),
    "too few labels": ("logits", "short", r"\[B\] = \[6\]"),
    "labels beyond 2⁶³": ("logits", "huge", "one is 9223372036854775813"),
    "labels that are not whole": ("logits", "real", "whole numbers"),
}


@pytest.mark.parametrize(("logits", "targets", "pattern"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_answered_in_one_line_with_exit_code_2(capsys, files, logits, targets, pattern):
    _one_line(said(capsys, "--logits", files / f"{logits}.npy", "--targets", files / f"{targets}.npy"), pattern)
    assert not Planted.opened


def test_several_arrays_in_a_file_are_refused(capsys, files):
    _one_line(said(capsys, "--logits", files / "many.npz", "--targets", files / "targets.npy"), "several arrays")


KNOWN = ".*centered_ranks, raw with mirrored"
PRICE = "--query-cost 1 --forward-cost 50"
WRONG = {
    "no problem": ("", "one problem is needed.*none of them"),
    "two problems": ("--logit-dim 10 --parameters 9", "logit_dim and parameters"),
    "logits alone": ("--logit-dim 10 --targets {targets}", "logit_dim and targets"),
    "targets alone": ("--targets {targets}", "targets came alone"),
    "two questions": ("--logit-dim 10 --cosine .5 --num-samples 5", "two questions"),
    "K": ("--logit-dim 1", "logit_dim.*from 2.*not 1"),
    "negative K": ("--logit-dim=-3", "logit_dim.*not -3"),
    "huge K": ("--logit-dim 99999999999", "logit_dim.*1,000,000,000"),
    "d": ("--parameters 1", "parameters.*from 2.*not 1"),
    "N": ("--logit-dim 10 --num-samples 0", "num_samples.*not 0"),
    "B": ("--logit-dim 10 --batch-size 0", "batch_size.*not 0"),
    "cosine 0": ("--logit-dim 10 --cosine 0", "cosine.*between 0 and 1.*not 0.0"),
    "cosine 1": ("--logit-dim 10 --cosine 1", "cosine.*not 1.0"),
    "NaN": ("--logit-dim 10 --cosine nan", "cosine.*not nan"),
    "t": ("--logit-dim 10 --noise-variance 0", "noise_variance.*not 0.0"),
    "infinite t": ("--logit-dim 10 --noise-variance inf", "noise_variance.*not inf"),
    "odd N": ("--logit-dim 10 --noise mirrored --num-samples 3", "N = 3 is odd"),
    "odd N at the parameters": ("--parameters 10 --num-samples 3", "N = 3 is odd"),
    "N = 1": ("--logit-dim 10 --shaping maxrl --num-samples 1", "identically 0"),
    "a noise's name": ("--logit-dim 10 --noise mirored", "Did you mean 'mirrored'"),
    "a shaping's name": ("--parameters 10 --shaping rawe", "Did you mean 'raw'"),
    "no law": (
        "--logit-dim 10 --noise orthogonal",
        "no law is known for orthogonal × raw.*known: .*centered_ranks, raw with mirrored",
    ),
    "no law for a price": (
        f"--logit-dim 10 --noise quasi {PRICE}",
        "no law is known for quasi.*centered_ranks, raw with mirrored",
    ),
    "no law at the parameters": ("--parameters 9 --shaping maxrl", "mirrored × maxrl.*mirrored × centered_ranks"),
    "half a price": ("--logit-dim 10 --query-cost 1", "query_cost.*forward_cost.*both"),
    "a price of nothing": ("--logit-dim 10 --query-cost 0 --forward-cost 1", "query_cost.*not 0.0"),
    "an assumption without a price": ("--logit-dim 10 --min-steps 5", "min_steps.*query_cost and forward_cost"),
    "a price at the parameters": (f"--parameters 10 {PRICE}", "no law of a price.*`esgrad plan .*` would do"),
    "half a price at the parameters": (
        "--parameters 10 --query-cost 1",
        "no law of a price.*`esgrad plan .*` would do",
    ),
    "a price of no problem": (PRICE, "one problem is needed.*`esgrad plan .*` would do"),
    "an odd N for a price": (
        f"--logit-dim 10 --noise mirrored --num-samples 3 {PRICE}",
        "num_samples 3 has no price.*3 is odd",
    ),
    "a cosine at no price": (
        f"--logit-dim 1000000000 --cosine .999 {PRICE}",
        "no N up to 1e.18.*cosine of 0.999 here.*less than 0.* would do",
    ),
    "beyond all N at the parameters": ("--parameters 1000000000000000 --cosine .9999999", "no N up to"),
    "beyond all N": ("--logit-dim 1000000000 --cosine .999", "no N up to 1e.18.*less than 0.* would do"),
    "a cosine next to 1": ("--logit-dim 10 --cosine 0.999999999", "cosine 0.999999999 is nearer to 1.*0.9999 would do"),
    "a price at a cosine next to 1": (f"--logit-dim 10 --cosine .99999 {PRICE}", "cosine 0.99999 is nearer to 1"),
    "a black box that sees more": (
        "--logit-dim 10 --blackbox cross_entropy",
        "cross_entropy sees more than classes.*digit_sum or zero_one would do",
    ),
    "a black box's name": ("--logit-dim 10 --blackbox zero_on", "Did you mean 'zero_one'"),
    "readings of a label": (
        "--logit-dim 10 --readings 2",
        "not judge 2 readings of 10 logits: .* or the black box digit_sum would do",
    ),
    "no readings": ("--logit-dim 10 --readings 0", "readings is a whole number from 1 to 5, not 0"),
    "other readings": (
        "--logit-dim 7 --readings 2 --blackbox digit_sum",
        "readings of 10 logits each: 14 do not divide",
    ),
    "readings of logits": (
        "--logits {logits} --targets {targets} --readings 2",
        "readings 2 came with logits, whose shape tells",
    ),
    "logits of no readings": (
        "--logits {logits} --targets {targets} --blackbox digit_sum",
        "readings of 10 logits each: 4 do not divide",
    ),
    "a black box at the parameters": ("--parameters 10 --blackbox zero_one", "at the parameters the fitness is taken"),
    "mirrored readings": (
        "--logit-dim 10 --readings 2 --blackbox digit_sum --noise mirrored",
        "no law is known for mirrored × raw.*known: .*z_score with independent or gumbel",
    ),
    "half a class": ("--logit-dim 10.5", "--logit-dim: expected a whole number, not '10.5': 10 would do"),
    "no number of classes": ("--logit-dim x", "--logit-dim: expected a whole number, not 'x': 10 would do"),
    "N as a float": ("--logit-dim 9 --num-samples 1e3", "--num-samples: .* whole number, not '1e3': 1000 would do"),
    "no cosine": ("--logit-dim 9 --cosine half", "--cosine: expected a number, not 'half': 0.5 would do"),
    "no such option": ("--logit-dim 9 --cosign .5", "unrecognized arguments: --cosign .5"),
    "no value": ("--logit-dim", "--logit-dim: expected one argument"),
}


@pytest.mark.parametrize(("arguments", "pattern"), WRONG.values(), ids=WRONG)
def test_a_wrong_question_is_answered_in_one_line_with_exit_code_2(capsys, files, arguments, pattern):
    _one_line(
        said(capsys, *arguments.format(targets=files / "targets.npy", logits=files / "logits.npy").split()), pattern
    )


def _one_line(answer, pattern):
    code, out, err = answer
    assert code == 2
    assert out == ""
    assert re.search(pattern, err), err
    assert len(err.strip().splitlines()) == 1, err
    assert len(err) < 400


def test_the_example_that_errors_name_works(capsys):
    code, out, _ = said(capsys, *EXAMPLE.strip("`").split()[2:])
    assert code == 0
    low, high = esgrad.plan(logit_dim=10, query_cost=1, forward_cost=50)["num_samples_within_tenth"]
    assert out.startswith(
        f"answer   N = {low:,} to {high:,} samples per example, all within a tenth of the least price"
    )


def test_the_plain_answer_is_a_few_lines_that_begin_with_n(capsys):
    code, out, _ = said(capsys, "--logit-dim", 1000, "--cosine", 0.5)
    assert code == 0
    count = esgrad.plan(logit_dim=1000, cosine=0.5)["num_samples"]
    assert f"N = {count:,} samples per example" in out.splitlines()[0]
    assert len(out.splitlines()) <= 7
    code, out, _ = said(capsys, "--logit-dim", 10, *PRICE.split())
    assert code == 0
    assert len(out.splitlines()) <= 15
    assert max(map(len, out.splitlines())) < 200


def test_the_public_name_is_the_function_however_often_it_is_asked_for():
    first = esgrad.plan
    assert callable(first)
    assert esgrad.plan is first
    assert "plan" in esgrad.__all__


def test_planning_draws_nothing():
    state = torch.get_rng_state()
    esgrad.plan(logits=torch.zeros(2, 3), targets=torch.tensor([0, 1]))
    assert torch.equal(state, torch.get_rng_state())
