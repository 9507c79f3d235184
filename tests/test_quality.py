"""Gradient quality at checkpoints: references, every cell measured and no other, and the law on the measurement."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from esgrad import menu
from esgrad.gradients.facts import Facts
from esgrad.measurement import checkpoints, quality
from esgrad.measurement.columns import QUALITY_COLUMNS
from esgrad.measurement.moments import moments, products, squared_mean
from esgrad.measurement.sampler import Sampler
from esgrad.suite import config

EXAMPLES, SIZE = 12, 4


def asked(noise: str, shapings: list[str], credit: str = "noise") -> dict:
    return {"noise": noise, "credit": credit, "shapings": shapings}


ESTIMATORS = [
    asked("independent", ["raw", "leave_one_out", "success", "maxrl"]),
    asked("mirrored", ["raw"]),
    asked("gumbel", ["raw", "maxrl"]),
]


@pytest.fixture(scope="module")
def made(digits):
    """A small network that is half-way at 70 %, with logits that no label uses."""
    job = config.backprop_job("digits", 12, 120, 0.01, hidden_size=8)
    return checkpoints.make(job, digits, 64)


def measure(made, **changes):
    words = {
        "estimators": ESTIMATORS,
        "num_samples": [4],
        "noise_variance": [1.0],
        "num_examples": EXAMPLES,
        "batch_size": [SIZE],
        "num_draws": 6,
    }
    return quality.measure(made, **(words | changes))


# The law


@pytest.mark.parametrize("stage", range(3))
@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_the_law_lies_on_the_measured_cosine_and_variance(made, stage, variance):
    """Within 5 standard errors at the logits (and 4 % of the cosine, whose law takes the noise as Gaussian); pushed,
    the cosine is good to 10 %, and so is the variance of mirrored noise, whose pairs are taken as alike across ∇p."""
    frame = measure(made[stage : stage + 1], num_samples=[16], noise_variance=[variance], num_draws=300)
    frame = frame[frame["probability"] > 0]
    for _, row in frame.iterrows():
        cell = f"{row['stage']}, {row['level']}, {row['noise']} × {row['shaping']}"
        slack = 0.04 if row["level"] == "example" else 0.1
        cosine = abs(row["cosine"] - row["predicted_cosine"])
        assert cosine < 5 * row["cosine_error"] + slack * row["cosine"], cell
        variance_ = abs(row["variance"] - row["predicted_variance"])
        slack = 0.1 if row["noise"] == "mirrored" and row["level"] == "batch" else 0.0
        assert variance_ < 5 * row["variance_error"] + slack * row["variance"], cell


@pytest.mark.parametrize("size", [1, 4])
def test_a_batch_in_which_nobody_hits_has_no_cosine_and_the_law_knows(made, size):
    """At the start, with N = 2 for 12 logits, most batches of 1 and half of those of 4 have no hit at all."""
    frame = measure(made[:1], num_samples=[2], batch_size=[size], num_draws=400)
    for _, row in frame[frame["level"] == "batch"].iterrows():
        slack = abs(row["cosine"] - row["predicted_cosine"])
        assert slack < 5 * row["cosine_error"] + 0.1 * row["cosine"], f"{row['noise']} × {row['shaping']}"


# References and cells


def test_every_supported_cell_is_measured_and_no_other(made):
    everything = [
        asked(noise, menu.names("shapings"), credit)
        for noise, credit in product(menu.names("noises"), menu.names("credits"))
    ]
    frame = measure(made[:1], estimators=everything, num_samples=[1, 2, 3], num_draws=3, num_examples=SIZE)
    got = set(zip(*(frame[word] for word in ("noise", "credit", "shaping", "num_samples")), strict=True))
    assert list(frame.columns) == QUALITY_COLUMNS
    wanted = set()
    facts = Facts.of(menu.load("blackboxes", "zero_one"))
    for *words, n in product(*map(menu.names, ("noises", "credits", "shapings")), [1, 2, 3]):
        drawn, credit, weights = (
            menu.load(f"{key}s", word) for key, word in zip(("noise", "credit", "shaping"), words, strict=True)
        )
        if not drawn.refuses(n, 12) and not weights.refuses(drawn, n) and not credit.refuses(drawn, facts):
            wanted.add((*words, n))
    assert got == wanted
    assert len(frame) == 2 * len(got), "a row each for example and batch"


@pytest.mark.parametrize("noise", menu.names("noises"))
def test_each_shaping_is_measured_against_the_arm_it_estimates(made, noise):
    """An estimate with a known mean shows a bias far below its own size, at the logits and pushed."""
    drawn, n = menu.load("noises", noise), 8
    shapings = [s for s in menu.names("shapings") if not menu.load("shapings", s).refuses(drawn, n)]
    frame = measure(made[1:2], estimators=[asked(noise, shapings)], num_samples=[n], num_draws=200)
    for _, row in frame.iterrows():
        promised = menu.load("shapings", row["shaping"]).expects(drawn, 0.3, n)
        assert row["reference"] == menu.name(promised[0] if promised else drawn.EXACT.p)
        assert 0.1 < row["cosine"] < 1, f"{noise} × {row['shaping']}"
        if promised:
            size = math.sqrt(row["variance"])  # of an estimate's noise; of 200 draws' mean it is a fourteenth
            assert row["relative_bias"] < 5 * size / math.sqrt(200), f"{noise} × {row['shaping']}, {row['level']}"


def test_where_no_law_is_known_nothing_is_predicted(made):
    frame = measure(made[:1], estimators=[asked("orthogonal", ["raw"])])
    assert frame[["predicted_cosine", "predicted_variance", "predicted_median_cosine"]].isna().all(axis=None)
    assert frame["variance"].notna().all()


def test_more_samples_point_more_the_right_way(made):
    frame = measure(made, num_samples=[2, 16, 128], num_draws=20)
    for _, rows in frame.groupby(["stage", "level", "noise", "credit", "shaping"]):
        for column in ("cosine", "predicted_cosine"):
            assert rows[column].is_monotonic_increasing


# The same, again


def test_measuring_twice_gives_the_same_numbers_and_draws_shared_noise(made):
    torch.manual_seed(1)
    first = measure(made)
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(first, measure(made))
    alone = measure(made[1:2], estimators=[asked("independent", ["maxrl"])])
    same = first[(first["shaping"] == "maxrl") & (first["stage"] == "half") & (first["noise"] == "independent")]
    same = same.reset_index(drop=True)
    pd.testing.assert_frame_equal(same, alone)


def test_how_many_draws_are_in_memory_at_a_time_does_not_matter(made, monkeypatch):
    whole = measure(made[:1])
    monkeypatch.setattr(quality, "KEEP", 2 * 4 * EXAMPLES * 12)
    pd.testing.assert_frame_equal(whole, measure(made[:1]))


# What a checkpoint is like


def test_the_noise_scale_of_the_data_is_that_of_the_pushed_gradients(made):
    """|mean|² and tr Var by U-statistics, from the gradients themselves."""
    exact = menu.load("exact", "backprop")
    gradients = exact.gradient(made[1].logits[None], made[1].targets[None], None)[0].double()
    each = made[1].push_each(gradients).double()
    mean, spread = quality.noise_scale(made[1], gradients)
    assert mean == pytest.approx(float(squared_mean(each[:, None])[0]), rel=1e-6)
    assert spread == pytest.approx(float(each.var(0).sum()), rel=1e-6)


def test_a_row_says_what_the_network_is_like(made):
    frame = measure(made)
    start, trained = (frame[frame["stage"] == stage].iloc[0] for stage in ("start", "trained"))
    assert start["probability"] == pytest.approx(1 / 12, abs=0.02)
    assert trained["probability"] > 0.5
    assert trained["accuracy"] == np.mean((made[2].logits.argmax(1) == made[2].targets).numpy()[:EXAMPLES])
    assert trained["spread"] == pytest.approx(made[2].few(EXAMPLES).spread)
    assert frame["data_noise_scale"].dropna().gt(0).all()


def test_a_batch_of_one_is_an_example_behind_the_chain_rule(made):
    """The relative moments of one example's own gradient, pushed; more of it than MOST_BATCHES is not looked at."""
    frame = measure(made[1:2], estimators=[asked("independent", ["raw"])], batch_size=[1], num_draws=40)
    found = frame[frame["level"] == "batch"].iloc[0]
    few, sampler = made[1].few(EXAMPLES), Sampler.of("independent", "noise", ["raw"])
    drawn = quality.estimates(few, sampler, 4, 1.0, 40)["raw"]
    t = torch.ones(1, dtype=torch.float64)
    exact = menu.load("exact", "smoothed").gradient(few.logits[None].double(), few.targets[None], t)[0]
    parts = [few.push(drawn[:, [i]], i) for i in range(quality.MOST_BATCHES)]
    expected = moments(products(torch.stack(parts, 1), few.push_each(exact[: quality.MOST_BATCHES])))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4), name
