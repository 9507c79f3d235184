"""How fitness becomes weights: each shaping against a naive twin, and what no shaping may do."""

from inspect import signature
from itertools import product
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import Tensor

from esgrad import menu
from esgrad.gradients.exact import Arms, smoothed
from tests.estimating import EACH_SHAPING, SHAPINGS, N, uniform, weights


def all_outcomes(num_samples: int) -> Tensor:
    """Every 0/1 fitness there is of N samples, [2^N, N, 1]."""
    return torch.tensor(list(product([0.0, 1.0], repeat=num_samples)), dtype=torch.float64)[..., None]


@EACH_SHAPING
def test_a_shaping_that_says_so_is_linear_and_no_other(shaping: str) -> None:
    made = menu.load("shapings", shaping)
    fitness, other, norms = uniform(2, 9, 5).double(), uniform(2, 9, 5).double().flip(1), 1 + uniform(2, 9, 5).double()
    together = made.weights(3 * fitness + 2 * other, lambda: norms)
    apart = 3 * made.weights(fitness, lambda: norms) + 2 * made.weights(other, lambda: norms)
    assert torch.allclose(together, apart) == made.LINEAR


@EACH_SHAPING
@pytest.mark.parametrize("num_samples", [2, 10, 100])
def test_weights_at_a_position_do_not_know_how_many_others_there_are(shaping: str, num_samples: int) -> None:
    """Up to the rounding of functions such as exp, which torch computes in another way at a tensor's end."""
    fitness, norms = uniform(1, num_samples, 200), 1 + uniform(1, num_samples, 200)
    whole = menu.load("shapings", shaping).weights(fitness, lambda: norms)
    for part in (slice(0, 1), slice(5, 8), slice(0, 7), slice(180, 200)):
        alone = menu.load("shapings", shaping).weights(fitness[..., part], lambda part=part: norms[..., part])
        torch.testing.assert_close(alone, whole[..., part], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("constant", [1.0, 0.7, -3.3, 1e6])
@pytest.mark.parametrize("num_samples", [2, 3, 10, 1000])
@pytest.mark.parametrize("shaping", ["centered_ranks", "nes_utilities", "z_score"])
def test_equal_fitness_has_no_weights_at_all(shaping: str, constant: float, num_samples: int) -> None:
    """As equal ranks would move the weights in the paper's code, here they must not, to the bit."""
    assert not weights(shaping, torch.full((2, num_samples, 3), constant)).any()


@pytest.mark.parametrize("num_samples", [2, 3, 6])
def test_centered_ranks_of_accuracy_are_half_of_leave_one_out(num_samples: int) -> None:
    fitness = all_outcomes(num_samples)
    expected = weights("leave_one_out", fitness) / 2
    torch.testing.assert_close(weights("centered_ranks", fitness), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shaping", ["maxrl", "best_baseline", "z_score"])
def test_of_two_samples_many_a_shaping_is_leave_one_out(shaping: str) -> None:
    fitness = all_outcomes(2)
    torch.testing.assert_close(weights(shaping, fitness), weights("leave_one_out", fitness), rtol=0, atol=1e-15)


def test_with_equal_norms_the_best_baseline_is_leave_one_out() -> None:
    fitness, best = uniform(2, 9, 5), menu.load("shapings", "best_baseline")
    got = best.weights(fitness, lambda: torch.full_like(fitness, 3.7))
    torch.testing.assert_close(got, weights("leave_one_out", fitness))


def test_the_best_baseline_does_not_know_its_own_sample() -> None:
    fitness, norms, best = uniform(1, 9, 1), 1 + uniform(1, 9, 1).flip(1), menu.load("shapings", "best_baseline")
    before = fitness - 9 * best.weights(fitness, lambda: norms)
    fitness[0, 4], norms[0, 4] = 1e4, 1e6
    after = fitness - 9 * best.weights(fitness, lambda: norms)
    torch.testing.assert_close(after[0, 4], before[0, 4], rtol=0, atol=1e-2)  # 1e4 has no more digits
    assert not torch.isclose(after[0, :4], before[0, :4], rtol=0, atol=1e-2).any()


@pytest.mark.parametrize("probability", [0.0, 1e-7, 0.03, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("num_samples", [2, 3, 7])
def test_the_share_of_the_gradient_that_z_score_gives_is_the_sum_over_all_outcomes(
    num_samples: int, probability: float
) -> None:
    """N E[w | f = 1, the others] − N E[w | f = 0, the others], over the 2^(N−1) outcomes of the others."""
    others = all_outcomes(num_samples - 1)
    chance = torch.where(others == 1, probability, 1 - probability).prod(1)  # [outcomes, 1]
    hit, miss = (
        weights("z_score", torch.cat([torch.full_like(others[:, :1], first), others], 1))[:, 0] for first in (1, 0)
    )
    expected = num_samples * (chance * (hit - miss)).sum().item()
    independent = menu.load("noises", "independent")
    assert menu.load("shapings", "z_score").expects(independent, probability, num_samples) == (
        smoothed,
        pytest.approx(expected),
    )


@pytest.mark.parametrize("probability", [0.02, 0.5, 0.7])
def test_z_score_tends_to_the_slope_of_twice_the_arcsine_of_the_root(probability: float) -> None:
    _, factor = menu.load("shapings", "z_score").expects(menu.load("noises", "independent"), probability, 1_000_000)
    assert factor == pytest.approx((probability * (1 - probability)) ** -0.5, rel=1e-4)


def test_maxrl_of_one_sample_is_0() -> None:
    assert not weights("maxrl", torch.tensor([[[0.0, 1.0, 0.3]]])).any()


@pytest.mark.parametrize("levels", [2, 3, 1000])
@pytest.mark.parametrize("num_samples", [2, 3, 10, 101])
def test_tied_fitness_shares_its_mean_rank(levels: int, num_samples: int) -> None:
    fitness = np.random.default_rng(num_samples).integers(-levels, levels, (3, num_samples, 4)) / levels
    ranks = rankdata(fitness, "average", axis=1) - 1
    expected = (ranks / (num_samples - 1) - 0.5) / num_samples
    got = weights("centered_ranks", torch.tensor(fitness, dtype=torch.float32))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 / num_samples)


def naive_raw(f: list[float]) -> list[float]:
    return [each / len(f) for each in f]


def naive_leave_one_out(f: list[float]) -> list[float]:
    others = [[other for m, other in enumerate(f) if m != n] for n in range(len(f))]
    return [(each - sum(rest) / len(rest)) / len(f) for each, rest in zip(f, others, strict=True)]


def naive_success(f: list[float]) -> list[float]:
    return [each / sum(f) if sum(f) else 0.0 for each in f]


def naive_maxrl(f: list[float]) -> list[float]:
    return [each / sum(f) - 1 / len(f) if sum(f) else 0.0 for each in f]


def naive_centered_ranks(f: list[float]) -> list[float]:
    ranks = [sum(other < each for other in f) + (sum(other == each for other in f) - 1) / 2 for each in f]
    return [(rank / (len(f) - 1) - 0.5) / len(f) for rank in ranks]


def naive_nes_utilities(f: list[float]) -> list[float]:
    """Each block of equals shares its places' utilities (Wierstra et al. 2014, equation 8)."""
    raw = [max(0.0, log(len(f) / 2 + 1) - log(place)) for place in range(1, len(f) + 1)]
    result = []
    for each in f:
        better, same = sum(other > each for other in f), f.count(each)
        result.append(sum(raw[better : better + same]) / same / sum(raw) - 1 / len(f))
    return result


def naive_z_score(f: list[float]) -> list[float]:
    mean = sum(f) / len(f)
    spread = (sum((each - mean) ** 2 for each in f) / len(f)) ** 0.5
    return [(each - mean) / (len(f) * spread) if max(f) > min(f) else 0.0 for each in f]


def naive_best_baseline(f: list[float], norms: list[float]) -> list[float]:
    result = []
    for n, each in enumerate(f):
        others = [m for m in range(len(f)) if m != n]
        baseline = sum(f[m] * norms[m] for m in others) / sum(norms[m] for m in others)
        result.append((each - baseline) / len(f))
    return result


NAIVE = {name.removeprefix("naive_"): function for name, function in list(globals().items()) if "naive_" in name}
"""Each shaping's weights, one sample after the other."""


def naive_weights(shaping: str, fitness: np.ndarray, norms: list[float] | None = None) -> np.ndarray:
    """The twin's weights for fitness [N, M]; norms [N], by default those of `weights`."""
    if shaping not in NAIVE:
        pytest.skip(f"'{shaping}' has no naive twin in this file: write one from its equation")
    columns = fitness.T.tolist()
    if "norms" not in signature(NAIVE[shaping]).parameters:
        return np.array([NAIVE[shaping](column) for column in columns]).T
    return np.array([NAIVE[shaping](f, norms or [1 + 3 * abs(each) for each in f]) for f in columns]).T


@EACH_SHAPING
@pytest.mark.parametrize("kind", ["accuracy", "mean accuracy", "continuous"])
@pytest.mark.parametrize("num_samples", [2, 3, 10])
def test_a_shaping_equals_its_naive_twin(shaping: str, kind: str, num_samples: int) -> None:
    uniform = np.random.default_rng(num_samples).random((3, num_samples, 40))
    fitness = {"accuracy": uniform < 0.3, "mean accuracy": np.round(4 * uniform) / 4, "continuous": uniform}[kind]
    fitness = fitness.astype(np.float32)
    got = weights(shaping, torch.from_numpy(fitness))
    assert got.shape == fitness.shape
    for run in range(3):
        np.testing.assert_allclose(got[run], naive_weights(shaping, fitness[run]), rtol=0, atol=1e-6)


@EACH_SHAPING
def test_a_shaping_does_not_care_for_the_order_of_samples(shaping: str) -> None:
    fitness, order = uniform(2, 9, 5).round(decimals=1), [4, 0, 8, 2, 6, 1, 3, 7, 5]
    torch.testing.assert_close(weights(shaping, fitness[:, order]), weights(shaping, fitness)[:, order])


@EACH_SHAPING
@pytest.mark.parametrize(("runs", "num_samples", "positions"), [(3, 7, 4), (10, 100, 1), (50, 33, 1), (10, 1000, 32)])
def test_a_shaping_knows_no_other_run_to_the_bit(shaping: str, runs: int, num_samples: int, positions: int) -> None:
    fitness = uniform(runs, num_samples, positions)
    whole = weights(shaping, fitness)
    for run in range(runs):
        assert torch.equal(weights(shaping, fitness[[run]])[0], whole[run])


@EACH_SHAPING
def test_a_shaping_knows_no_other_position(shaping: str) -> None:
    fitness = uniform(2, 7, 5)
    whole = weights(shaping, fitness)
    for position in range(5):
        torch.testing.assert_close(weights(shaping, fitness[..., [position]]), whole[..., [position]])


@EACH_SHAPING
def test_a_shaping_leaves_the_fitness_as_it_was(shaping: str) -> None:
    fitness = uniform(2, 6, 3)
    weights(shaping, fitness)
    assert torch.equal(fitness, uniform(2, 6, 3))


@EACH_SHAPING
@pytest.mark.parametrize("others", [0.0, 0.5])
def test_nan_fitness_is_not_repaired(shaping: str, others: float) -> None:
    """Whoever judges NaN must see it: a weight of 0 in its place would hide that anything went wrong."""
    fitness = torch.full((2, N, 3), others)
    fitness[0, 2, 1] = torch.nan
    got = weights(shaping, fitness)
    assert got[0, 2, 1].isnan()
    assert not got[1].isnan().any()
    assert not got[0, :, [0, 2]].isnan().any()


FACTS = [
    SimpleNamespace(INDEPENDENT=independent, UNCORRELATED=uncorrelated, SUMS_TO_ZERO=zero, EXACT=Arms("p", "q"))
    for independent, uncorrelated, zero in product([True, False], repeat=3)
]
"""Noises to come, by what they say of themselves."""


@EACH_SHAPING
@pytest.mark.parametrize("noise", FACTS)
def test_a_shaping_promises_an_arm_of_the_noise_or_a_shaped_objective(shaping: str, noise: SimpleNamespace) -> None:
    promised = menu.load("shapings", shaping).expects(noise, 0.3, N)
    assert promised is None or (promised[0] in ("p", "q") and promised[1] > 0)


def test_nobody_but_raw_promises_anything_of_samples_that_know_of_each_other() -> None:
    tied = SimpleNamespace(INDEPENDENT=False, UNCORRELATED=False, SUMS_TO_ZERO=False, EXACT=Arms("p", "q"))
    promised = {name: menu.load("shapings", name).expects(tied, 0.3, N) for name in SHAPINGS}
    assert promised == {name: ("p", 1.0) if name == "raw" else None for name in SHAPINGS}
