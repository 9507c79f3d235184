"""How near ES gradients come to the exact ones they estimate, beside what the law predicts: cosine, bias, variance.

At networks on their way through a training by backprop; per example at the logits, per mini-batch at the parameters.
data_noise_scale = tr Var/|mean|² is empty where the unbiased estimate of |mean|² is not above 0: the mean gradient is
too small to be seen in the examples' spread, and the noise scale larger than about their number.
"""

import pandas as pd

from esgrad.measurement.columns import QUALITY_COLUMNS
from esgrad.suite.gathered import Suite

_KEY = [
    *("dataset", "model", "step", "level", "batch_size", "space", "noise", "credit", "shaping"),
    *("logit_dim", "num_samples", "noise_variance", "reference"),
]


def table(suite: Suite) -> pd.DataFrame:
    """One row for each checkpoint, level, estimator, logit_dim, num_samples and noise_variance."""
    return suite.gradient_quality.sort_values(_KEY, ignore_index=True)[QUALITY_COLUMNS]
