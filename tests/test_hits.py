"""Early rejection finds the hits of the dense path, all of them and no other, and draws far fewer numbers."""

import math

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.credits.noise import Asked, Tally
from esgrad.gradients.fitness import PerExample, Points
from esgrad.gradients.key import Key
from esgrad.kernels import streams
from esgrad.kernels.compiled import hits
from esgrad.kernels.streams import Role
from esgrad.kernels.weighted_sum import LANES
from esgrad.tasks.blackboxes import zero_one

SEED, STEP, POSITIONS = 3, 7, 5
ALL = torch.ones(POSITIONS, dtype=torch.bool)


def task(num_logits: int, sigma: float, offset: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [B, K], some of them a whole number of σ ahead, targets [B] in all blocks and sigma [B]."""
    logits = 0.5 * sigma * streams.normals([1], Role.QUALITY, 1, 0, 1, POSITIONS, num_logits)[0, 0]
    targets = torch.tensor([0, num_logits - 1, num_logits // 2, 1, num_logits // 3])
    logits[torch.arange(POSITIONS), targets] += offset * sigma
    return logits, targets, torch.full((POSITIONS,), sigma**2).sqrt()


def dense(logits: Tensor, targets: Tensor, sigma: float, num_samples: int) -> tuple[Tensor, Tally]:
    """Fitness [N, B] as every estimate has it, and the tally of all samples."""
    noise, judge = menu.load("noises", "independent"), PerExample(zero_one, targets[None])
    at = judge, logits[None], torch.tensor([sigma**2]), Key([SEED], Role.QUALITY, STEP)
    tally = Tally(noise, *at, True)
    tally.grow(num_samples)
    return Asked(noise, num_samples, *at).fitness[0], tally


def added(at: tuple[Tensor, Tensor, Tensor], start: int, stop: int, whole: bool, draws: int = 1, active: Tensor = ALL):
    """Lanes of sums [D, B, LANES, K], counts [D, B], lanes of totals or None, and the numbers drawn."""
    sums = torch.zeros(draws, POSITIONS, LANES, at[0].shape[1])
    counts, totals = torch.zeros(draws, POSITIONS, dtype=torch.float64), torch.zeros_like(sums) if whole else None
    drawn = hits.add(sums, counts, totals, *at, active, range(SEED, SEED + draws), Role.QUALITY, STEP, start, stop)
    return sums, counts, totals, drawn


@pytest.mark.parametrize("offset", [1.5, 3.0])
@pytest.mark.parametrize("sigma", [0.3, 2.0])
@pytest.mark.parametrize("num_logits", [2, 3, 4, 7, 10, 13, 100, 1000])
def test_the_hits_are_those_of_the_dense_path_sample_by_sample(num_logits: int, sigma: float, offset: float) -> None:
    at, num_samples = task(num_logits, sigma, offset), 60
    fitness, tally = dense(*at[:2], sigma, num_samples)
    assert 0 < fitness.mean() < 1
    for whole in (False, True):
        for n in range(num_samples):
            _, counts, _, _ = added(at, n, n + 1, whole)
            assert (counts[0] == fitness[n]).all()
        sums, counts, totals, _ = added(at, 0, num_samples, whole)
        assert torch.equal(sums[0], tally.hit_sum[0, 0])
        assert torch.equal(counts[0], tally.hits[0])
        assert totals is None or torch.equal(totals[0], tally.whole_sum[0, 0])


def test_the_first_of_equals_wins_as_in_argmax() -> None:
    """Without room for the noise in float32, l + σq is l: the logits tie, and only target 0 ever hits."""
    logits, targets = torch.full((POSITIONS, 9), 2.0**20), torch.tensor([0, 8, 4, 1, 3])
    for whole in (False, True):
        _, counts, _, _ = added((logits, targets, torch.full((POSITIONS,), 1e-6)), 0, 50, whole)
        assert counts.tolist() == [[50, 0, 0, 0, 0]]


def test_a_product_and_a_sum_are_each_rounded_as_they_are_in_points() -> None:
    """l = 1, σ = 1 + 2⁻¹²: of thousands of normals some tell a fused operation from two."""
    normal = streams.normals([0], Role.QUALITY, 3, 0, 1, 1, 40_000)[0, 0, 0]
    logit, sigma = torch.tensor(1.0), torch.tensor(1 + 2.0**-12)
    fused = torch.addcmul(logit.expand(40_000), sigma, normal)
    plain = logit + sigma * normal
    assert (fused != plain).any()
    ours = [float(hits._noisy(logit.numpy()[()], sigma.numpy()[()], x)) for x in normal.numpy()]
    points = Points(logit.expand(1, 1, 40_000), sigma.view(1, 1), normal.view(1, 1, 1, -1))
    assert ours == plain.tolist() == points.tensor().flatten().tolist()


def test_parts_draws_and_inactive_positions_change_nothing() -> None:
    at = task(30, 1.0, 0.0)
    for whole in (False, True):
        sums, counts, totals, drawn = added(at, 0, 700, whole, draws=2)
        part, some = [added(at, *ends, whole, draws=2) for ends in ((0, 1), (1, 300), (300, 700))], ALL.clone()
        torch.testing.assert_close(sum(each[0] for each in part), sums, rtol=1e-5, atol=1e-4)
        assert (sum(each[1] for each in part) == counts).all()
        some[[1, 3]] = False
        fewer = added(at, 0, 700, whole, draws=2, active=some)
        assert (fewer[0][:, some] == sums[:, some]).all()
        assert (fewer[0][:, ~some] == 0).all()
        assert fewer[3] < drawn
        assert (totals is None) == (not whole)


@pytest.mark.parametrize(("num_logits", "saved"), [(100, 9), (1000, 70), (10_000, 600)])
def test_few_numbers_decide_a_sample_at_level_logits(num_logits: int, saved: float) -> None:
    """1 + H_{K−1} numbers until a competitor wins, in whole blocks, and all K of the hits for their sum."""
    num_samples = 2000
    level = torch.zeros(POSITIONS, num_logits), torch.arange(POSITIONS) * (num_logits // 5), torch.ones(POSITIONS)
    *_, drawn = added(level, 0, num_samples, whole=False)
    met = 1 + sum(1 / k for k in range(1, num_logits))
    per_sample = drawn / num_samples / POSITIONS
    assert met < per_sample < 2 * met
    assert num_logits / per_sample > saved


@pytest.mark.parametrize("num_logits", [12, 100])
def test_what_is_drawn_counts_the_second_draw_of_those_that_hit(num_logits: int) -> None:
    """A target so far ahead that all hit meets every number once to hit and once more for its sum."""
    level = torch.zeros(POSITIONS, num_logits), torch.zeros(POSITIONS, dtype=torch.int64), torch.ones(POSITIONS)
    level[0][:, 0] = 100.0
    _, counts, _, drawn = added(level, 0, 50, whole=False)
    assert (counts == 50).all()
    assert drawn == POSITIONS * 50 * (4 + num_logits + num_logits)  # the target's block of four comes first, then all


@pytest.mark.parametrize("num_logits", [10, 1000])
def test_the_rate_of_hits_is_p(num_logits: int) -> None:
    level = torch.zeros(POSITIONS, num_logits), torch.arange(POSITIONS) * (num_logits // 5), torch.ones(POSITIONS)
    num_samples = 40_000
    _, counts, _, _ = added(level, 0, num_samples, whole=False)
    p = 1 / num_logits
    assert abs(counts.double().mean() / num_samples - p) < 5 * math.sqrt(p * (1 - p) / num_samples / POSITIONS)
