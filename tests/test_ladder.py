"""The ladder gives back what was planted."""

from dataclasses import replace
from math import inf, nan, sqrt

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from scipy import stats

from esgrad import menu
from esgrad.laws.steps import predicted_steps
from esgrad.measurement import columns
from esgrad.report.tables import ladder
from esgrad.suite import records
from esgrad.suite.gathered import Suite

MAX_STEPS = 4000
PLANTED = {  # method: space, noise, shaping, N, steps to the target
    "backprop": ("logits", "", "", None, 40),
    "log_smoothed": ("logits", "", "", None, 60),
    "smoothed": ("logits", "", "", None, 90),
    "maxrl_class": ("logits", "independent", "maxrl", 30, 80),
    "maxrl": ("logits", "independent", "maxrl", 30, 120),
    "leave_one_out_class": ("logits", "independent", "leave_one_out", 30, 150),
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
        "relative": method.removesuffix("_gaussian") if method.endswith("_gaussian") else "",
        "control": "gaussian" if method.endswith("_gaussian") else "",
        "space": space,
        "noise": noise,
        "credit": ("class" if method.endswith("_class") else "noise") if noise else "",
        "shaping": shaping,
        "schedule": "fixed",
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
                key: rows.loc[rows["method"] == name, key].iloc[0] for key in columns.NOISE_SCALE_COLUMNS if key in rows
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
    scales = pd.DataFrame(measured, columns=list(columns.NOISE_SCALE_COLUMNS)).astype(columns.NOISE_SCALE_COLUMNS)
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


def with_copies(suite: Suite, of: str, **words: object) -> Suite:
    """The suite with the runs and the noise of a method a second time, under other words."""
    more = [
        frame[frame["method"] == of].assign(**{key: value for key, value in words.items() if key in frame})
        for frame in (suite.records, suite.noise_scale)
    ]
    both = [
        pd.concat([frame, copy]).astype(frame.dtypes.to_dict())
        for frame, copy in zip((suite.records, suite.noise_scale), more, strict=True)
    ]
    return replace(suite, records=both[0], noise_scale=both[1])


@pytest.mark.parametrize(
    "words",
    [
        {"experiment": "other", "relative_noise": 99.0, "method": "leave_one_out"},
        {"blackbox": "cross_entropy", "relative_noise": 99.0, "method": "leave_one_out"},
        {"schedule": "spread", "method": "leave_one_out_spread"},
    ],
)
def test_other_experiments_black_boxes_and_rules_for_t_are_no_rungs(frame: pd.DataFrame, words: dict) -> None:
    pd.testing.assert_frame_equal(ladder.table(with_copies(planted(), "leave_one_out", **words)), frame)


def test_a_rung_stands_on_the_one_at_its_own_t() -> None:
    """Leave-one-out at t = 4 is three times as slow as at t = 1; the lecture at t = 4 stands on that."""
    suite = with_copies(planted(), "lecture", noise_variance=4.0, relative_noise=23.0)
    suite = with_copies(suite, "leave_one_out", noise_variance=4.0, relative_noise=17.0)
    found = ladder.table(suite)
    lecture = found[(found["method"] == "lecture") & (found["target"] == "progress 0.90")].set_index("noise_variance")
    assert lecture.loc[1.0, "predicted"] == pytest.approx(12 / 6)
    assert lecture.loc[4.0, "predicted"] == pytest.approx(24 / 18)


STANDS_ON = {
    "backprop": "",
    "log_smoothed": "backprop",
    "smoothed": "log_smoothed",
    "maxrl_class": "log_smoothed",
    "maxrl": "maxrl_class",
    "leave_one_out_class": "smoothed",
    "leave_one_out": "leave_one_out_class",
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
    assert (own["stands_on"], rest["stands_on"]) == ("leave_one_out", "leave_one_out_class")
    assert own["ratio"] == pytest.approx(2, rel=1e-3)
    assert rest["ratio"] == pytest.approx(360 / 150, rel=1e-3)
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


def test_a_control_that_trains_otherwise_is_told(frame) -> None:
    assert row(frame, "maxrl_gaussian")["verdict"] == "alike"
    found = row(frame, "lecture_gaussian")
    assert found["verdict"] == "otherwise"
    assert found["ratio"] == pytest.approx(0.5, rel=1e-3)
    assert found["accuracy_difference"] == pytest.approx(-0.05)
    text = ladder.markdown(frame)
    assert "Controls, over their twins" in text
    assert "otherwise" in text


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
