"""Paired tests against scipy, by hand, and on planted differences."""

import numpy as np
import pytest
from scipy import stats

from esgrad.statistics.comparisons import holm, log_ratios, sign_flip, smallest_detectable


def scipys(differences):
    def total(values, axis):
        return values.sum(axis)

    kind = {"permutation_type": "samples", "n_resamples": 2**12, "vectorized": True}
    return stats.permutation_test((differences,), total, **kind).pvalue


@pytest.mark.parametrize("n", [2, 3, 5, 8, 10])
def test_the_sign_flip_test_counts_as_scipys_does(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        differences = rng.normal(0.5, 1, n)
        assert sign_flip(differences).p == pytest.approx(scipys(differences))


def test_equal_sums_count_whatever_their_rounding():
    """.1 + .2 − .3 is not 0 to the last bit: |−.1 + .4 + .3| = .6 is one of the sums as large as .1 + .2 + .3."""
    assert sign_flip([0.1, 0.2, 0.3]).p == 2 / 8
    assert sign_flip([1, 1, 1, -1]).p == 10 / 16
    assert sign_flip([0.1, 0.1, 0.1, -0.1]).p == 10 / 16


def test_five_pairs_can_never_reach_five_percent():
    assert sign_flip([1, 2, 3, 4, 5]) == (0.0625, 0.0625)
    assert sign_flip(np.arange(1, 11)) == (2 / 1024, 2 / 1024)
    assert sign_flip(-np.arange(1, 11)) == (2 / 1024, 2 / 1024)


def test_a_pair_without_a_difference_has_no_sign():
    assert sign_flip([1, 2, 3, 0, 0]) == (0.25, 0.25)
    assert sign_flip([0, 0]) == sign_flip([]) == (1, 1)


def test_many_pairs_are_counted_exactly_or_by_student():
    differences = np.random.default_rng(0).normal(0.3, 1, 41)
    student = stats.ttest_1samp(differences, 0).pvalue
    assert sign_flip(differences).p == student
    assert sign_flip(differences[:-1]).p == pytest.approx(stats.ttest_1samp(differences[:-1], 0).pvalue, rel=0.1)


def test_a_difference_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="differences must be finite, got nan"):
        sign_flip([1, np.nan])


def test_the_ratio_of_a_run_that_never_arrived_says_only_who_lost():
    """Both; lost; won; lost after the other's arrival is not known; neither."""
    costs, hits = [10, 50, 10, 20, 50], [True, False, True, False, False]
    other, arrived = [20, 30, 50, 30, 50], [True, True, False, True, False]
    told = log_ratios(costs, hits, other, arrived)
    assert told == pytest.approx(np.log([10 / 20, 50 / 30, 10 / 50, 1, 1]))
    assert log_ratios(other, arrived, costs, hits) == pytest.approx(-told)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert len(holm([])) == 0


def test_holm_rejects_what_bonferroni_does_and_no_less_than_the_step_down_says():
    """The sequential rule: compare the i-th smallest with .05/(m − i + 1), and stop at the first failure."""
    rng = np.random.default_rng(2)
    for _ in range(200):
        p_values = rng.random(8) ** 4
        rejected = np.zeros(8, dtype=bool)
        for place, index in enumerate(np.argsort(p_values)):
            if p_values[index] > 0.05 / (8 - place):
                break
            rejected[index] = True
        assert (holm(p_values) <= 0.05).tolist() == rejected.tolist()


@pytest.mark.parametrize(("pairs", "level"), [(6, 0.05), (10, 0.05), (10, 0.05 / 12), (10, 0.05 / 20), (20, 0.05)])
def test_the_smallest_detectable_difference_is_found_with_eighty_percent(pairs, level):
    """By the sign flips that give the verdicts, which find less than Student's t where few p values are possible."""
    runs, spread = 2000, 0.3
    effect = smallest_detectable(spread, pairs, level)
    draws = np.random.default_rng(pairs).normal(effect, spread, (runs, pairs))
    found = np.mean([sign_flip(draw).p <= level for draw in draws])
    assert found == pytest.approx(0.8, abs=5 * np.sqrt(0.16 / runs))


def test_too_few_pairs_detect_nothing():
    assert smallest_detectable(0.3, 5) == np.inf
    assert smallest_detectable(0.3, 1) == np.inf
    assert smallest_detectable(0.3, 10, 0.05 / 30) == np.inf
    assert smallest_detectable(0.3, 10, 0.05 / 25) < np.inf
    assert smallest_detectable(0, 10) == 0


def test_more_pairs_or_less_spread_detect_less():
    assert smallest_detectable(0.3, 20) < smallest_detectable(0.3, 10)
    assert smallest_detectable(0.3, 10) == pytest.approx(3 * smallest_detectable(0.1, 10))
