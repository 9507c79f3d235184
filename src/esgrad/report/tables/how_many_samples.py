"""How well the estimates of this suite's N point at a network's start, by the laws, and the N that would do better.

Each row is a noise × shaping, K and N that was trained with noise at the logits and 0/1 fitness: the expected cosine to
the exact gradient of one example at equal logits (`esgrad.plan`), and N for mean cosines of 0.5 and 0.9. Where most
estimates are zero and few are good, the mean alone says little, so `num_samples_half_rms` is N for a cosine whose root
mean square is 0.5. Nothing is fitted; combinations without a law are left out. `esgrad plan` answers other problems.
"""

import math
from typing import Any

import pandas as pd

from esgrad import laws
from esgrad.planning.plan import plan
from esgrad.planning.prospect import with_laws
from esgrad.suite.gathered import Suite

_ESTIMATOR = ["space", "noise", "credit", "shaping", "logit_dim"]
_COLUMNS = [*_ESTIMATOR, "num_samples", "cosine", "num_samples_half", "num_samples_nine_tenths", "num_samples_half_rms"]
_COSINES = {"num_samples_half": 0.5, "num_samples_nine_tenths": 0.9}


def table(suite: Suite) -> pd.DataFrame:
    """One row for each estimator, logit_dim and num_samples."""
    trained = suite.records[(suite.records["space"] == "logits") & (suite.records["blackbox"] == "zero_one")]
    rows = []
    for key, part in trained.groupby(_ESTIMATOR):
        words = dict(zip(_ESTIMATOR, key, strict=True))
        logit_dim = int(words["logit_dim"])
        asked: dict[str, Any] = {key: words[key] for key in ("noise", "credit", "shaping")}
        prospect = next((known for known in with_laws() if known.words == asked), None)
        if prospect is None:
            continue
        asked["logit_dim"] = logit_dim
        needed = {name: plan(**asked, cosine=cosine)["num_samples"] for name, cosine in _COSINES.items()}
        level = prospect.level_place(logit_dim, 1.0)
        needed["num_samples_half_rms"] = math.ceil(float(laws.samples_needed(prospect.shaping, level, 0.5)))
        for count in sorted(map(int, part["num_samples"].dropna().unique())):
            if prospect.refuses(count, logit_dim) is None:
                cosine = plan(**asked, num_samples=count)["cosine"]
                rows.append(words | {"num_samples": count, "cosine": cosine} | needed)
    return pd.DataFrame(rows, columns=_COLUMNS)
