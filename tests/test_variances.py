"""What every rule for t keeps, over the menu of variances, and what each one says."""

from collections.abc import Callable
from math import isnan, nan, sqrt
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.gradients.quadrature import log_probability_and_gradient
from esgrad.gradients.schedules import Last
from esgrad.kernels import streams
from esgrad.kernels.streams import Role
from esgrad.tasks.data import Data
from esgrad.tasks.stack import Stack, initialised
from esgrad.training.job import Job
from esgrad.training.loop import Ascent, Images
from tests.running import GROUPS, KINDS, SAMPLES, job, of_run, run, text

JUDGED = Facts.of(menu.load("blackboxes", "zero_one"))
RULES = [rule for rule in menu.names("schedules") if not menu.load("schedules", rule).LEARNS]
LEARNT = sorted({*menu.names("schedules")} - {*RULES})
EACH = pytest.mark.parametrize("rule", RULES)
RELATIVE = [rule for rule in RULES if rule != "fixed"]


def t(rule: str, point: Tensor, level: float = 0.5, progress: float = 0.0, before: float = nan, rate: float = nan):
    """The rule's t for logits [R, M, D]; the first where nothing is known of a step before."""
    of, (start, *last) = menu.load("schedules", rule), (torch.full((len(point),), x) for x in (level, before, rate))
    without_samples = of.refuses(JUDGED, menu.load("spaces", "logits"), samples=False) is None
    first = isnan(before) or (isnan(rate) and not without_samples)
    return of.variance(start, None if first else Last(*last), point, progress)


def logits(spread: float, runs: int = 3) -> Tensor:
    return spread * torch.randn(runs, 7, 10, generator=torch.Generator().manual_seed(0))


@EACH
@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rate", [nan, 0.0, 1.0])
def test_t_is_positive_and_one_for_each_run_or_position(rule: str, spread: float, progress: float, rate: float):
    got = t(rule, logits(spread), progress=progress, before=0.5, rate=rate)
    assert got.shape in [(3,), (3, 7)]
    assert torch.isfinite(got).all()
    assert (got > 0).all()


@EACH
def test_a_rule_knows_no_other_run(rule: str):
    whole = t(rule, logits(2.0), before=1.0, rate=0.2)
    for each in range(3):
        assert torch.equal(t(rule, logits(2.0)[[each]], before=1.0, rate=0.2)[0], whole[each])


@pytest.mark.parametrize("rule", ["spread", "annealed"])
@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_t_follows_the_scale_of_the_logits_squared(rule: str, scale: float):
    """As the estimate depends on logits/σ alone, such a rule undoes the network's scale."""
    torch.testing.assert_close(t(rule, scale * logits(1.0)), scale**2 * t(rule, logits(1.0)))
    shifted = t(rule, logits(1.0) + 5)  # what is added to all logits of an example decides nothing
    torch.testing.assert_close(shifted, t(rule, logits(1.0)), rtol=1e-4, atol=0)


def test_fixed_does_not_look_at_the_logits():
    assert t("fixed", logits(9.0), level=0.3).tolist() == pytest.approx([0.3] * 3)


def test_the_spread_is_the_standard_deviation_within_an_example():
    point = torch.tensor([[[1.0, -1.0], [10.0, 4.0]]])
    assert t("spread", point, level=4.0).tolist() == [[4.0, 36.0]]


def test_annealed_falls_from_the_level_to_a_hundredth_by_equal_factors():
    point = torch.tensor([[[1.0, -1.0]]])
    got = [t("annealed", point, level=4.0, progress=progress).item() for progress in (0.0, 0.5, 1.0)]
    assert got == pytest.approx([4.0, 0.4, 0.04])


@pytest.mark.parametrize("gap", [0.5, 5.0])
@pytest.mark.parametrize("start", [0.01, 100.0])
def test_hit_rate_finds_the_t_at_which_half_of_the_samples_hit(gap: float, start: float):
    """Fed with the exact probability of a target that leads nine others, which falls from 1 to 0.1 as t grows."""
    point, target = torch.zeros(1, 1, 10), torch.tensor([[0]])
    point[..., 0] = gap
    now, rate = start, nan
    for _ in range(1500):
        now = t("hit_rate", point, level=start, before=now, rate=rate).item()
        rate = log_probability_and_gradient(point, target, sqrt(now))[0].exp().item()
    assert rate == pytest.approx(0.5, abs=0.01)
    assert now == pytest.approx(0.5 * gap**2, rel=0.5)  # σ of the gap's own size


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_hit_rate_stays_within_sight_of_the_logits(rate: float):
    point, now = logits(1.0, 1), 1.0
    for _ in range(3000):
        now = t("hit_rate", point, before=now, rate=rate).item()
    assert sqrt(now) == pytest.approx(100.0 ** (1 if rate else -1), rel=0.2)


@pytest.mark.parametrize(("rate", "factor"), [(1.0, 1.05127), (0.0, 0.95123), (0.5, 1.0), (0.75, 1.02532)])
def test_a_step_of_hit_rate_moves_t_by_a_tenth_of_what_the_hits_miss_one_half_by(rate: float, factor: float):
    """e^(0.1 (rate − ½)), in numbers, so that another gain is another rule."""
    assert t("hit_rate", logits(1.0, 1), before=1.0, rate=rate).item() == pytest.approx(factor, abs=2e-5)


@EACH
def test_a_run_under_a_rule_equals_itself_in_a_stack_to_the_bit(rule: str, digits: Data):
    of = job(schedule=rule)
    whole = run(of, digits, GROUPS, (0, 1))
    for seed in (0, 1):
        for group in GROUPS:
            assert text(run(of, digits, [group], (seed,))) == text(of_run(whole, seed, group))


@EACH
@pytest.mark.parametrize("exact", ["smoothed", "log_smoothed"])
def test_an_exact_arm_takes_the_rule_s_t_or_says_why_not(rule: str, exact: str, digits: Data):
    of = job(schedule=rule, **KINDS[exact])
    ((_, _, reason),) = of.cells()
    if rule == "hit_rate":
        assert "none are drawn here" in reason
        return
    assert reason is None
    last = run(of, digits, [(1.0, 0.01)], (0,))[-1]
    assert last["status"] == "ok"


@EACH
def test_a_row_tells_the_noise_beside_the_spread(rule: str, digits: Data):
    rows = run(job(schedule=rule), digits, [(0.25, 0.01)], (0,))
    assert all(row["spread"] > 0 for row in rows)
    ratio = [row["sigma"] / row["spread"] for row in rows[1:]]
    if rule == "fixed":
        assert {row["sigma"] for row in rows} == {0.5}
    elif rule == "spread":  # of the batch before the step against the validation set after it
        assert ratio == pytest.approx([0.5] * len(ratio), rel=0.25)
    elif rule == "annealed":
        assert ratio[-1] < 0.2 * ratio[0]


def test_sigma_and_spread_are_recorded_to_four_digits(digits: Data):
    """So that the last bits of a machine's sums do not stand in a record, and nothing that a figure shows is lost."""
    rows = run(job(schedule="fixed"), digits, [(1 / 3, 0.01)], (0, 1))
    assert {row["sigma"] for row in rows} == {0.5774}
    spreads = [row["spread"] for row in rows]
    assert spreads == [float(f"{spread:.4g}") for spread in spreads]
    assert spreads != [float(f"{spread:.3g}") for spread in spreads]


@pytest.mark.parametrize("steps", [5, 20])
def test_a_shorter_run_is_annealed_to_its_own_end(steps: int, digits: Data):
    """So that a tuning run, at a fraction of the steps, is a reported one in small."""
    rows = run(job(schedule="annealed"), digits, [(1.0, 1e-5)], (0,), steps=steps)
    assert rows[-1]["sigma"] / rows[1]["sigma"] == pytest.approx(10 ** -(1 - 1 / steps), rel=0.1)


@pytest.mark.parametrize("rule", [rule for rule in RELATIVE if rule != "decaying"])
def test_noise_at_the_parameters_has_no_logits_to_follow(rule: str):
    ((_, _, reason),) = job(schedule=rule, space="parameters", noise="mirrored").cells()
    assert "at each example's logits; elsewhere t is fixed" in reason or "no position here is one's own" in reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"blackbox": "cross_entropy"}, "hits and misses"), ({"space": "batch"}, "at each example's logits")],
    ids=str,
)
def test_hit_rate_needs_hits(changes: dict, said: str):
    """Not a number, and not a mean over a batch."""
    ((_, _, reason),) = job(schedule="hit_rate", **changes).cells()
    assert said in reason
    ((_, _, reason),) = job(schedule="fixed", **changes).cells()
    assert reason is None


# The rule within the loop


class Step(NamedTuple):
    """What one step was made of: the gradient [R, M, D] at logits [R, M, D], t, and the share of hits [R]."""

    gradient: Tensor
    point: Tensor
    targets: Tensor
    t: Tensor
    rate: Tensor


LEVELS = torch.tensor([0.02, 3.0])


def first_always_second_never(points: Tensor, targets: Tensor) -> Tensor:
    hits = torch.zeros(points.shape[:-1])
    hits[0] = 1.0
    return hits


ZERO_ONE = menu.load("blackboxes", "zero_one")
JUDGES = {"all or none": first_always_second_never, "real": ZERO_ONE.fitness}


def judging(fitness: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """zero_one as a black box, with another fitness."""
    return SimpleNamespace(**{**vars(ZERO_ONE), "fitness": fitness, "IS_HIT": False})


def steps(of: Job, digits: Data, count: int = 5, judge: str = "real") -> list[Step]:
    """The first steps of two runs, at LEVELS, of a network that stays as it is."""
    build = menu.load("models", "linear").build
    stack = Stack([initialised(lambda: build((1, 8, 8), 10, 16), 0) for _ in LEVELS])
    images, ascent = Images(digits, [0], "cpu"), Ascent(of, SAMPLES, [0], LEVELS, count)
    done = []
    for step in range(1, count + 1):
        seen: list[Tensor] = []

        def judged(points: Tensor, targets: Tensor, seen: list[Tensor] = seen) -> Tensor:
            fitness = JUDGES[judge](points, targets)
            seen.append(fitness.flatten(1))
            return fitness

        at = of.resolved_method.space.place(stack, *images.batch(step - 1, 32, 2), judging(judged))
        with torch.no_grad():
            found = ascent(at, step)
        rate = torch.cat(seen, 1).mean(1) if seen else torch.full((2,), nan)
        done.append(Step(found, at.point.detach(), at.targets, ascent.last.variance.clone(), rate))
    return done


@pytest.mark.parametrize("judge", JUDGES)
def test_hit_rate_moves_log_t_at_each_step_by_the_hits_of_the_step_before(judge: str, digits: Data):
    """By GAIN (rate − ½) each, from the level on, of all of its samples and of no other run's."""
    done = steps(job(schedule="hit_rate"), digits, judge=judge)
    gain, rates = menu.load("schedules", "hit_rate").GAIN, torch.stack([step.rate for step in done])
    assert gain > 0
    assert (rates[:, 0] != rates[:, 1]).all()
    moves = torch.stack([step.t.log() for step in done]).diff(dim=0)
    assert torch.equal(done[0].t, LEVELS)
    torch.testing.assert_close(moves, gain * (rates[:-1] - 0.5), rtol=0, atol=1e-5)
    assert (moves.abs() > 1e-3).any()


def test_t_is_of_the_share_of_the_run_that_is_over_before_the_step(digits: Data):
    """The first step is annealed by nothing: its t is that of `spread`."""
    annealed = menu.load("schedules", "annealed")
    for index, step in enumerate(steps(job(schedule="annealed"), digits)):
        torch.testing.assert_close(step.t, annealed.variance(LEVELS, Last(LEVELS, LEVELS), step.point, index / 5))
    spread = steps(job(schedule="spread"), digits, 1)[0].t
    torch.testing.assert_close(steps(job(schedule="annealed"), digits)[0].t, spread, rtol=0, atol=0)


NOISY_EXACT = [name for name in menu.names("exact") if menu.load("exact", name).USES_VARIANCE]


@pytest.mark.parametrize("rule", ["spread", "annealed"])
@pytest.mark.parametrize("exact", NOISY_EXACT)
def test_an_exact_arm_under_a_rule_is_exact_at_the_rule_s_t(exact: str, rule: str, digits: Data):
    of = job(**KINDS[exact], schedule=rule)
    for step in steps(of, digits, 2):
        expected = menu.load("exact", exact).gradient(step.point, step.targets, step.t)
        assert step.t.shape == (2, 32)
        torch.testing.assert_close(step.gradient, expected, rtol=0, atol=0)
        at_the_level = menu.load("exact", exact).gradient(step.point, step.targets, LEVELS)
        assert not torch.allclose(expected, at_the_level, rtol=0.1)


@pytest.mark.parametrize("rule", ["spread", "annealed"])
@pytest.mark.parametrize("shaping", ["raw", "maxrl"])
def test_a_control_under_a_rule_has_the_law_of_the_rule_s_t(shaping: str, rule: str, digits: Data):
    (step,) = steps(job(schedule=rule, shaping=shaping, control="gaussian"), digits, 1)
    normals = streams.normals([0], Role.NOISE, 1, SAMPLES, SAMPLES + 1, 32, 10)[:, 0].expand(2, -1, -1)
    gradient = menu.load("controls", "gaussian").gradient
    estimator = Estimator.of("independent", "noise", shaping, SAMPLES)
    expected = gradient(estimator, step.point, step.targets, step.t, normals)
    torch.testing.assert_close(step.gradient, expected, rtol=0, atol=0)
    assert not torch.allclose(expected, gradient(estimator, step.point, step.targets, LEVELS, normals), rtol=0.1)
