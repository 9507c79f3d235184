"""The ladder gives back what was planted; the noise is measured as it is, and the prediction is the formula's."""

from dataclasses import replace
from math import inf, nan, sqrt

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection
from scipy import stats

from esgrad import config, menu, records, training
from esgrad.measurement import noise_scale
from esgrad.measurement.step_law import predicted_steps, quotient, verdict, verdict_on_control
from esgrad.statistics import Interval
from esgrad.suite import FIRST_TUNING_SEED, Suite
from esgrad.tables import ladder
from tests import running

MAX_STEPS = 4000
PLANTED = {  # method: space, noise, shaping, N, steps to the target
    "backprop": ("logits", "", "", None, 40),
    "log_smoothed": ("logits", "", "", None, 60),
    "smoothed": ("logits", "", "", None, 90),
    "maxrl": ("logits", "independent", "maxrl", 30, 120),
    "leave_one_out": ("logits", "independent", "leave_one_out", 30, 180),
    "lecture": ("logits", "independent", "raw", 30, 360),
    "mirrored": ("logits", "mirrored", "raw", 30, 200),
    "batch_fitness": ("batch", "mirrored", "raw", 30, 1600),
    "parameter_noise": ("parameters", "mirrored", "raw", 30, 3200),
    "parameter_ranks": ("parameters", "mirrored", "centered_ranks", 30, inf),
    "maxrl_gaussian": ("logits", "independent", "maxrl", 30, 120),
    "lecture_gaussian": ("logits", "independent", "raw", 30, 180),
    "success": ("logits", "independent", "success", 30, 100),  # no rung
}
NOISE = {"backprop": 1.0, "maxrl": 5.0, "leave_one_out": 5.0, "lecture": 11.0}  # x; 1 + x: 2, 6, 6, 12


def run(method: str, seed: int) -> pd.DataFrame:
    """Evaluated at each step there is a planted arrival; a seed's steps are 1.1^seed times as many, and the lecture's
    3 % more and less by turns."""
    space, noise, shaping, size, steps = PLANTED[method]
    stretch = 1.1 ** (seed % 1000) * np.exp(0.03 * (-1) ** seed * (method == "lecture"))
    arrive = steps * stretch if np.isfinite(steps) else inf
    at = sorted({0.0, *(s * stretch for *_, s in PLANTED.values() if np.isfinite(s)), 2.0 * MAX_STEPS})
    steps_at = np.array(at)
    accuracy = np.where(steps_at >= arrive, 1.0, 0.1)
    ends = np.arange(len(at)) == len(at) - 1
    words = {column: "" if kind == "string" else 0 for column, kind in records.COLUMNS.items()} | {
        "experiment": "ladder",
        "dataset": "digits",
        "model": "mlp",
        "blackbox": "cross_entropy" if method == "backprop" else "zero_one",
        "method": method,
        "space": space,
        "noise": noise,
        "shaping": shaping,
        "variance": "fixed",
        "logit_dim": 10,
        "num_classes": 10,
        "batch_size": 32,
        "num_samples": size if size else pd.NA,
        "noise_variance": nan if method == "backprop" else 1.0,
        "learning_rate": 0.01,
        "seed": seed,
        "step": (1000 * steps_at).astype(int),  # a step counts a thousandth here: no rounding in the ratios
        "queries": steps_at,
        "forwards": steps_at,
        "validation_accuracy": accuracy,
        "test_accuracy": np.where(ends, 0.9 - 0.05 * (method == "lecture_gaussian") + 0.001 * (seed % 3), nan),
        "dead_classes": int(method == "lecture" and seed < 5),
        "status": "ok",
    }
    return pd.DataFrame(words)


def planted(*methods: str, noise: dict[str, float] = NOISE, growing: float = 0, **experiment: float) -> Suite:
    """`growing`: so much more noise at each checkpoint, of all but backprop; other words are the experiment's."""
    names = methods or tuple(PLANTED)
    seeds = {name: [*range(10), *([1000, 1001] if name == "backprop" else [])] for name in names}
    rows = pd.concat([run(name, seed) for name in names for seed in seeds[name]], ignore_index=True)
    measured = [
        {
            **{
                key: rows.loc[rows["method"] == name, key].iloc[0] for key in records.NOISE_SCALE_COLUMNS if key in rows
            },
            "step": step,
            "relative_noise": x + growing * place * (name != "backprop"),
            "error": 0.1,
            "num_draws": 8,
        }
        for name, x in noise.items()
        if name in names
        for place, step in enumerate((0, 10, 100, 10**6))
    ]
    scales = pd.DataFrame(measured, columns=list(records.NOISE_SCALE_COLUMNS)).astype(records.NOISE_SCALE_COLUMNS)
    frame = rows.astype(records.COLUMNS)
    return Suite(
        name="planted",
        records=frame,
        tuning=frame.iloc[:0],
        gradient_quality=pd.DataFrame(),
        samples_needed=pd.DataFrame(),
        skipped=pd.DataFrame(),
        targets={"progress": [0.5, 0.9, 0.95], "accuracy": []},
        experiments={"ladder": {"hidden_size": 32, **experiment}},
        noise_scale=scales,
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return ladder.table(planted())


def row(frame: pd.DataFrame, method: str, target: str = "progress 0.90") -> pd.Series:
    (found,) = frame[(frame["method"] == method) & (frame["target"] == target)].to_dict("records")
    return pd.Series(found)


STANDS_ON = {
    "backprop": "",
    "log_smoothed": "backprop",
    "smoothed": "log_smoothed",
    "maxrl": "log_smoothed",
    "leave_one_out": "smoothed",
    "lecture": "leave_one_out",
    "mirrored": "lecture",
    "batch_fitness": "mirrored",
    "parameter_noise": "batch_fitness",
    "parameter_ranks": "parameter_noise",
    "maxrl_gaussian": "maxrl",
    "lecture_gaussian": "lecture",
}


def test_rungs_come_from_the_top_and_each_control_after_its_twin(frame) -> None:
    order = list(frame.loc[frame["target"] == "progress 0.95", "method"])
    assert sorted(order) == sorted(STANDS_ON)
    rungs = [method for method in order if not method.endswith("_gaussian")]
    assert rungs == [method for method in STANDS_ON if not method.endswith("_gaussian")]
    for control in ("maxrl", "lecture"):
        assert order.index(f"{control}_gaussian") == order.index(control) + 1


@pytest.mark.parametrize(("method", "below"), STANDS_ON.items())
def test_a_rung_stands_on_the_one_it_changes_one_thing_of_and_has_the_planted_ratio(frame, method, below) -> None:
    found = row(frame, method)
    assert found["stands_on"] == below
    if not below:
        assert np.isnan(found["ratio"])
        return
    planted_ratio = PLANTED[method][-1] / PLANTED[below][-1]
    assert found["ratio"] == pytest.approx(planted_ratio, rel=1e-3)
    assert found["ratio_to_backprop"] == pytest.approx(PLANTED[method][-1] / 40, rel=1e-3)
    if np.isfinite(planted_ratio):
        assert found["ratio_low"] <= found["ratio"] <= found["ratio_high"]
        assert found["hits"] == found["num_pairs"] == 10
    else:
        assert found["hits"] == 0
        assert found["ratio_low"] > 1


def test_where_a_rung_was_not_run_the_next_stands_on_the_nearest_that_was() -> None:
    frame = ladder.table(planted("backprop", "lecture", "parameter_noise"))
    assert row(frame, "lecture")["stands_on"] == "backprop"
    assert row(frame, "parameter_noise")["stands_on"] == "lecture"


def test_a_rung_stands_on_one_of_its_own_n_or_of_none() -> None:
    """The lecture at N = 30, 100 and 300; leave-one-out at 30, twice as fast, and 100, four times; smoothed."""
    suite = planted("backprop", "smoothed", "leave_one_out", "lecture")
    lecture, below = (suite.records[suite.records["method"] == name] for name in ("lecture", "leave_one_out"))
    more = [lecture.assign(num_samples=100), lecture.assign(num_samples=300)]
    more.append(below.assign(num_samples=100, step=below["step"] // 2))
    frame = pd.concat([suite.records, *more], ignore_index=True).astype(records.COLUMNS)
    frame = ladder.table(replace(suite, records=frame))
    found = frame[(frame["method"] == "lecture") & (frame["target"] == "progress 0.90")].set_index("num_samples")
    assert dict(found["stands_on"]) == {30: "leave_one_out", 100: "leave_one_out", 300: "smoothed"}
    assert found["ratio"].tolist() == pytest.approx([2, 4, 4], rel=1e-3)


@pytest.mark.parametrize(
    ("method", "to_backprop", "ratio"),
    [
        ("maxrl", 3, nan),
        ("leave_one_out", 3, nan),
        ("lecture", 6, 2),
        ("lecture_gaussian", 6, 1),
        ("mirrored", nan, nan),
    ],
)
def test_the_prediction_is_one_plus_the_noise_over_backprops(frame, method, to_backprop, ratio) -> None:
    found = row(frame, method)
    assert found["predicted_to_backprop"] == pytest.approx(to_backprop, nan_ok=True)
    assert found["predicted"] == pytest.approx(ratio, nan_ok=True)


def test_backprops_runs_that_set_the_levels_are_not_reported(frame) -> None:
    assert set(frame["num_seeds"]) == {10}
    assert row(frame, "backprop")["hits"] == 10


def test_the_prediction_goes_by_the_steps_of_backprops_reported_runs() -> None:
    """Whose geometric mean is 40·1.1^4.5; with the two that set the levels it would be 40·1.1^3.8."""
    suite = planted(growing=300)
    found = row(ladder.table(suite), "maxrl")
    scale = suite.noise_scale.set_index("method")
    expected = predicted_steps(scale.loc["maxrl"], scale.loc["backprop"], 40 * 1.1**4.5 * 1000)
    assert found["predicted_to_backprop"] == pytest.approx(expected.estimate, rel=2e-4)
    other = predicted_steps(scale.loc["maxrl"], scale.loc["backprop"], 40 * 1.1**3.8 * 1000)
    assert abs(other.estimate / expected.estimate - 1) > 2e-3


def test_whoever_leaves_a_rung_out_changes_no_ratio_to_backprop_but_what_others_stand_on(frame) -> None:
    fewer = ladder.table(planted(*(method for method in PLANTED if method != "leave_one_out")))
    own, rest = row(frame, "lecture"), row(fewer, "lecture")
    assert (own["stands_on"], rest["stands_on"]) == ("leave_one_out", "smoothed")
    assert own["ratio"] == pytest.approx(2, rel=1e-3)
    assert rest["ratio"] == pytest.approx(4, rel=1e-3)
    kept = [name for name in ladder.RUNGS if name != ("logits", "independent", "leave_one_out")]
    assert len(kept) == len(ladder.RUNGS) - 1
    same = [column for column in frame if "to_backprop" in column or column in ("steps", "hits", "dead_class_rate")]
    pd.testing.assert_series_equal(own[same], rest[same])


@pytest.mark.parametrize(("noise", "said"), [(11.0, "not contradicted"), (5.0, "slower"), (30.0, "faster")])
@pytest.mark.parametrize("rate", [nan, 0.01])
def test_a_prediction_outside_the_interval_is_contradicted(noise: float, said: str, rate: float) -> None:
    """Planted: the lecture needs 2 times the steps of leave-one-out, whose 1 + x is 6."""
    words = {} if np.isnan(rate) else {"learning_rates": rate}
    frame = ladder.table(planted(noise=NOISE | {"lecture": noise}, **words))
    if rate == 0.01 and said != "not contradicted":
        said = f"{said} at this rate"
    assert row(frame, "lecture")["verdict"] == said
    assert frame["given_rate"].eq(0.01).all() if words else frame["given_rate"].isna().all()
    text = ladder.markdown(frame)
    assert ("One learning rate, 0.01, given, for all rungs." in text) == bool(words)
    assert f"| {said} " in text


def test_an_experiment_with_several_rates_is_tuned() -> None:
    assert np.isnan(ladder.given_rate(planted("backprop", "maxrl", learning_rates=[0.01, 0.03]), "ladder"))


def test_the_words_tell_how_wide_the_intervals_are_that_contradict_nothing() -> None:
    frame = ladder.table(planted())
    held = frame[(frame["target"] == "progress 0.90") & ~frame["control"]]
    ends = [
        (line[f"{ratio}_low"], line[f"{ratio}_high"])
        for _, line in held.iterrows()
        for ratio, said in (("ratio", "verdict"), ("ratio_to_backprop", "verdict_to_backprop"))
        if line[said] == "not contradicted"
    ]
    widths = [high / low for low, high in ends]
    text = ladder.markdown(frame)
    assert (
        f"of {len(ends)}, {len(ends)} with ends {min(widths):.3g} to {max(widths):.3g} times apart measured, " in text
    )
    assert "times apart predicted." in text
    assert "< 0" not in text, "a difference of 0 is no bound"
    wide = frame.assign(ratio_low=frame["ratio_low"].where(frame["method"] != "lecture", 0))
    assert f"of {len(ends)}, {len(ends) - 1} with ends" in ladder.markdown(wide)
    assert "times apart measured, 1 measured open at one end, " in ladder.markdown(wide)


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (Interval(3, 2.5, 3.5), "slower"),
        (Interval(3, 2.1, 3.5), "not contradicted"),
        (Interval(1.2, 1.1, 1.5), "not contradicted"),
        (Interval(1.2, 1.1, 1.3), "faster"),
        (Interval(0, 0, 1.3), "faster"),
        (Interval(inf, 2.5, inf), "slower"),
        (Interval(nan, 0, inf), "cannot decide"),
        (Interval(2, nan, nan), ""),
    ],
)
def test_only_intervals_apart_contradict(ratio: Interval, said: str) -> None:
    """The prediction, 1.8, may be 1.4 to 2.2: a ratio of 2.1 to 3.5 excludes its estimate alone."""
    assert verdict(ratio, Interval(1.8, 1.4, 2.2)) == said
    assert verdict(ratio, Interval(nan, nan, nan)) == ""


def scales(*noise: float, error: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"step": [0, 10, 100], "relative_noise": noise, "error": error})


def test_the_interval_of_a_prediction_is_that_of_the_errors_of_the_noise() -> None:
    """1 + x = 4 ± .2 and 2 ± .1, at every network: log ratio ± 1.96·√(.05² + .05²)."""
    found = predicted_steps(scales(3, 3, 3, error=0.2), scales(1, 1, 1, error=0.1), 50)
    half = np.exp(1.959964 * 0.05 * sqrt(2))
    assert found == pytest.approx((2, 2 / half, 2 * half))
    assert predicted_steps(scales(3, 3, 3), scales(1, 1, 1), 50) == pytest.approx((2, 2, 2))


def test_the_interval_of_a_prediction_covers_what_is_planted() -> None:
    """Noise measured with an error, alike or not from one network to the next: 95 % or more."""
    rng, runs = np.random.default_rng(0), 400
    for shared in (True, False):
        held = 0
        for _ in range(runs):
            luck = np.repeat(rng.normal(size=2), 3) if shared else rng.normal(size=6)
            own = scales(*(np.array([3, 5, 9]) + 0.2 * luck[:3]), error=0.2)
            reference = scales(*(1 + 0.1 * luck[3:]), error=0.1)
            found = predicted_steps(own, reference, 60)
            held += found.low <= predicted_steps(scales(3, 5, 9), scales(1, 1, 1), 60).estimate <= found.high
        assert held >= 0.95 * runs - 5 * sqrt(0.95 * 0.05 * runs)
        assert not shared or held < runs, "as wide as it need be"


def test_the_quotient_of_two_predictions_adds_their_errors_as_squares() -> None:
    assert quotient(Interval(6, 3, 12), Interval(2, 2, 2)) == pytest.approx((3, 1.5, 6))
    assert quotient(Interval(6, 6, 6), Interval(2, 1, 6)) == pytest.approx((3, 1, 6))
    both = 2 ** sqrt(2)
    assert quotient(Interval(6, 3, 12), Interval(2, 1, 4)) == pytest.approx((3, 3 / both, 3 * both))


def test_the_prediction_of_a_rung_carries_the_errors_and_backprops_own_is_one(frame) -> None:
    """1 + x: 6 ± .1, 12 ± .1 and backprop's 2 ± .1."""
    found, z = row(frame, "maxrl"), 1.959964
    half = np.exp(z * np.hypot(0.1 / 6, 0.1 / 2))
    ends = [found[f"predicted_to_backprop{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([3, 3 / half, 3 * half])
    found = row(frame, "lecture")
    half = np.exp(z * sqrt((0.1 / 6) ** 2 + (0.1 / 12) ** 2 + 2 * (0.1 / 2) ** 2))
    assert [found[f"predicted{end}"] for end in ("", "_low", "_high")] == pytest.approx([2, 2 / half, 2 * half])
    found = row(frame, "backprop")
    assert [found[f"predicted_to_backprop{end}"] for end in ("", "_low", "_high")] == [1, 1, 1]


def test_the_prediction_is_the_mean_over_backprops_steps_of_the_interpolated_ratio() -> None:
    own, reference = scales(1, 3, 7), scales(1, 1, 1)  # (1 + x)/(1 + x₀): 1, 2, 4

    def predicted(noise: pd.DataFrame, reference: pd.DataFrame, steps: float) -> float:
        return predicted_steps(noise, reference, steps).estimate

    assert predicted(own, own, 50) == pytest.approx(1)
    assert predicted(own, reference, 1) == pytest.approx(1), "the first step alone"
    assert predicted(scales(3, 3, 3), reference, 70) == pytest.approx(2)
    first = [2 ** (np.log1p(s) / np.log1p(10)) for s in range(11)]
    then = [2 ** (1 + (np.log1p(s) - np.log1p(10)) / (np.log1p(100) - np.log1p(10))) for s in range(11, 60)]
    assert predicted(own, reference, 60) == pytest.approx(np.mean([*first, *then]))
    assert predicted(own, reference, 10**6) == pytest.approx(4, rel=1e-3), "held beyond the last"


def test_there_is_no_prediction_where_no_noise_is_known_on_the_way() -> None:
    own, reference = scales(1, 3, nan), scales(1, 1, 1)
    assert np.isfinite(predicted_steps(own, reference, 10)).all()
    assert np.isnan(predicted_steps(own, reference, 11)).all()
    assert np.isnan(predicted_steps(own.iloc[:0], reference, 10)).all()
    assert np.isnan(predicted_steps(own, reference, inf)).all()


def test_a_control_that_trains_otherwise_is_told(frame) -> None:
    assert row(frame, "maxrl_gaussian")["verdict"] == "alike"
    found = row(frame, "lecture_gaussian")
    assert found["verdict"] == "otherwise"
    assert found["ratio"] == pytest.approx(0.5, rel=1e-3)
    assert found["accuracy_difference"] == pytest.approx(-0.05)
    text = ladder.markdown(frame)
    assert "Controls, over their twins" in text
    assert "otherwise" in text


SAME = Interval(0.0, -0.002, 0.002)
CONTROLS = {
    "both within": (Interval(1.02, 0.95, 1.1), SAME, "alike"),
    "a difference within the margin": (Interval(1.1, 1.05, 1.2), SAME, "alike"),
    "slower": (Interval(1.4, 1.1, 1.7), SAME, "otherwise"),
    "faster": (Interval(0.6, 0.5, 0.7), SAME, "otherwise"),
    "less accurate": (Interval(1.02, 0.95, 1.1), Interval(-0.03, -0.05, -0.01), "otherwise"),
    "wide": (Interval(1.1, 0.7, 1.7), SAME, "cannot decide"),
    "open": (Interval(inf, 0.9, inf), SAME, "cannot decide"),
    "one seed": (Interval(1.0, nan, nan), Interval(0.0, nan, nan), "cannot decide"),
}


@pytest.mark.parametrize(("ratio", "difference", "verdict"), CONTROLS.values(), ids=CONTROLS)
def test_a_verdict_on_a_control_is_what_its_two_intervals_say(ratio, difference, verdict) -> None:
    assert verdict_on_control(ratio, difference) == verdict


@pytest.mark.parametrize("diverged", [(), (0, 1), (1, 8)])
def test_dead_classes_are_counted_in_what_finished_and_have_wilsons_interval(diverged: tuple[int, ...]) -> None:
    """Planted: 5 of 10 runs, seeds 0 to 4, end with a dead class."""
    suite = planted("backprop", "lecture", "maxrl")
    lost = (suite.records["method"] == "lecture") & suite.records["seed"].isin(diverged)
    lost &= suite.records["step"] == suite.records["step"].max()
    assert lost.sum() == len(diverged)
    status = suite.records["status"].mask(lost, "diverged")
    frame = ladder.table(replace(suite, records=suite.records.assign(status=status)))
    found, dead = row(frame, "lecture"), len({0, 1, 2, 3, 4}.difference(diverged))
    interval = stats.binomtest(dead, 10 - len(diverged)).proportion_ci(0.95, "wilson")
    assert found["dead_class_rate"] == dead / (10 - len(diverged))
    assert (found["dead_class_low"], found["dead_class_high"]) == pytest.approx(tuple(interval))
    assert row(frame, "maxrl")["dead_class_rate"] == 0


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("dimension", [3, 200])
def test_the_relative_noise_is_the_planted_one(known: bool, dimension: int) -> None:
    """g = m + s·z in d dimensions: x = d s²/|m|², within 5 of the standard errors it states."""
    generator = torch.Generator().manual_seed(dimension)
    mean = torch.ones(dimension, dtype=torch.float64)
    draws = mean + 2 * torch.randn(4000, dimension, dtype=torch.float64, generator=generator)
    found = noise_scale.relative_noise(draws, mean if known else None)
    assert found["relative_noise"] == pytest.approx(4, abs=5 * found["error"])
    # of |g|² alone, Var |g|² = 2 s⁴ d + 4 s² |m|²; with the mean to be found more
    known_error = sqrt((32 * dimension + 16 * dimension) / 4000) / dimension
    assert found["error"] == pytest.approx(known_error, rel=0.15) if known else found["error"] > known_error


def test_of_few_draws_too_the_signal_is_found_without_bias() -> None:
    """E|g|²/(1 + x) is |m|² = 1 on average, 5 standard errors; |Σg/n|² would be 1 + x/n = 1.5."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.full((100,), 0.1, dtype=torch.float64)
    found = []
    for _ in range(300):
        draws = mean + 0.2 * torch.randn(8, 100, dtype=torch.float64, generator=generator)  # x = 4
        noise = noise_scale.relative_noise(draws)["relative_noise"]
        found.append(float(draws.square().sum(1).mean()) / (1 + noise))
    assert np.isfinite(found).all(), "or those that are left were selected"
    assert np.mean(found) == pytest.approx(1, abs=5 * np.std(found) / sqrt(len(found)))


def test_a_mean_is_seen_where_it_is_three_standard_errors_of_the_noise_and_else_nothing_is_said() -> None:
    """|E g|² by hand, the mean of g_i·g_j over pairs, and its jackknife, of 20 draws at a time on both sides of it."""
    generator = torch.Generator().manual_seed(1)
    away, said = [], []
    for mean in [0.0, 0.2, 0.3] * 100:
        draws = (mean + torch.randn(20, 30, dtype=torch.float64, generator=generator)).numpy()
        products = draws @ draws.T
        np.fill_diagonal(products, 0)
        without = [np.delete(np.delete(products, i, 0), i, 1).sum() / (19 * 18) for i in range(20)]
        away.append(products.sum() / (20 * 19) / sqrt(19 * np.var(without)))
        said.append(np.isfinite(noise_scale.relative_noise(torch.from_numpy(draws))["relative_noise"]))
    away = np.array(away)
    assert (np.array(said) == (away > 3)).all()
    assert np.histogram(away, [-inf, 0, 2, 3, 4, inf])[0].min() >= 10


@pytest.fixture(scope="module")
def here(digits) -> noise_scale.Here:
    return noise_scale.checkpoints(exact("backprop", 20), 0.01, digits)[-1]


def exact(name: str, steps: int = 20):
    words = {"num_samples": (None,), "noise_variance": (None if name == "backprop" else 0.5,), "max_steps": steps}
    return replace(running.kind(name), method=name, weight_decay=0.0, **words)


def sampled(**changes):
    return running.job(noise_variance=(0.5,), weight_decay=0.0, max_steps=20, **changes)


def test_the_checkpoints_are_on_backprops_way(digits) -> None:
    found = noise_scale.checkpoints(exact("backprop", 40), 0.01, digits)
    assert [at.step for at in found] == [0, 10, 32]
    assert not torch.equal(found[0].network.flat(), found[1].network.flat())


def test_the_network_that_is_asked_is_of_a_seed_that_nothing_reports(digits, monkeypatch) -> None:
    asked = []

    def recorded(job, data, num_samples, groups, seeds, *rest, **words):
        asked.extend(seeds)
        return iter(())

    monkeypatch.setattr(noise_scale, "train", recorded)
    noise_scale.checkpoints(exact("backprop", 40), 0.01, digits)
    assert asked
    assert min(asked) >= FIRST_TUNING_SEED


@pytest.mark.parametrize("rate", [nan, 0.01])
def test_the_picture_has_a_bar_for_each_prediction_and_names_a_rate_that_was_given(rate: float) -> None:
    words = {} if np.isnan(rate) else {"learning_rates": rate}
    figure, drawn = menu.load("figures", "ladder").draw(planted(**words))
    left = figure.axes[0]
    bars = [line.get_segments()[0] for line in left.collections if isinstance(line, LineCollection)]
    shown = drawn[~drawn["control"] & drawn["predicted_to_backprop"].notna()]
    assert len(shown) > 2
    for line in shown.to_dict("records"):
        ends = (line["predicted_to_backprop_low"], line["predicted_to_backprop_high"])
        assert any(tuple(bar[:, 0]) == pytest.approx(ends) for bar in bars)
    said = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    assert ("one learning rate, given, for all rungs: 0.01" in said) == bool(words)


MEANS = {
    "backprop": lambda: exact("backprop"),
    "log_smoothed": lambda: exact("log_smoothed"),
    **{name: (lambda name=name: sampled(shaping=name)) for name in ("raw", "leave_one_out", "maxrl")},
    "mirrored": lambda: sampled(noise="mirrored"),
}


@pytest.mark.parametrize("make", MEANS.values(), ids=MEANS)
def test_the_mean_that_is_known_is_the_mean_of_the_gradients(here, make) -> None:
    """Along itself and along an axis, within 5 standard errors of 400 gradients."""
    job = make()
    ((size, variance, _),) = job.cells()
    draws = noise_scale.gradients(job, size, variance, here, 400)
    mean = noise_scale.mean_gradient(job, size, variance, here)
    for direction in (mean, torch.linspace(-1, 1, len(mean), dtype=mean.dtype)):
        along = draws @ direction
        assert abs(float(along.mean() - mean @ direction)) < 5 * float(along.std()) / sqrt(len(along))


@pytest.mark.parametrize("space", ["parameters", "batch"])
def test_elsewhere_the_mean_is_found_in_the_noise(here, space: str) -> None:
    assert noise_scale.mean_gradient(sampled(space=space), 8, 0.5, here) is None


def test_more_samples_and_less_credit_change_the_noise_as_they_should(digits) -> None:
    """Sampling adds noise to the exact arm's, N times as many samples less of it, one fitness a batch far more."""
    jobs = [
        exact("backprop"),
        replace(exact("smoothed"), method="smoothed"),
        replace(sampled(shaping="leave_one_out"), method="few", num_samples=(4,)),
        replace(sampled(shaping="leave_one_out"), method="many", num_samples=(64,)),
        replace(sampled(shaping="leave_one_out", space="batch"), method="batch", num_samples=(64,)),
        replace(sampled(shaping="leave_one_out"), method="few_gaussian", control="gaussian"),
    ]
    frame = noise_scale.measure(jobs, 0.01, digits, 64)
    assert "few_gaussian" not in set(frame["method"])
    draws = frame.groupby("method")["num_draws"].unique().explode()
    assert dict(draws) == dict.fromkeys(draws.index, 64) | {"batch": 4 * 64}, "where the mean is to be found, too"
    noise = frame[frame["step"] == 10].set_index("method")["relative_noise"]
    assert noise["smoothed"] < noise["many"] < noise["few"]
    added = noise - noise["smoothed"]
    assert added["few"] / added["many"] == pytest.approx(16 * 1.3, rel=0.3)  # leave-one-out: more than 1/N at N = 4
    assert noise["batch"] > 5 * noise["many"] or np.isnan(noise["batch"])


def test_without_backprop_there_are_no_networks_to_ask(digits) -> None:
    with pytest.raises(ValueError, match="backprop"):
        noise_scale.measure([exact("smoothed")], 0.01, digits, 8)


METHODS = {"backprop": {"exact": "backprop"}, "smoothed": {"exact": "smoothed"}}


def suite_of(section: dict, methods: tuple[str, ...] = tuple(METHODS), **words) -> dict:
    experiment = {"dataset": "digits", "methods": list(methods), "max_steps": 10, "batch_size": [8, 32]}
    return {
        "name": "test",
        "methods": METHODS,
        "experiments": {"ladder": experiment | words, "other": experiment},
        "noise_scale": section,
    }


def test_each_task_of_the_named_experiments_is_measured_in_a_file_of_its_own() -> None:
    tasks = config.noise_tasks(config.validated(suite_of({"experiments": "ladder"})))
    assert list(tasks) == [f"noise_scale/ladder/digits/mlp/logit_dim=10/batch_size={size}.parquet" for size in (8, 32)]
    assert all([job.method for job in jobs] == list(METHODS) for jobs in tasks.values())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (suite_of({"experiments": "lader"}), "Did you mean 'ladder'"),
        (suite_of({"experiments": "ladder"}, methods=("smoothed",)), "ladder has no backprop"),
    ],
    ids=["unknown", "no backprop"],
)
def test_noise_that_cannot_be_measured_is_refused_in_one_line(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        config.validated(wrong)
    assert "\n" not in str(error.value)


def test_an_experiments_own_rates_replace_those_of_tuning_and_a_single_one_is_not_tuned(digits) -> None:
    def job(rates):
        return config.jobs(config.validated(suite_of({"experiments": "ladder"}, learning_rates=rates)))[0]

    assert (job([0.1, 0.2]).learning_rates, job([0.1, 0.2]).num_tuning_seeds) == ((0.1, 0.2), 4)
    alone = replace(job(0.1), num_seeds=1)
    assert alone.tuning_seeds == []
    cell = training.train_cell(alone, digits, None, [None], "cpu", lambda steps: None)
    assert cell.tuning == []
    assert {row["learning_rate"] for row in cell.records} == {0.1}
    assert records.frame(alone, cell.tuning).empty
