"""Configurations: what is wrong is named, with what would do, before anything starts."""

import copy
import math
import re
import textwrap
from pathlib import Path

import pytest
import yaml

from esgrad.suite import config, config_docs, forecast
from esgrad.training.job import Job

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))


@pytest.fixture
def smoke():
    return yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_valid_and_named_as_its_file(path):
    read = config.read(path)
    assert read["name"] == ("default" if path.stem == "config" else path.stem)
    assert config.validated(read) == read, "defaults filled in twice differ"


def test_the_tutorial_s_configuration_is_valid_and_its_method_can_be_trained():
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    (own,) = re.findall(r"such as this `my.yaml`:\n\n((?:    .*\n)+)", tutorial)
    suite = config.validated(yaml.safe_load(textwrap.dedent(own)))
    for job in config.jobs(suite):
        assert all(reason is None for *_, reason in job.cells())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_no_two_jobs_share_a_path_and_a_job_survives_its_json(path):
    jobs = config.jobs(config.read(path))
    assert len({job.path for job in jobs}) == len(jobs)
    for job in jobs:
        assert Job.from_json(job.json()) == job


def edited(base, keys, value):
    changed = copy.deepcopy(base)
    *above, last = keys
    at = changed
    for key in above:
        at = at[key]
    at[last] = value
    return changed


HEADLINE = ("experiments", "headline")
WRONG = {
    "unknown key": (("num_sampels",), [3], "num_sampels"),
    "unknown key of an experiment": ((*HEADLINE, "num_sampels"), 3, "Did you mean 'num_samples'"),
    "unknown method": ((*HEADLINE, "methods"), ["lectrue"], "'lectrue'.*Did you mean 'lecture'"),
    "unknown data set": ((*HEADLINE, "dataset"), "digit", "'digit'.*Did you mean 'digits'"),
    "unknown model": ((*HEADLINE, "model"), "mpl", "'mpl'.*Did you mean 'mlp'"),
    "unknown black box": ((*HEADLINE, "blackbox"), "zero_on", "'zero_on'.*Did you mean 'zero_one'"),
    "unknown shaping": (("methods", "lecture", "shaping"), "row", "'row'.*Did you mean 'raw'"),
    "unknown noise": (("methods", "lecture", "noise"), "miror", "'miror'.*Known: "),
    "unknown space": (("methods", "lecture", "space"), "logit", "'logit'.*Did you mean 'logits'"),
    "unknown exact": (("methods", "backprop", "exact"), "backprob", "'backprob'.*Did you mean 'backprop'"),
    "unknown optimizer": (("methods", "lecture", "optimizer"), "adm", "'adm'.*Did you mean 'adam'"),
    "N = 0": ((*HEADLINE, "num_samples"), [0], "num_samples.*0"),
    "N = 2.5": ((*HEADLINE, "num_samples"), 2.5, "num_samples.*2.5"),
    "t = 0": ((*HEADLINE, "noise_variance"), 0, "noise_variance.*0"),
    "t < 0": (("methods", "lecture", "noise_variance"), -1, "noise_variance.*-1"),
    "t = NaN": ((*HEADLINE, "noise_variance"), math.nan, "noise_variance.*nan"),
    "t infinite": (("methods", "lecture", "noise_variance"), math.inf, "noise_variance.*inf"),
    "K below the classes": ((*HEADLINE, "logit_dim"), 3, "logit_dim: 3 .*10 classes"),
    "B above the images": ((*HEADLINE, "batch_size"), 5000, "batch_size: 5000 .*1079"),
    "no steps": ((*HEADLINE, "max_steps"), 0, "max_steps.*0"),
    "a whole number with a point": ((*HEADLINE, "max_steps"), 60.0, "max_steps: 60.0 is not of type 'integer'"),
    "K with a point": ((*HEADLINE, "logit_dim"), 10.0, "logit_dim: 10.0"),
    "a number that YAML reads as text": (("tuning", "learning_rates"), ["1e-3"], "reads 1e-3 as text.*1.0e-3"),
    "a rate that is NaN": (("tuning", "learning_rates"), [math.nan], "learning_rates.*nan"),
    "a rate twice": (("tuning", "learning_rates"), [0.1, 0.1], "learning_rates"),
    "a bound that is NaN": (("draws_per_cell",), math.nan, "draws_per_cell: nan"),
    "an infinite decay": (("methods", "lecture", "weight_decay"), math.inf, "weight_decay: inf"),
    "t = NaN of the quality": (("gradient_quality", "noise_variance"), math.nan, "noise_variance: nan"),
    "one logit": (("gradient_quality", "logit_dim"), 1, "logit_dim: 1"),
    "quality of another black box": (
        ("methods", "lecture", "blackbox"),
        "cross_entropy",
        "lecture is not for zero_one",
    ),
    "a reserved name": (("name",), "reference", "name.*reference"),
    "both exact and a space": (("methods", "backprop", "space"), "logits", "methods.backprop has both"),
    "both exact and a credit": (
        ("methods", "backprop", "credit"),
        "noise",
        "methods.backprop has both exact and credit",
    ),
    "unknown credit": (("methods", "lecture", "credit"), "nois", "'nois'.*Did you mean 'noise'"),
    "unknown relative": (
        ("methods", "lecture", "relative"),
        "maxr",
        "relative of methods.lecture.*Did you mean 'maxrl'",
    ),
    "neither shaping nor exact": (("methods", "lecture"), {"noise": "mirrored"}, "methods.lecture lacks shaping"),
    "quality of an exact method": (("gradient_quality", "methods"), ["backprop"], "backprop has no noise"),
}


@pytest.mark.parametrize(("keys", "value", "pattern"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_named_in_one_line(smoke, keys, value, pattern):
    with pytest.raises(ValueError, match=pattern) as caught:
        config.validated(edited(smoke, keys, value))
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(smoke):
    del smoke["experiments"]["headline"]["max_steps"]
    with pytest.raises(ValueError, match=r"experiments.headline: 'max_steps' is a required property"):
        config.validated(smoke)


@pytest.mark.parametrize("nothing", [None, [], "text", 3])
def test_what_is_no_configuration_at_all_is_refused(nothing):
    with pytest.raises(ValueError, match="configuration"):
        config.validated(nothing)


def test_malformed_yaml_is_refused_in_one_line(tmp_path):
    (tmp_path / "bad.yaml").write_text("methods: [1\n")
    with pytest.raises(ValueError, match=r"bad.yaml is not YAML") as caught:
        config.read(tmp_path / "bad.yaml")
    assert "\n" not in str(caught.value)


def test_a_method_is_the_lectures_unless_told_otherwise(smoke):
    smoke["methods"]["lecture"] = {"shaping": "raw"}
    made = {job.method: job for job in config.jobs(config.validated(smoke))}["lecture"]
    assert (made.space, made.noise, made.credit, made.shaping) == ("logits", "independent", "noise", "raw")
    assert (made.schedule, made.relative, made.control, made.exact) == ("fixed", None, None, None)


RULE = {"space": "logits", "noise": "independent", "shaping": "maxrl", "schedule": "spread"}
APART = {
    "another shaping": ({"shaping": "raw"}, "shaping is raw.*maxrl maxrl"),
    "another noise": ({"noise": "mirrored"}, "noise is mirrored"),
    "another space": ({"space": "batch"}, "space is batch"),
    "another optimizer": ({"optimizer": "sgd"}, "optimizer is sgd"),
    "another decay": ({"weight_decay": 0.5}, "weight_decay is 0.5"),
    "another black box": ({"blackbox": "digit_sum"}, "blackbox is digit_sum"),
}


@pytest.mark.parametrize(("changes", "pattern"), APART.values(), ids=APART)
def test_a_rule_that_is_not_its_relative_but_for_t_is_refused_in_one_line(smoke, changes, pattern):
    smoke["methods"]["wide"] = RULE | {"relative": "maxrl"} | changes
    with pytest.raises(ValueError, match=f"methods.wide is maxrl but for its .*{pattern}") as caught:
        config.validated(smoke)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{}, {"noise_variance": [0.1, 10]}], ids=str)
def test_a_rule_with_a_relative_or_without_one_is_accepted_whatever_its_name(smoke, changes):
    """What t's variance is relative to is the rule's; a control of a rule has the rule's method as its relative."""
    smoke["methods"] |= {"maxrl_spread": RULE | changes | {"relative": "maxrl"}}
    smoke["methods"]["planted"] = RULE | changes | {"control": "gaussian", "relative": "maxrl_spread"}
    smoke["methods"]["nobody"] = RULE | {"shaping": "raw"}
    made = config.validated(smoke)["methods"]
    assert made["maxrl_spread"]["schedule"] == "spread"
    assert "relative" not in made["nobody"]


def reasons(base, **experiment):
    changed = edited(base, ("experiments",), {"one": base["experiments"]["headline"] | experiment})
    return {(job.method, n): reason for job in config.jobs(config.validated(changed)) for n, _, reason in job.cells()}


def test_cells_that_estimate_nothing_are_skipped_with_a_reason(smoke):
    found = reasons(smoke, num_samples=[1, 3, 4, 2**32 + 2])
    assert "numbers for 2^32 samples" in found["maxrl", 2**32 + 2]
    assert "identically 0" in found["maxrl", 1]
    assert "odd" in found["openai_es", 3]
    assert found["maxrl", 3] is found["openai_es", 4] is found["lecture", 1] is found["backprop", None] is None


def test_success_shapings_refuse_fitness_that_can_be_negative(smoke):
    smoke["methods"]["success"] = smoke["methods"]["maxrl"] | {"shaping": "success"}
    smoke["experiments"]["headline"]["methods"] += ["success"]
    found = reasons(smoke, blackbox="cross_entropy", num_samples=4)
    assert "negative" in found["maxrl", 4]
    assert "negative" in found["success", 4]
    assert found["lecture", 4] is None
    assert "exact gradient of zero_one" in found["log_smoothed", None]


def test_the_sum_of_digits_has_no_exact_gradient_and_needs_strings(smoke):
    found = reasons(smoke, blackbox="digit_sum", dataset="digit_strings-2", num_samples=4)
    assert "exact gradient of cross_entropy" in found["backprop", None]
    assert found["maxrl", 4] is None
    assert "digit_strings" in reasons(smoke, blackbox="digit_sum", num_samples=4)["maxrl", 4]


def test_each_digit_of_a_sum_is_read_from_as_many_logits_as_there_are_digits(smoke):
    strings = {"blackbox": "digit_sum", "dataset": "digit_strings-2", "methods": ["lecture"]}
    assert reasons(smoke, **strings, logit_dim=10)["lecture", 10] is None
    with pytest.raises(ValueError, match=r"logit_dim: 20 does not fit the 10 classes .*K = 10 exactly"):
        reasons(smoke, **strings, logit_dim=20)
    assert reasons(smoke, methods=["lecture"], logit_dim=20)["lecture", 10] is None, "elsewhere, unused logits may be"


def test_what_uses_no_variance_is_one_cell_of_an_experiment_over_t(smoke):
    over = smoke["experiments"]["headline"] | {"noise_variance": [0.1, 1, 10], "num_samples": 4}
    jobs = config.jobs(config.validated(edited(smoke, ("experiments",), {"one": over})))
    found = {job.method: [(n, t) for n, t, _ in job.cells()] for job in jobs}
    assert found["backprop"] == [(None, None)]
    assert found["log_smoothed"] == [(None, 0.1), (None, 1.0), (None, 10.0)]
    assert found["lecture"] == [(4, 0.1), (4, 1.0), (4, 10.0)]


def test_cells_over_the_bound_of_draws_are_skipped(smoke):
    smoke["draws_per_cell"] = 2 * 60 * 32 * 10 * 10  # seeds × steps × B × K × N
    found = reasons(smoke, num_samples=[10, 11], methods=["lecture"])
    assert found["lecture", 10] is None
    assert "draws_per_cell" in found["lecture", 11]


def test_the_documentation_of_the_keys_is_made_from_the_schema():
    assert (ROOT / "config" / "README.md").read_text() == config_docs.markdown(), "run `make config-docs`"


def test_every_key_of_the_schema_is_described():
    assert "|  |" not in "".join(line[:40] for line in config_docs.markdown().splitlines() if "`" in line)


def test_the_forecast_counts_what_is_there(smoke):
    said = forecast.summary(config.validated(smoke))
    jobs = config.jobs(config.validated(smoke))
    cells = [cell for job in jobs for cell in job.cells()]
    assert f"{sum(reason is None for *_, reason in cells)} cells" in said
    assert f"Skipped cells: {sum(reason is not None for *_, reason in cells)}" in said
    assert "maxrl is identically 0" in said
