"""How well the estimates of this suite's N point at a network's start, by the laws, and the N that would do better.

Each row is a noise × credit × shaping, black box, K and N that was trained with noise at the logits and a fitness of
classes alone: the expected cosine to the exact gradient of one example at equal logits (as `esgrad.plan` has it), and N
for mean cosines of 0.5 and 0.9, empty where no N does. Where a black box judges several readings together, it is the
mean over all strings of classes; two digits whose sum is 9 have an exact gradient of 0 there, and their cosine counts
as 0. Where most estimates are zero and few are good, the mean alone says little, so `num_samples_half_rms` is N for a
cosine whose root mean square is 0.5. Nothing is fitted; combinations without a law are left out. `esgrad plan` answers
other problems.
"""

import pandas as pd

from esgrad import menu
from esgrad.planning.box import Box
from esgrad.planning.prospect import with_laws
from esgrad.suite.gathered import Suite
from esgrad.tasks.data import describe

_ESTIMATOR = ["space", "noise", "credit", "shaping", "blackbox", "readings", "logit_dim"]
_COLUMNS = [*_ESTIMATOR, "num_samples", "cosine", "num_samples_half", "num_samples_nine_tenths", "num_samples_half_rms"]
_HALF = "num_samples_half"
_COSINES = {_HALF: 0.5, "num_samples_nine_tenths": 0.9}


def table(suite: Suite) -> pd.DataFrame:
    """One row for each estimator, logit_dim and num_samples."""
    rows = []
    for key, part in _of_classes(suite.records).groupby(_ESTIMATOR):
        words = dict(zip(_ESTIMATOR, key, strict=True))
        box = Box.of(words["blackbox"], int(words["readings"]), int(words["logit_dim"]))
        prospect = next((known for known in with_laws(box) if known.words.items() <= words.items()), None)
        if prospect is None:
            continue
        level = prospect.level_place(1.0)  # at equal logits no cosine depends on t
        needed = {name: prospect.num_samples(level, cosine) for name, cosine in _COSINES.items()}
        needed |= {f"{_HALF}_rms": prospect.num_samples(level, _COSINES[_HALF], of_mean=False)}
        for count in sorted(map(int, part["num_samples"].dropna().unique())):
            if prospect.refuses(count) is None:
                rows.append(words | {"num_samples": count, "cosine": prospect.cosine(level, count)} | needed)
    return pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys([*_COSINES, f"{_HALF}_rms"], "Int64"))


def _of_classes(records: pd.DataFrame) -> pd.DataFrame:
    """The records of noise at the logits and black boxes that see classes alone, with how many readings those judge."""
    trained = records[records["space"] == "logits"]
    tasks = []
    for word, dataset in trained[["blackbox", "dataset"]].drop_duplicates().itertuples(index=False):
        blackbox = menu.load("blackboxes", word)
        if blackbox.SEES_CLASSES:
            tasks.append((word, dataset, blackbox.readings(describe(dataset)["num_classes"])[0]))
    return trained.merge(pd.DataFrame(tasks, columns=["blackbox", "dataset", "readings"]))
