"""Sums over the hits: every way gives the bits of the oracle, and the better one is chosen."""

import math
from math import nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from esgrad import menu
from esgrad.gradients.credits.noise import Asked, Tally
from esgrad.gradients.fitness import PerExample, Points
from esgrad.gradients.key import Key
from esgrad.kernels import hits, streams, weighted_sum
from esgrad.kernels.compiled import dense as dense_body
from esgrad.kernels.compiled import early as early_body
from esgrad.kernels.streams import Role
from esgrad.kernels.weighted_sum import LANES
from esgrad.tasks.blackboxes import zero_one

SEED, STEP, POSITIONS = 3, 7, 5
COMPILED = ["dense", "early", "auto"]
Place = tuple[Tensor, Tensor, Tensor]


def task(num_logits: int, sigma: float, ahead: float, group: int = 1, seeds: int = 1) -> Place:
    """Logits [S, G, B, K], those of the targets some σ ahead, targets [S, G, B] in all blocks and sigma [S, G, B]."""
    shape = seeds, group, POSITIONS
    logits = streams.normals([1], Role.QUALITY, 1, 0, seeds * group, POSITIONS, num_logits)[0].view(*shape, -1)
    targets = torch.tensor([0, num_logits - 1, num_logits // 2, 1, num_logits // 3]).expand(shape).contiguous()
    logits = 0.5 * sigma * logits
    logits.scatter_add_(-1, targets[..., None], torch.full((*shape, 1), ahead * sigma))
    return logits, targets, torch.full(shape, sigma**2).sqrt()


def added(at: Place, start: int, stop: int, whole: bool, way: str, into: Any = None, **options: Any) -> Any:
    """Lanes of sums, counts, lanes of totals or None, and the numbers drawn; added to what there is."""
    seeds, group, positions, num_logits = at[0].shape
    size = positions, LANES, num_logits
    sums, counts, totals, drawn = into or (
        torch.zeros(seeds, group, *size),
        torch.zeros(seeds, group, positions, dtype=torch.float64),
        torch.zeros(seeds, 1, *size) if whole else None,
        0,
    )
    place = range(SEED, SEED + seeds), Role.QUALITY, STEP, start, stop
    drawn += hits.add(sums, counts, totals, *at, *place, way=way, **options)
    return sums, counts, totals, drawn


def same(found: Any, expected: Any) -> bool:
    return all((a is None and b is None) or torch.equal(a, b) for a, b in zip(found[:3], expected[:3], strict=True))


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("sigma", [0.3, 2.0])
@pytest.mark.parametrize("num_logits", [2, 3, 4, 7, 10, 13, 100, 1000])
def test_the_oracle_is_what_a_tally_of_asked_samples_has(num_logits: int, sigma: float, pairs: bool) -> None:
    (logits, targets, scale), num_samples = task(num_logits, sigma, 1.5), 60
    noise = menu.load("noises", "mirrored" if pairs else "independent")
    at = PerExample(zero_one, targets[0]), logits[0], torch.tensor([sigma**2]), Key([SEED], Role.QUALITY, STEP)
    asked = Asked(noise, num_samples, *at)
    sums, counts, totals, _ = added((logits, targets, scale), 0, num_samples, True, "torch", pairs=pairs)
    assert torch.equal(counts[0], asked.fitness.double().sum(1))
    assert 0 < counts.mean() < num_samples
    assert torch.equal(hits.weighted_sum.fold(sums)[0] / scale[0, ..., None], asked.total(asked.fitness))
    assert torch.equal(hits.weighted_sum.fold(totals)[0] / scale[0, ..., None], asked.total(0 * asked.fitness + 1))
    tally = Tally(noise, *at, True)
    tally.grow(num_samples)
    assert same((tally.hit_sum, tally.hits.view_as(counts), tally.whole_sum), (sums, counts, totals))


@pytest.mark.parametrize("way", COMPILED)
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("ahead", [0.0, 2.5])
@pytest.mark.parametrize("num_logits", [2, 3, 4, 7, 10, 13, 100, 1000])
def test_every_way_gives_the_oracle_s_bits(num_logits: int, ahead: float, whole: bool, pairs: bool, way: str) -> None:
    at = task(num_logits, 0.7, ahead, group=3, seeds=2)
    if whole and way == "early":
        with pytest.raises(ValueError, match="does not see all of the noise"):
            added(at, 0, 300, whole, way, pairs=pairs)
        return
    expected = added(at, 0, 300, whole, "torch", pairs=pairs)
    assert same(added(at, 0, 300, whole, way, pairs=pairs), expected)


@given(data=some.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_shape_parts_ties_and_extremes_give_the_oracle_s_bits(data: Any) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(some.integers(low, high))

    seeds, group, positions, num_logits = draw(1, 2), draw(1, 3), draw(1, 4), draw(1, 40)
    pairs, whole = data.draw(some.booleans()), data.draw(some.booleans())
    numbers = some.sampled_from([0.0, 1.0, -1.0, 0.1, 2.0**20, -(2.0**20), 1e30, -1e30, 1e-30])
    size = seeds * group * positions
    logits = torch.tensor(data.draw(some.lists(numbers, min_size=size * num_logits, max_size=size * num_logits)))
    targets = torch.tensor([draw(0, num_logits - 1) for _ in range(size)])
    sigma = torch.tensor([data.draw(some.sampled_from([1e-6, 0.5, 1.0, 3.0, 1e6])) for _ in range(size)])
    shape = seeds, group, positions
    at = logits.view(*shape, num_logits), targets.view(shape), sigma.view(shape)
    if data.draw(some.booleans()):  # neither contiguous
        at = at[0].transpose(-1, -2).contiguous().transpose(-1, -2), *(each.mT.contiguous().mT for each in at[1:])
    active = torch.tensor([data.draw(some.booleans()) for _ in range(positions)])
    ends = sorted(2 * draw(0, 60) if pairs else draw(0, 120) for _ in range(3))
    options = {"pairs": pairs, "active": active, "offset": draw(0, 5)}
    expected = added(at, ends[0], ends[2], whole, "torch", **options)
    for way in COMPILED if not whole else ["dense", "auto"]:
        found = added(at, ends[0], ends[1], whole, way, **options)
        assert same(added(at, ends[1], ends[2], whole, way, into=found, **options), expected), way


def test_logits_that_are_not_finite_go_the_oracle_s_way() -> None:
    logits, targets, sigma = task(12, 1.0, 0.0)
    logits[0, 0, 0, 3], logits[0, 0, 1, 2] = torch.nan, torch.inf
    expected = added((logits, targets, sigma), 0, 40, True, "torch")
    found = added((logits, targets, sigma), 0, 40, True, "auto")
    assert same(found, expected)
    with pytest.raises(ValueError, match="takes numba and finite float32"):
        added((logits, targets, sigma), 0, 40, True, "dense")
    with pytest.raises(ValueError, match=r"unknown way 'fast'. Known: auto, dense, early, torch"):
        added((logits, targets, sigma), 0, 40, True, "fast")


@pytest.mark.parametrize("way", [*COMPILED, "torch"])
def test_the_first_of_equals_wins_as_in_argmax(way: str) -> None:
    """Without room for the noise in float32, l + σq is l: the logits tie, and only target 0 ever hits."""
    logits, targets = torch.full((1, 1, POSITIONS, 9), 2.0**20), torch.tensor([[[0, 8, 4, 1, 3]]])
    _, counts, _, _ = added((logits, targets, torch.full((1, 1, POSITIONS), 1e-6)), 0, 50, False, way)
    assert counts.tolist() == [[[50, 0, 0, 0, 0]]]


def test_a_product_and_a_sum_are_each_rounded_as_they_are_in_points() -> None:
    """l = 1, σ = 1 + 2⁻¹²: of thousands of normals some tell a fused operation from two."""
    normal = streams.normals([0], Role.QUALITY, 3, 0, 1, 1, 40_000)[0, 0, 0]
    logit, sigma = torch.tensor(1.0), torch.tensor(1 + 2.0**-12)
    fused = torch.addcmul(logit.expand(40_000), sigma, normal)
    plain = logit + sigma * normal
    assert (fused != plain).any()
    perturbed = torch.full_like(normal, -torch.inf)
    for noisy, row in zip(perturbed.split(4 * LANES), normal.split(4 * LANES), strict=True):
        level = torch.ones_like(row).numpy()
        dense_body._raise(noisy.numpy(), level, row.numpy(), sigma.numpy()[()])
    ours = [float(early_body._noisy(logit.numpy()[()], sigma.numpy()[()], x)) for x in normal.numpy()]
    points = Points(logit.expand(1, 1, 40_000), sigma.view(1, 1), normal.view(1, 1, 1, -1))
    assert ours == plain.tolist() == points.tensor().flatten().tolist() == perturbed.tolist()


@pytest.mark.parametrize("way", [*COMPILED, "torch"])
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("num_logits", [2, 10, 40, 300])
@pytest.mark.parametrize("ahead", [0.0, 2.5])
def test_with_one_lane_the_sums_are_the_fold_of_the_lanes(ahead: float, num_logits: int, pairs: bool, way: str) -> None:
    at = task(num_logits, 1.0, ahead, seeds=2)
    for num_samples in (2, 10, 70, 1100):
        for whole in (False, True):
            if way == "early" and whole:
                continue
            expected = added(at, 0, num_samples, whole, way, pairs=pairs)
            seeds, group, positions, _ = at[0].shape
            size = positions, 1, num_logits
            sums = torch.full((seeds, group, *size), nan)
            totals = torch.full((seeds, 1, *size), nan) if whole else None
            counts = torch.zeros(seeds, group, positions, dtype=torch.float64)
            place = range(SEED, SEED + seeds), Role.QUALITY, STEP, 0, num_samples
            drawn = hits.add(sums, counts, totals, *at, *place, way=way, pairs=pairs)
            assert torch.equal(sums[..., 0, :], weighted_sum.fold(expected[0]))
            assert torch.equal(counts, expected[1])
            assert drawn == expected[3]
            if whole:
                assert torch.equal(totals[..., 0, :], weighted_sum.fold(expected[2]))


def test_inactive_positions_are_left_alone() -> None:
    at = task(40, 1.0, 0.0, seeds=2)
    some_of_them = torch.tensor([True, False, True, False, True])
    for whole in (False, True):
        sums, _, _, drawn = added(at, 0, 700, whole, "auto")
        fewer = added(at, 0, 700, whole, "auto", active=some_of_them)
        assert torch.equal(fewer[0][:, :, some_of_them], sums[:, :, some_of_them])
        assert not fewer[0][:, :, ~some_of_them].any()
        assert fewer[3] < drawn


def level(num_logits: int, ahead: float = 0.0) -> Place:
    logits = torch.zeros(1, 1, POSITIONS, num_logits)
    targets = torch.arange(POSITIONS).view(1, 1, -1) * (num_logits // 5)
    return logits.scatter(-1, targets[..., None], ahead), targets, torch.ones(1, 1, POSITIONS)


@pytest.mark.parametrize(("num_logits", "saved"), [(100, 9), (1000, 70), (10_000, 600)])
def test_few_numbers_decide_a_sample_at_level_logits(num_logits: int, saved: float) -> None:
    """1 + H_{K−1} numbers until a competitor wins, in whole blocks, and all K of the hits for their sum."""
    num_samples = 2000
    *_, drawn = added(level(num_logits), 0, num_samples, False, "auto")
    met = 1 + sum(1 / k for k in range(1, num_logits))
    per_sample = drawn / num_samples / POSITIONS
    assert met < per_sample < 2 * met
    assert num_logits / per_sample > saved


@pytest.mark.parametrize("num_logits", [12, 100])
def test_what_is_drawn_early_counts_the_second_draw_of_those_that_hit(num_logits: int) -> None:
    """A target so far ahead that all hit meets every number once to hit and once more for its sum."""
    *_, counts, _, drawn = added(level(num_logits, 100.0), 0, 50, False, "early")
    assert (counts == 50).all()
    assert drawn == POSITIONS * 50 * (4 + num_logits + num_logits)  # the target's block of four comes first, then all


@pytest.mark.parametrize("ahead", [0.0, 100.0])
def test_the_chosen_way_draws_little_more_than_the_better_one(ahead: float) -> None:
    drawn = {way: added(level(1000, ahead), 0, 1000, False, way)[3] for way in COMPILED}
    assert drawn["auto"] <= 1.1 * min(drawn["early"], drawn["dense"])


@pytest.mark.parametrize("num_logits", [10, 1000])
def test_the_rate_of_hits_is_p(num_logits: int) -> None:
    num_samples = 40_000
    _, counts, _, _ = added(level(num_logits), 0, num_samples, False, "auto")
    p = 1 / num_logits
    assert abs(counts.mean() / num_samples - p) < 5 * math.sqrt(p * (1 - p) / num_samples / POSITIONS)
