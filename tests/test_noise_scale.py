"""The noise of a gradient is measured as it is, at networks of backprop's, and what cannot be measured is refused."""

from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest
import torch

from esgrad.measurement import noise_scale
from esgrad.suite import config, records, worker
from esgrad.suite.gathered import FIRST_TUNING_SEED
from tests import running


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

    assert (job([0.1, 0.2]).learning_rates, job([0.1, 0.2]).num_tuning_seeds) == ((0.1, 0.2), 8)
    alone = replace(job(0.1), num_seeds=1)
    assert alone.tuning_seeds == []
    cell = worker.train_cell(alone, digits, None, [None], "cpu", lambda steps: None)
    assert cell.tuning == []
    assert {row["learning_rate"] for row in cell.records} == {0.1}
    assert records.frame(alone, cell.tuning).empty
