"""Known answers, and coverage on planted data with tolerances of five binomial standard errors."""

import numpy as np
import pytest
from scipy import stats

from esgrad.statistics import (
    arrival,
    cost_interval,
    expected_running_time,
    expected_running_time_interval,
    geometric_mean_interval,
    mean_interval,
    median_cost,
    median_interval,
    progress_levels,
    ratio_interval,
    survival,
    wilson_interval,
)

COSTS = [0, 10, 20, 40, 80]


def test_a_run_arrives_at_the_first_evaluation_above_the_target():
    assert arrival(COSTS, [0.1, 0.4, 0.91, 0.92, 0.95], 0.9) == 2


def test_reaching_the_target_exactly_counts():
    assert arrival(COSTS, [0.1, 0.9, 0.9, 0.2, 0.2], 0.9) == 1


def test_a_lucky_reading_is_not_confirmed_by_the_next_and_the_search_goes_on():
    assert arrival(COSTS, [0.1, 0.95, 0.5, 0.91, 0.92], 0.9) == 3


def test_the_very_last_evaluation_is_no_arrival_because_nothing_confirms_it():
    assert arrival(COSTS, [0.1, 0.2, 0.3, 0.4, 0.99], 0.9) is None


def test_a_run_below_the_target_never_arrives():
    assert arrival(COSTS, [0.1] * 5, 0.9) is None


def test_a_diverged_run_has_not_arrived_unless_it_had_before():
    assert arrival(COSTS[:3], [0.1, 0.95, np.nan], 0.9) is None
    assert arrival(COSTS[:4], [0.1, 0.95, 0.95, np.nan], 0.9) == 1


def test_what_is_not_trained_has_not_arrived():
    assert arrival(COSTS, [0.95] * 5, 0.9) == 1


def test_a_single_evaluation_or_none_is_no_arrival():
    assert arrival([10], [0.99], 0.9) is None
    assert arrival([], [], 0.9) is None


def test_lengths_that_differ_are_refused_by_name():
    with pytest.raises(ValueError, match=r"one length, got \(2,\) and \(3,\)"):
        arrival([1, 2], [0.1, 0.2, 0.3], 0.9)
    with pytest.raises(ValueError, match=r"one length, got \(2,\) and \(1,\)"):
        median_cost([1, 2], [True])


def test_the_median_is_the_first_cost_at_which_half_have_arrived():
    assert median_cost([1, 2, 3, 4], [True] * 4) == 2
    assert median_cost([4, 2, 1, 3], [True] * 4) == 2
    assert median_cost([1, 2, 3], [True] * 3) == 2


def test_the_median_compares_with_a_tolerance():
    """With ten runs S is a product of ten fractions: at the fifth it is ½ but for rounding."""
    for n in range(2, 101, 2):
        assert median_cost(np.arange(1, n + 1), np.ones(n)) == n // 2


def test_the_median_of_censored_runs_by_hand():
    """1, 2+, 3, 4+, 5 (+ censored): S = 4/5 at 1, 4/5·2/3 = 8/15 at 3, 0 at 5."""
    costs, hits = [1, 2, 3, 4, 5], [True, False, True, False, True]
    at, share = survival(costs, hits)
    assert share[np.isin(at, [1, 3, 5])] == pytest.approx([4 / 5, 8 / 15, 0])
    assert median_cost(costs, hits) == 5


def test_the_median_is_beyond_all_costs_when_fewer_than_half_arrive():
    assert median_cost([1, 9, 9], [True, False, False]) == np.inf
    assert median_cost([9, 9], [False, False]) == np.inf
    assert np.isnan(median_cost([], []))


def test_a_run_censored_where_another_arrives_was_still_on_its_way():
    assert survival([2, 2, 4], [True, False, True])[1][0] == pytest.approx(2 / 3)


def test_censored_runs_bound_the_interval_from_below_and_open_it_above():
    """n = 10: the 2nd smallest and the 2nd largest, P(Binomial(10, ½) < 2) = 11/1024."""
    costs = np.arange(1, 11)
    assert median_interval(costs, np.ones(10)) == (5, 2, 9)
    assert median_interval(costs, costs <= 9) == (5, 2, 9)
    assert median_interval(costs, costs <= 8) == (5, 2, np.inf)
    assert median_interval(costs, costs <= 4) == (np.inf, 2, np.inf)


@pytest.mark.parametrize("n", [10, 24, 38, 44])
def test_the_median_of_runs_that_all_arrived_is_the_lower_middle_one(n):
    """S is a product of fractions that may miss ½ by a rounding: with one censored of 24, S at the 12th
    is ½ + 1e-16, and without a tolerance the median would be the 13th."""
    for lost in (0, 1, 2):
        costs = np.arange(1.0, n + 1)
        assert median_cost(costs, costs <= n - lost) == n // 2


def test_where_none_arrived_all_that_is_known_is_the_budget():
    assert cost_interval([100] * 10, [False] * 10) == (np.inf, 100, np.inf)
    assert cost_interval([100], [False]) == (np.inf, 100, np.inf)


def test_where_all_arrived_the_typical_cost_is_the_geometric_mean():
    assert cost_interval([1, 10, 100], [True] * 3) == geometric_mean_interval([1, 10, 100])
    assert cost_interval([1, 10, 100], [True] * 3).estimate == pytest.approx(10)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 10, 30])
def test_an_estimate_never_lies_outside_its_interval(n):
    rng = np.random.default_rng(n)
    for _ in range(50):
        costs, reference = rng.integers(1, 20, n), rng.integers(1, 20, n)
        hits, arrived = rng.random(n) < rng.random(), rng.random(n) < rng.random()
        for interval in (
            cost_interval(costs, hits),
            median_interval(costs, hits),
            ratio_interval(costs, hits, reference, arrived),
        ):
            unknown = np.isnan(interval.low) or (np.isnan(interval.estimate) and interval[1:] == (0, np.inf))
            assert unknown or interval.low <= interval.estimate <= interval.high


def test_a_typical_cost_is_named_only_where_at_least_half_arrived():
    """If three runs of five gave up early, Kaplan and Meier's median is 8, on the word of one that did not."""
    costs, late = [1, 2, 3, 8, 9], np.array([False, False, False, True, True])
    assert median_cost(costs, late) == 8
    assert cost_interval(costs, late) == (np.inf, 1, np.inf)
    assert cost_interval(costs[1:], late[1:]) == (8, 2, np.inf)


def test_a_method_that_asks_nothing_has_no_cost_however_many_arrived():
    for hits in ([True] * 3, [True, True, False], [False] * 3):
        assert np.isnan(cost_interval([np.nan] * 3, hits)).all()


def test_ert_charges_the_runs_that_failed_to_those_that_arrived():
    assert expected_running_time([10, 20, 100], [True, True, False]) == 65
    assert expected_running_time([100, 100], [False, False]) == np.inf


def test_the_bootstrap_of_ert_is_the_interval_of_all_resamples():
    """Two runs, one that arrived: of four equally likely resamples the ERTs are 1, 5 (twice) and inf."""
    found = expected_running_time_interval([1, 4], [True, False], np.random.default_rng(0))
    assert found == (5, 1, np.inf)
    same = expected_running_time_interval([7] * 10, [True] * 10, np.random.default_rng(0))
    assert same == (7, 7, 7)


def test_the_bootstrap_of_ert_keeps_a_runs_cost_with_its_hit():
    """Each arrival costs 10 and each failure 1: no resample has an ERT below 10, as costs and hits drawn apart have."""
    hits = np.arange(10) < 7
    found = expected_running_time_interval(np.where(hits, 10.0, 1.0), hits, np.random.default_rng(0))
    assert 10 <= found.low < found.estimate == 73 / 7 < found.high


def test_the_bootstrap_of_ert_is_expanded_as_small_n_asks():
    """Of the 5^5 resamples of 1 to 5 the plain 2.5 % quantile of the mean is 1.8, that at Φ(−√(5/4)·2.776) 1.2."""
    means = np.sort(np.mean(np.stack(np.meshgrid(*[range(1, 6)] * 5), axis=-1).reshape(-1, 5), axis=1))
    tail = stats.norm.sf(np.sqrt(5 / 4) * stats.t.isf(0.025, 4))
    assert means[int(0.025 * 3125)] == 1.8
    assert means[int(tail * 3125)] == 1.2
    found = expected_running_time_interval(range(1, 6), [True] * 5, np.random.default_rng(0))
    assert found == pytest.approx((3, 1.2, 4.8), abs=0.2 + 1e-9)


def test_the_bootstrap_of_ert_obeys_its_generator():
    costs, hits = np.random.default_rng(1).lognormal(size=20), np.arange(20) % 4 > 0

    def interval(seed):
        return expected_running_time_interval(costs, hits, np.random.default_rng(seed))

    assert interval(0) == interval(0) != interval(1)
    assert interval(0).low == pytest.approx(interval(1).low, rel=0.1)


def test_where_nobody_arrived_ert_has_a_lower_bound():
    """Ten failures have probability .025 if a run arrives with p = 1 − .025^(1/10) = .3085; (1 − p)/p = 2.2415."""
    found = expected_running_time_interval([100] * 10, [False] * 10, np.random.default_rng(0))
    assert found == pytest.approx((np.inf, 224.15, np.inf), rel=1e-4)


def test_ert_of_one_arrival_or_of_no_queries_has_no_interval():
    rng = np.random.default_rng(0)
    one = expected_running_time_interval([100], [True], rng)
    assert one.estimate == 100
    assert np.isnan(one[1:]).all()
    assert np.isnan(expected_running_time_interval([np.nan] * 3, [True] * 3, rng)).all()
    assert np.isnan(expected_running_time_interval([], [], rng)).all()


def test_wilson_by_hand():
    """k = 7 of n = 10, z = 1.959964: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n)."""
    z = 1.959963984540054
    centre, half = 0.7 + z**2 / 20, z * np.sqrt(0.7 * 0.3 / 10 + z**2 / 400)
    low, high = (centre - half) / (1 + z**2 / 10), (centre + half) / (1 + z**2 / 10)
    assert wilson_interval(7, 10) == pytest.approx((0.7, low, high), rel=1e-6)
    assert wilson_interval(7, 10) == pytest.approx((0.7, 0.3968, 0.8922), abs=5e-5)


def test_wilson_stays_within_zero_and_one():
    assert wilson_interval(0, 10).low == pytest.approx(0, abs=1e-12)
    assert 0 < wilson_interval(0, 10).high < 0.3
    assert wilson_interval(10, 10).high == pytest.approx(1)
    assert np.isnan(wilson_interval(0, 0)).all()


def test_t_by_hand():
    """t.975 with 2 degrees of freedom is 4.302653; the standard error of 1, 2, 3 is 1/√3."""
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)


def test_one_value_has_no_interval_and_none_no_mean():
    assert mean_interval([5])[0] == 5
    assert np.isnan(mean_interval([5])[1:]).all()
    assert np.isnan(mean_interval([])).all()
    assert mean_interval([5, 5]) == (5, 5, 5)


def test_a_geometric_mean_refuses_what_has_no_logarithm():
    with pytest.raises(ValueError, match="above 0, got -1"):
        geometric_mean_interval([3, -1])


def covered(interval, runs, truth, n, spread, seed):
    """How many of `runs` intervals on n log-normal costs around `truth` hold it."""
    draws = truth * np.exp(spread * np.random.default_rng(seed).normal(size=(runs, n)))
    found = [interval(costs) for costs in draws]
    return sum(one.low <= truth <= one.high for one in found)


def within_five_errors(count, runs, level):
    return abs(count - runs * level) <= 5 * np.sqrt(runs * level * (1 - level))


@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("spread", [0.2, 2.0])
def test_student_t_on_logs_covers_95_percent_of_log_normal_medians(n, spread):
    runs = 1000
    assert within_five_errors(covered(geometric_mean_interval, runs, 1e4, n, spread, seed=n), runs, 0.95)


@pytest.mark.parametrize("budget", [np.inf, 3.0, 1.2])
def test_order_statistics_cover_the_median_as_often_as_the_binomial_says(budget):
    """Exactly 1 − 2·P(Binomial(10, ½) < 2) = .9785 without censoring, and no less with it."""
    runs, exact = 1000, 1 - 2 * stats.binom.cdf(1, 10, 0.5)

    def interval(costs):
        return median_interval(np.minimum(costs, budget), costs <= budget)

    count = covered(interval, runs, 1.0, 10, 1.0, seed=7)
    assert count >= runs * exact - 5 * np.sqrt(runs * exact * (1 - exact))
    assert budget < 3 or within_five_errors(count, runs, exact)


def test_a_paired_ratio_is_free_of_what_a_seed_does_to_both():
    reference = np.array([10.0, 40.0, 1000.0])
    ones = np.ones(3)
    assert ratio_interval(3 * reference, ones, reference, ones) == pytest.approx((3, 3, 3))


def test_a_paired_ratio_covers_its_truth():
    runs, rng = 1000, np.random.default_rng(3)
    reference = np.exp(2 * rng.normal(size=(runs, 10)))
    costs = 12 * reference * np.exp(0.3 * rng.normal(size=(runs, 10)))
    ones = np.ones(10)
    found = [ratio_interval(a, ones, b, ones) for a, b in zip(costs, reference, strict=True)]
    assert within_five_errors(sum(one.low <= 12 <= one.high for one in found), runs, 0.95)


def ten_ratios(lost=(), reference_lost=()):
    """Ratios 1 to 10 to a reference that differs by seed; the runs of these ratios never arrived."""
    reference, ratios = np.array([7, 10, 3, 20, 5, 8, 40, 2, 9, 30]), np.arange(1, 11)
    return ratio_interval(ratios * reference, ~np.isin(ratios, lost), reference, ~np.isin(ratios, reference_lost))


def test_a_ratio_of_which_all_runs_arrived_is_the_geometric_mean():
    assert ten_ratios() == geometric_mean_interval(np.arange(1, 11))


def test_one_censored_run_of_ten_leaves_a_median_and_an_interval_closed_above():
    """The geometric mean of the 5th and the 6th ratio between the 2nd and the 9th; only the tenth is not known."""
    assert ten_ratios([10]) == pytest.approx((np.sqrt(30), 2, 9))


def test_two_to_five_censored_runs_of_ten_leave_a_median_and_an_interval_open_above():
    for lost in (2, 3, 4):
        assert ten_ratios(range(11 - lost, 11)) == pytest.approx((np.sqrt(30), 2, np.inf))
    assert ten_ratios(range(6, 11)) == pytest.approx((5, 2, np.inf)), "the one of the middle two that is known"


def test_six_censored_runs_of_ten_leave_a_lower_bound():
    for lost in (range(5, 11), range(2, 11)):
        assert ten_ratios(lost) == (np.inf, 2, np.inf)


def test_references_that_never_arrived_bound_a_ratio_from_above():
    assert ten_ratios((), [1]) == pytest.approx((np.sqrt(30), 2, 9))
    assert ten_ratios((), [1, 2]) == pytest.approx((np.sqrt(30), 0, 9))
    assert ten_ratios((), range(1, 6)) == pytest.approx((6, 0, 9))
    assert ten_ratios((), range(1, 8)) == (0, 0, 9)
    assert ten_ratios((), [5]) == pytest.approx(((4 * 5 * 6 * 6) ** 0.25, 1, 9)), "5 or less: the fifth least is 4 to 5"


def test_where_neither_of_most_pairs_arrived_nothing_is_known():
    found = ten_ratios(range(1, 11), range(1, 11))
    assert np.isnan(found.estimate)
    assert found[1:] == (0, np.inf)


def test_a_run_censored_early_counts_as_one_that_may_yet_be_slow():
    """Ratios 1, 2+, 3, 4+, 5 (+ censored, at the budget 12 over what backprop needed): the median is 3 to 5."""
    reference, ratios, hits = [12, 6, 4, 3, 2], [1, 2, 3, 4, 5], [True, False, True, False, True]
    found = ratio_interval(np.multiply(ratios, reference), hits, reference, [True] * 5)
    assert found == pytest.approx((np.sqrt(15), 1, np.inf))


@pytest.mark.parametrize("n", [9, 10])
def test_swapping_the_methods_turns_a_ratio_over(n):
    rng = np.random.default_rng(0)
    for _ in range(50):
        (costs, other), (hits, arrived) = rng.lognormal(size=(2, n)), rng.random((2, n)) < 0.7
        one, back = ratio_interval(costs, hits, other, arrived), ratio_interval(other, arrived, costs, hits)
        with np.errstate(divide="ignore"):
            assert one == pytest.approx(1 / np.array([back.estimate, back.high, back.low]), nan_ok=True)


@pytest.mark.parametrize("n", [9, 10])
@pytest.mark.parametrize("late", [0.25, 0.5])
def test_a_method_needs_once_its_own_cost_however_many_of_both_are_late(late, n):
    """Planted: two methods alike in everything. The median estimate is 1 within five standard errors (√(π/2)·σ/√runs,
    where σ² is a bit more than a pair's 2·.7² over n), and the interval holds 1."""
    runs, rng, budget = 600, np.random.default_rng(n), np.exp(0.7 * stats.norm.isf(late))
    costs = np.exp(0.7 * rng.normal(size=(runs, 2, n)))
    hits, costs = costs <= budget, np.minimum(costs, budget)
    found = [ratio_interval(c[0], h[0], c[1], h[1]) for c, h in zip(costs, hits, strict=True)]
    assert sum(one.low <= 1 <= one.high for one in found) >= 0.95 * runs - 5 * np.sqrt(runs * 0.95 * 0.05)
    estimates = [one.estimate for one in found if not np.isnan(one.estimate)]
    assert abs(np.log(np.median(estimates))) < 5 * np.sqrt(np.pi / 2) * 0.7 * np.sqrt(2 * np.pi / 2 / n / runs)


@pytest.mark.parametrize("budget", [20.0, 14.0])
def test_a_censored_paired_ratio_covers_its_truth(budget):
    """Runs end at `budget` times the reference or earlier, seed by seed; the median ratio is 12."""
    runs, rng = 500, np.random.default_rng(5)
    reference = np.exp(2 * rng.normal(size=(runs, 10)))
    costs = 12 * reference * np.exp(0.3 * rng.normal(size=(runs, 10)))
    ends = budget * reference * rng.uniform(0.7, 1, size=(runs, 10))
    spent = zip(np.minimum(costs, ends), costs <= ends, reference, strict=True)
    found = [ratio_interval(cost, hits, other, np.ones(10)) for cost, hits, other in spent]
    assert sum(one.low <= 12 <= one.high for one in found) >= 0.95 * runs - 5 * np.sqrt(runs * 0.95 * 0.05)


def test_seeds_in_which_the_reference_never_arrived_are_not_left_out():
    """Ratios 2, 4 and, of the seed in which neither arrived, anything."""
    some = ratio_interval([20, 40, 7], [True, True, False], [10, 10, 10], [True, True, False])
    assert some == pytest.approx((np.sqrt(8), 0, np.inf))
    assert ratio_interval([20], [True], [10], [False]) == (0, 0, 2)


def test_without_pairs_or_without_costs_there_is_no_ratio():
    assert np.isnan(ratio_interval([], [], [], [])).all()
    assert np.isnan(ratio_interval([np.nan] * 3, [True, True, False], [1, 2, 3], [True] * 3)).all()


def test_progress_is_the_median_over_seeds_of_the_way_from_initial_to_final():
    assert progress_levels([0.1, 0.1, 0.2], [0.9, 1.0, 0.8], [0.5, 1.0]) == pytest.approx({0.5: 0.5, 1.0: 0.9})


def test_a_seed_that_diverged_sets_no_level():
    assert progress_levels([0.1, 0.2], [0.9, np.nan], [0.5]) == pytest.approx({0.5: 0.5})
    assert progress_levels([0.1], [np.nan], [0.5]) == {}
    assert progress_levels([], [], [0.5]) == {}


def test_no_function_touches_the_global_random_state():
    before = np.random.get_state()[1].copy()
    cost_interval([1, 2, 3], [True, True, False])
    ratio_interval([1, 2], [True] * 2, [1, 2], [True] * 2)
    wilson_interval(1, 2)
    expected_running_time_interval([1, 2], [True, False], np.random.default_rng(0))
    assert (np.random.get_state()[1] == before).all()
