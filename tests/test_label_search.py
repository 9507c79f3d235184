"""Label search is backprop with the price of looking every label up once."""

import numpy as np
import pandas as pd
import pytest

from esgrad.suite import label_search
from esgrad.suite.records import COLUMNS

K = 10


def test_asking_class_by_class_costs_what_the_formula_says() -> None:
    """By asking: every order of the classes is as good as another, and the last class need not be asked about."""
    for classes in (2, 3, 10, 100):
        asked = [min(label + 1, classes - 1) for label in range(classes)]
        assert label_search.queries_per_label([1] * classes) == pytest.approx(np.mean(asked))
        assert np.mean(asked) == pytest.approx((classes + 1) / 2 - 1 / classes)
    assert label_search.queries_per_label([1] * 1000) == pytest.approx(500.499)


def test_the_sum_of_two_digits_is_asked_for_in_the_order_of_its_pairs() -> None:
    """9 first, which ten pairs of a hundred have, then 8 or 10, and the last of 19 sums not at all."""
    pairs = sorted((sum(a + b == total for a in range(10) for b in range(10)) for total in range(19)), reverse=True)
    asked = [min(place, 18) * count for place, count in enumerate(pairs, 1)]
    chances = label_search.chances("digit_sum", "digit_strings-2", 10)
    assert sorted(chances, reverse=True) == pairs
    assert label_search.queries_per_label(chances) == pytest.approx(sum(asked) / 100) == pytest.approx(7.14)


@pytest.fixture
def trained() -> pd.DataFrame:
    """Backprop beside somebody who asks the box, on digits."""
    words = {"experiment": "headline", "dataset": "digits", "model": "mlp", "logit_dim": K, "batch_size": 32}
    rows = [
        words | {"method": method, "blackbox": box, "seed": seed, "step": step, "examples": 32 * step, "queries": asked}
        for method, box, asked in (("backprop", "cross_entropy", 1.0), ("lecture", "zero_one", 7.0))
        for seed in (0, 1)
        for step in (0, 10, 100)
    ]
    fill = {column: 10 for column, kind in COLUMNS.items() if kind == "int64" and column not in rows[0]}
    return pd.DataFrame(rows).assign(**fill).reindex(columns=list(COLUMNS)).astype(COLUMNS)


def test_it_has_backprop_s_rows_with_its_own_queries(trained: pd.DataFrame) -> None:
    found = label_search.runs(trained)
    backprop = trained[trained["method"] == "backprop"].reset_index(drop=True)
    own = ["method", "blackbox", "queries"]
    pd.testing.assert_frame_equal(found.drop(columns=own), backprop.drop(columns=own))
    assert set(found["method"]) == {"label_search"}
    assert set(found["blackbox"]) == {"zero_one"}
    price = label_search.queries_per_label([1] * K)
    # of the digits 1,079 are for training: after 100 steps of 32 each has been seen, and paid for once
    assert found["queries"].tolist() == pytest.approx([0, 320 * price, 1079 * price] * 2)


def test_all_training_digits_cost_5827_queries(trained: pd.DataFrame) -> None:
    assert label_search.runs(trained)["queries"].max() == pytest.approx(5827, abs=1)


def test_a_label_is_paid_for_once_on_every_data_set(trained: pd.DataFrame) -> None:
    """MNIST has 55,000 training images: after 100 steps of 32 none was seen twice."""
    found = label_search.runs(trained.assign(dataset=pd.array(["mnist"] * len(trained), dtype="string")))
    assert found["queries"].max() == pytest.approx(3200 * label_search.queries_per_label([1] * K))


def test_logits_that_no_label_uses_are_asked_about_too(trained: pd.DataFrame) -> None:
    wide = trained.assign(logit_dim=100).astype(trained.dtypes.to_dict())
    assert label_search.runs(wide)["queries"].max() == pytest.approx(1079 * (101 / 2 - 1 / 100))


def test_a_sum_is_found_and_then_trained_by_the_marginal_likelihood(trained: pd.DataFrame) -> None:
    names = trained["method"].map({"backprop": "marginal", "lecture": "lecture"})
    strings = {"dataset": "digit_strings-2", "blackbox": "digit_sum"}
    summed = trained.assign(method=names, **strings).astype(trained.dtypes.to_dict())
    found = label_search.runs(summed)
    assert set(found["blackbox"]) == {"digit_sum"}
    assert found["queries"].tolist() == pytest.approx([0, 320 * 7.14, 3200 * 7.14] * 2)


def test_an_experiment_in_which_nobody_asks_has_none(trained: pd.DataFrame) -> None:
    other = trained.assign(experiment=pd.array(["other"] * len(trained), dtype="string"))
    both = pd.concat([trained, other[other["method"] == "backprop"]])
    assert set(label_search.runs(both)["experiment"]) == {"headline"}


@pytest.mark.parametrize("box", ["digit_sum", "cross_entropy"])
def test_where_nobody_asks_about_one_class_there_is_none(box: str, trained: pd.DataFrame) -> None:
    """A sum of digits tells no digit for backprop, and a cross-entropy is no answer to a question about a class."""
    other = trained.assign(blackbox=trained["blackbox"].where(trained["method"] == "backprop", box).astype("string"))
    assert label_search.runs(other).empty


def test_without_backprop_there_is_none(trained: pd.DataFrame) -> None:
    assert label_search.runs(trained[trained["method"] != "backprop"]).empty
