"""A control has its estimator's mean and covariance and nothing else of it, and is known by its name alone."""

from itertools import product
from math import nan, sqrt

import pytest
import torch
from torch import Tensor

from esgrad import laws as theory
from esgrad import menu
from esgrad.gradients import costs
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.kernels import streams
from esgrad.suite import config, sources
from esgrad.training.controls import gaussian
from tests import running
from tests.drawing import ALL, Words, modules
from tests.estimating import COPIES, EACH_SHAPING, LOGITS, NOISES, TARGETS, TWO_VARIANCES, N, estimates, hits

JUDGED = Facts.of(menu.load("blackboxes", "zero_one"))


def refuses(words: Words, facts: Facts = JUDGED, per_example: bool = True, logit_dim: int = 10) -> str | None:
    return gaussian.refuses(Estimator.of(*words, N), facts, per_example, logit_dim)


HAS_TWIN = [words for words in ALL if words[1] == "noise" and refuses(words) is None]
EACH_TWIN = pytest.mark.parametrize("words", HAS_TWIN, ids="-".join)


def controls(words: Words, variance: float, copies: int = COPIES // 4) -> Tensor:
    """Independent gradients [copies, E, K] of the control at LOGITS."""
    logits, targets = (part.repeat(copies, *[1] * (part.ndim - 1))[None] for part in (LOGITS, TARGETS))
    normals = streams.normals([0], streams.Role.NOISE, 1, N, N + 1, *logits.shape[1:])[:, 0]
    found = gaussian.gradient(Estimator.of(*words, N), logits, targets, torch.tensor([variance]), normals)
    return found[0].unflatten(0, (copies, -1)).double()


def law(words: Words, variance: float, logits: Tensor = LOGITS, targets: Tensor = TARGETS) -> tuple[Tensor, Tensor]:
    of = Estimator.of(*words, N)
    moments = theory.moments(of.noise, of.credit, logits, targets, variance, whole=True)
    return theory.mean_and_covariance(of.shaping, moments, N)


def assert_moments(draws: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Mean and covariance of draws [n, E, K] within 5 standard errors, component by component."""
    away = draws - mean
    for found, expected in ((draws, mean), (away[..., :, None] * away[..., None, :], covariance)):
        error = found.std(0) / sqrt(len(found))
        excess = (found.mean(0) - expected).abs() - 5 * error - 1e-6 * expected.abs().max()
        assert (excess <= 0).all()


@EACH_TWIN
@TWO_VARIANCES
def test_a_control_has_the_mean_and_the_covariance_of_the_law(words: Words, variance: float) -> None:
    assert_moments(controls(words, variance), *law(words, variance))


@EACH_TWIN
@TWO_VARIANCES
def test_without_noise_it_is_the_mean_and_unit_noises_make_up_the_covariance(words: Words, variance: float) -> None:
    """Within the jitter, 1e-9 of the mean variance."""
    mean, covariance = law(words, variance)
    noises = torch.cat([torch.zeros(1, 4), torch.eye(4)])[:, None].expand(5, 4, 4)  # [R, E, K]
    logits, targets = LOGITS.double().expand(5, 4, 4), TARGETS.expand(5, 4)
    t = torch.full((5,), variance, dtype=torch.float64)
    found = gaussian.gradient(Estimator.of(*words, N), logits, targets, t, noises)
    away = found[1:] - found[0]
    torch.testing.assert_close(found[0], mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        torch.einsum("rej,rek->ejk", away, away), covariance, rtol=1e-6, atol=1e-8 * covariance.abs().max().item()
    )


@EACH_TWIN
@TWO_VARIANCES
def test_its_estimator_has_them_too(words: Words, variance: float) -> None:
    noise, _, shaping = words
    assert_moments(estimates(noise, shaping, hits(), LOGITS, variance), *law(words, variance))


@EACH_TWIN
def test_its_noise_is_gaussian_and_its_estimators_is_not(words: Words) -> None:
    """Along each logit of each example, kurtosis 3 within 5 standard errors, √(24/n); a few samples have another."""
    (_, covariance), (noise, _, shaping) = law(words, 1.0), words
    for draws, gaussian_noise in (
        (controls(words, 1.0), True),
        (estimates(noise, shaping, hits(), LOGITS, 1.0), False),
    ):
        away = (draws - draws.mean(0)) / covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        kurtosis = away.pow(4).mean(0)
        assert bool(((kurtosis - 3).abs() < 5 * sqrt(24 / len(away))).all()) == gaussian_noise


@EACH_TWIN
@TWO_VARIANCES
def test_the_mean_is_what_the_shaping_says_it_expects(words: Words, variance: float) -> None:
    noise, _, shaping = words
    of = menu.load("noises", noise)
    arguments = LOGITS[None].double(), TARGETS[None], torch.tensor([variance], dtype=torch.float64)
    mean, _ = law(words, variance)
    for example, p in enumerate(of.EXACT.p.value(*arguments)[0].tolist()):
        promised = menu.load("shapings", shaping).expects(of, p, N)
        if promised is None and menu.load("shapings", shaping).ASCENDS is None:
            pytest.skip(f"{shaping} promises no exact gradient")
        arm, factor = promised
        exact = arm.gradient(*arguments)[0, example]
        torch.testing.assert_close(mean[example], factor * exact, rtol=1e-6, atol=0)


@EACH_TWIN
@pytest.mark.parametrize("ahead", [-300.0, -40.0, 0.0, 40.0, 300.0])
def test_far_ahead_and_far_behind_the_noise_is_finite_and_of_the_laws_size(words: Words, ahead: float) -> None:
    copies = 2000
    logits = torch.zeros(1, copies, 4)
    logits[..., 1] = ahead
    targets = torch.ones(1, copies, dtype=torch.int64)
    normals = streams.normals([0], streams.Role.NOISE, 1, N, N + 1, copies, 4)[:, 0]
    found = gaussian.gradient(Estimator.of(*words, N), logits, targets, torch.tensor([1.0]), normals)[0].double()
    mean, covariance = law(words, 1.0, logits[0, :1], targets[0, :1])
    assert torch.isfinite(found).all()
    square = (found - mean).square().sum(-1)
    away = square.mean() - covariance[0].trace()
    assert abs(float(away)) <= 5 * float(square.std()) / sqrt(copies) + 1e-30


@EACH_SHAPING
@pytest.mark.parametrize("noise", NOISES)
def test_every_independent_estimate_with_a_law_has_a_control_and_no_other(noise: str, shaping: str) -> None:
    words = noise, "noise", shaping
    known = modules(words)[0].INDEPENDENT and theory.has_law(*modules(words))
    assert (refuses(words) is None) == known == (words in HAS_TWIN)


def test_the_lecture_s_noise_and_gumbel_noise_have_controls_for_all_shapings_but_one() -> None:
    ours = ("raw", "leave_one_out", "success", "maxrl", "centered_ranks", "z_score")
    assert {(noise, "noise", shaping) for noise in ("independent", "gumbel") for shaping in ours} <= set(HAS_TWIN)
    assert {shaping for _, _, shaping in HAS_TWIN}.isdisjoint({"best_baseline"})


def test_a_shaping_without_a_covariance_law_is_told_which_have_one() -> None:
    said = refuses(("independent", "noise", "best_baseline"))
    assert said is not None
    assert "best_baseline" in said
    assert "those with weights of counts have one" in said


REFUSED = {
    "space": {"space": "parameters", "noise": "mirrored"},
    "noise": {"noise": "mirrored"},
    "blackbox": {"blackbox": "cross_entropy", "shaping": "leave_one_out"},
    "K": {"logit_dim": 101},
    "rule": {"schedule": "hit_rate"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
def test_where_there_is_no_covariance_law_the_cell_is_skipped_with_the_reason(changes: dict) -> None:
    ((_, _, reason),) = running.job(**changes, control="gaussian").cells()
    assert reason is not None
    assert any(str(value) in reason for value in changes.values())
    ((_, _, reason),) = running.job(**changes).cells()
    assert reason is None


@EACH_TWIN
def test_a_run_alone_equals_the_same_run_in_a_stack_to_the_bit(digits, words: Words) -> None:
    noise, credit, shaping = words
    job = running.job(control="gaussian", noise=noise, credit=credit, shaping=shaping, model="mlp")
    stack = running.run(job, digits)
    for seed, group in product((0, 1), running.GROUPS):
        alone = running.run(job, digits, groups=[group], seeds=(seed,))
        assert running.text(running.of_run(stack, seed, group)) == running.text(alone)


def test_another_seed_and_another_shaping_give_another_run(digits) -> None:
    rows = [running.run(running.job(control="gaussian", shaping=name), digits) for name in ("raw", "maxrl")]
    ends = {(row["seed"], row["validation_accuracy"]) for part in rows for row in part if row["step"] == 10}
    assert len(ends) > 2
    assert running.text(rows[0]) != running.text(running.run(running.job(), digits)), "its twin draws samples"


def test_its_costs_are_counted_as_its_twins_and_it_draws_one_number_for_each_of_the_points(digits) -> None:
    job, control = running.job(), running.job(control="gaussian")
    ends = [[row for row in running.run(each, digits) if row["step"] == 10][-1] for each in (job, control)]
    for unit in costs.Costs._fields:
        assert ends[0][unit] == ends[1][unit] != nan
    assert job.draws(8) == 8 * control.draws(8)


def test_its_sources_are_the_controls_and_the_laws_and_those_of_others_are_not() -> None:
    def names(job):
        return {path.relative_to(menu.PACKAGE).as_posix() for path in sources.of_job(job)}

    assert {"training/controls/gaussian.py", "laws/variance.py", "laws/curvature.py"} <= names(
        running.job(control="gaussian")
    )
    assert not {"training/controls/gaussian.py", "laws/variance.py", "laws/curvature.py"} & names(running.job())


LECTURE = {"space": "logits", "noise": "independent", "shaping": "raw", "blackbox": "zero_one"}


def suite(**methods: dict) -> dict:
    experiment = {"dataset": "digits", "methods": list(methods), "max_steps": 10}
    return {"name": "test", "methods": methods, "experiments": {"ladder": experiment}}


TWIN = LECTURE | {"control": "gaussian", "relative": "lecture"}


def test_a_control_of_a_method_of_the_same_settings_is_accepted_whatever_its_name() -> None:
    for name in ("lecture_gaussian", "twin"):
        made = config.jobs(config.validated(suite(**{"lecture": LECTURE, name: TWIN})))
        assert [job.control for job in made] == [None, "gaussian"]
        assert [job.relative for job in made] == [None, "lecture"]


WRONG = {
    "no twin": (suite(lecture_gaussian=TWIN), "unknown method as the relative of methods.lecture_gaussian"),
    "no relative": (
        suite(lecture=LECTURE, lecture_gaussian=LECTURE | {"control": "gaussian"}),
        "methods.lecture_gaussian is a control and stands in for a method",
    ),
    "other settings": (
        suite(lecture=LECTURE, twin=TWIN | {"shaping": "maxrl"}),
        "methods.twin is lecture but for its control, .* maxrl",
    ),
    "unknown": (suite(lecture=LECTURE, a=TWIN | {"control": "gausian"}), "Did you mean 'gaussian'"),
    "of an exact arm": (suite(backprop={"exact": "backprop", "control": "gaussian"}), "both exact and control"),
}


@pytest.mark.parametrize(("wrong", "said"), WRONG.values(), ids=WRONG)
def test_a_control_that_stands_for_nothing_is_refused_in_one_line(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        config.validated(wrong)
    assert "\n" not in str(error.value)
