"""How near ES gradients come to the exact ones they estimate: cosine, relative bias and variance."""

import pandas as pd

from esgrad.suite import Suite

_COLUMNS = [
    *("logit_dim", "num_samples", "noise_variance", "space", "noise", "shaping", "reference"),
    *("cosine", "relative_bias", "variance", "num_draws", "num_examples"),
]
_KEY = ["space", "noise", "shaping", "logit_dim", "num_samples", "noise_variance", "reference"]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each estimator, logit_dim, num_samples and noise_variance."""
    return suite.gradient_quality.sort_values(_KEY, ignore_index=True)[_COLUMNS]
