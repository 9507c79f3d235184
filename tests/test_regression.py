"""The exponent of a cost: against least squares, against another program, and where it must refuse."""

import numpy as np
import pytest
from scipy import stats

from esgrad.statistics.regression import Costs, exponent, likelihood

SIZES = np.repeat([10.0, 30.0, 100.0, 300.0], 10)


def planted(seed, spread=0.8, slope=1.0):
    return np.exp(1 + slope * np.log(SIZES) + spread * np.random.default_rng(seed).normal(size=len(SIZES)))


def known(costs):
    """Costs to 5 digits."""
    return costs * np.exp(-5e-6), costs * np.exp(5e-6)


def between_evaluations(costs, budget=np.inf):
    """Costs on a grid of a factor exp(.25), censored at the budget."""
    low = np.exp(np.floor(np.log(costs) / 0.25) * 0.25)
    high = low * np.exp(0.25)
    late = high > budget
    return np.where(late, budget, low), np.where(late, np.inf, high)


def test_of_costs_that_are_known_it_is_least_squares_with_students_interval():
    costs = planted(0)
    line = stats.linregress(np.log(SIZES), np.log(costs))
    half = stats.t.ppf(0.975, 38) * line.stderr
    found = exponent(SIZES, *known(costs))
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (line.slope, line.slope - half, line.slope + half), abs=1e-5
    )
    assert found.constant == pytest.approx(np.exp(line.intercept))
    assert (found.censored_share, found.refusal) == (0, "")


def test_it_agrees_with_lifelines():
    """LogNormalAFTFitter.fit_interval_censoring of lifelines 0.30.3 on these data (it needs an older pandas)."""
    low, high = between_evaluations(planted(0), 60 * np.sqrt(SIZES))
    found = exponent(SIZES, low, high)
    assert found.censored_share == pytest.approx(7 / 40)
    assert found.estimate == pytest.approx(1.0773996, abs=1e-4)
    assert np.log(found.constant) == pytest.approx(0.6755154, abs=1e-4)
    assert np.log(found.spread) == pytest.approx(-0.4136615, abs=1e-4)


def test_of_the_same_costs_at_two_sizes_it_is_scipys_censored_fit():
    low, high = between_evaluations(planted(3)[:20])
    one = stats.CensoredData(interval=np.log(np.stack([low, high], axis=1)))
    mean, spread = stats.norm.fit(one)
    found = exponent(np.repeat([1.0, np.e], 20), np.tile(low, 2), np.tile(high, 2))
    assert found.estimate == pytest.approx(0, abs=1e-4)
    assert np.log(found.constant) == pytest.approx(mean, abs=1e-4)
    assert found.spread == pytest.approx(spread, abs=1e-4)


def test_censoring_does_not_bias_it_as_it_does_least_squares():
    """60 planted suites of true exponent 1, a fifth censored, most where it is dear: within 5 standard errors."""
    found, naive = [], []
    for seed in range(60):
        low, high = between_evaluations(planted(seed), 60 * np.sqrt(SIZES))
        found.append(exponent(SIZES, low, high).estimate)
        arrived = np.isfinite(high)
        naive.append(stats.linregress(np.log(SIZES[arrived]), np.log(low[arrived])).slope)
    error = np.std(found) / np.sqrt(60)
    assert np.mean(found) == pytest.approx(1, abs=5 * error)
    assert np.mean(naive) < 1 - 5 * error


def test_the_likelihoods_derivatives_are_those_of_differences():
    low, high = (np.log(end) for end in between_evaluations(planted(1), 60 * np.sqrt(SIZES)))
    assert np.isinf(high).any()
    low[:3] = -np.inf
    data = Costs(np.column_stack([np.ones(40), np.log(SIZES)]), low, high)
    at, step = np.array([1.5, 2.1, 2.0]), 1e-5
    fit = likelihood(data, at)
    moved = [[likelihood(data, at + sign * step * one) for sign in (1, -1)] for one in np.eye(len(at))]
    slopes = np.array([up.value - down.value for up, down in moved]) / (2 * step)
    assert fit.scores.sum(0) == pytest.approx(slopes, abs=1e-5)
    curves = np.array([up.scores.sum(0) - down.scores.sum(0) for up, down in moved]) / (2 * step)
    assert fit.hessian == pytest.approx(curves, abs=1e-5)


def test_a_mass_far_in_the_tail_keeps_its_logarithm():
    """log[Φ(41) − Φ(40)] ≈ log[1 − Φ(40)], which is 0 in floating point."""
    fit = likelihood(Costs(np.ones((1, 1)), np.array([40.0]), np.array([41.0])), np.array([0.0, 1.0]))
    assert fit.value == pytest.approx(stats.norm.logsf(40), rel=1e-6)
    assert np.isfinite(fit.scores).all()


def test_lines_that_run_through_every_interval_leave_the_slopes_between_them():
    found = exponent([10, 100, 1000, 10000], [8, 90, 900, 8000], [12, 110, 1400, 15000])
    steepest, flattest = (np.log10(15000 / 8) / 3, np.log10(8000 / 12) / 3)
    assert found.low < flattest < found.estimate < steepest < found.high
    assert found.estimate == pytest.approx((found.low + found.high) / 2)
    assert found.low > 0.85
    assert found.high < 1.2
    for size, low, high in ((10, 8, 12), (100, 90, 110), (1000, 900, 1400), (10000, 8000, 15000)):
        assert low < found.constant * size**found.estimate < high


def test_subjects_that_differ_by_e_to_the_third_widen_nothing():
    """Ten subjects at every size: with an intercept each, least squares within them; without, an interval ten wide."""
    rng = np.random.default_rng(2)
    who = np.tile(np.arange(10), 4)
    y = 3 * rng.normal(size=10)[who] + 1.2 * np.log(SIZES) + 0.1 * rng.normal(size=40)
    found = exponent(SIZES, *known(np.exp(y)), who)
    x = np.log(SIZES).reshape(4, 10)
    slopes = np.array([np.polyfit(x[:, i], y.reshape(4, 10)[:, i], 1)[0] for i in range(10)])
    assert found.estimate == pytest.approx(slopes.mean(), abs=1e-6)
    assert found.low < 1.2 < found.high
    assert found.high - found.low < 0.1
    assert found.spread == pytest.approx(0.1, rel=0.3)
    plain = exponent(SIZES, *known(np.exp(y)))
    assert plain.high - plain.low > 1


def test_slopes_that_differ_from_subject_to_subject_widen_the_interval_to_that_of_their_mean():
    rng = np.random.default_rng(3)
    who = np.tile(np.arange(10), 4)
    true = 1.2 + 0.3 * rng.normal(size=10)
    y = 3 * rng.normal(size=10)[who] + true[who] * np.log(SIZES) + 0.02 * rng.normal(size=40)
    x = np.log(SIZES).reshape(4, 10)
    slopes = np.array([np.polyfit(x[:, i], y.reshape(4, 10)[:, i], 1)[0] for i in range(10)])
    half = stats.t.ppf(0.975, 9) * slopes.std(ddof=1) / 10**0.5
    found = exponent(SIZES, *known(np.exp(y)), who)
    assert (found.low, found.high) == pytest.approx((slopes.mean() - half, slopes.mean() + half), rel=1e-4)


def test_a_subject_that_never_arrived_changes_nothing_but_the_counts():
    low, high = between_evaluations(planted(5), 100 * np.sqrt(SIZES))
    who = np.tile(np.arange(10), 4)
    found = exponent(SIZES, low, high, who)
    more = [np.append(part, extra) for part, extra in ((SIZES, SIZES[::10]), (low, [50.0] * 4), (high, [np.inf] * 4))]
    lost = exponent(*more, np.append(who, [77] * 4))
    assert lost[:5] == pytest.approx(found[:5])
    assert lost.censored_share == pytest.approx((40 * found.censored_share + 4) / 44)
    none = exponent([10, 100], [5, 5], [np.inf, np.inf], [0, 0])
    assert none.refusal == "no run arrived, so the cost has no upper bound, at K = 10, 100"
    with pytest.raises(ValueError, match=r"subjects must be of one length, got .*, \(5,\)\."):
        exponent(SIZES, low, high, who[:5])


def test_a_size_without_a_hit_is_refused_by_name():
    found = exponent([10, 10, 10, 100, 100], [1, 2, 3, 9, 9], [2, 3, 4, np.inf, np.inf])
    assert found.refusal == "no run arrived, so the cost has no upper bound, at K = 100"
    assert np.isnan([found.estimate, found.low, found.high]).all()
    assert found.censored_share == 0.4
    assert exponent([10, 10, 100, 100], [0, 0, 1, 1], [2, 2, 2, 2]).refusal == "no cost is known above 0 at K = 10"


def test_too_little_is_refused_with_what_would_do():
    assert exponent([10, 10], [1, 1], [2, 2]).refusal == "an exponent needs two sizes K, got 1"
    assert exponent([], [], []).refusal == "an exponent needs two sizes K, got 0"
    assert exponent([1, 2, 3], [1, 1, 1], [2, 2, 2]).refusal.endswith("needs 4 runs that arrived, got 3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0, 1], [1, 1], [2, 2]), r"K > 0 .*, got K = 0 and \(1, 2\]"),
        (([1, np.inf], [1, 1], [2, 2]), "got K = inf"),
        (([1, 2], [3, 1], [2, 2]), r"0 ≤ low < high, got K = 1 and \(3, 2\]"),
        (([1, 2], [2, 1], [2, 2]), r"got K = 1 and \(2, 2\]"),
        (([1, 2], [np.nan, 1], [2, 2]), r"got K = 1 and \(nan, 2\]"),
        (([1, 2], [1], [2, 2]), r"of one length, got \(2,\), \(1,\), \(2,\)"),
    ],
)
def test_bad_input_is_refused_in_a_line(arguments, words):
    with pytest.raises(ValueError, match=words):
        exponent(*arguments)


def test_where_lines_run_through_every_interval_the_scatter_is_that_of_the_cells():
    """Three subjects: least squares of the middles, whose errors are uniform in their cells, by Student's t at 2."""
    sizes, who = np.tile([10.0, 100.0, 1000.0], 3), np.repeat(range(3), 3)
    cell = np.log(10) / 8
    low = np.exp(np.floor(np.log(sizes) / cell + 0.3) * cell)
    found = exponent(sizes, low, low * np.exp(cell), who)
    x = np.log(sizes) - np.log(sizes).mean()
    half = stats.t.ppf(0.975, 2) * cell / np.sqrt(12 * np.square(x).sum())
    assert found.estimate == pytest.approx(1, abs=0.01)
    assert (found.low, found.high) == pytest.approx((found.estimate - half, found.estimate + half))
