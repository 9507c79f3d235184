"""The columns of what is measured at networks without training by the estimators; light, as suites name them."""

QUALITY_COLUMNS = [
    *("dataset", "model", "stage", "step", "level", "batch_size"),
    *("logit_dim", "num_samples", "noise_variance", "space", "noise", "credit", "shaping", "reference"),
    *("cosine", "median_cosine", "relative_bias", "variance"),
    *("predicted_cosine", "predicted_median_cosine", "predicted_variance"),
    *("probability", "accuracy", "spread", "data_noise_scale"),
    *("num_draws", "num_examples"),
    *("cosine_error", "median_cosine_error", "relative_bias_error", "variance_error"),
]
"""One row an estimator at a checkpoint, `stage` and `step` of a backprop training (`measurement.checkpoints`). `level`
"example": the estimates at the logits of each of the examples (`batch_size` 1); "batch": pushed on to the parameters,
on mini-batches.

`cosine`: mean over examples (batches) and draws of the cosine to the reference (0 for an estimate that is 0);
`median_cosine`: of each one's mean over the draws, the median, as a trained network's examples differ by orders of
magnitude. `relative_bias` and `variance`: of the examples' gradients together, so that an example counts by the size of
its gradient: root of Σ|E g − c·reference|², and Σ tr Var g, over Σ|c·reference|², with c the factor `expects` names
(where it promises nothing: 1, on ∇p). A bias is negative where the U-statistic is: no bias seen. `..._error`: standard
errors by the jackknife over the draws. `predicted_...`: what the law says of it; NaN where no law is known.

`probability` p and `accuracy`: means over the examples; `spread`: standard deviation of an example's logits that a
label uses (root mean square over examples); `data_noise_scale`: B_data = tr Var/|mean|² of the reference's gradient
from one example to another (arXiv 1812.06162), over more examples; NaN where they are too few to see a mean
(`esgrad.report.tables.gradient_quality`)."""

SAMPLES_COLUMNS = [
    *("kind", "dataset", "model", "stage", "level", "logit_dim", "batch_size", "noise_variance", "space", "noise"),
    *("credit", "shaping", "example", "probability", "num_draws", "num_samples", "cosine", "low", "high", "predicted"),
]
"""What `esgrad.measurement.samples_needed` measures; its docstring explains a row."""

NOISE_SCALE_COLUMNS = {
    "experiment": "string",
    "dataset": "string",
    "model": "string",
    "blackbox": "string",
    "method": "string",
    "logit_dim": "int64",
    "batch_size": "int64",
    "num_samples": "Int64",
    "noise_variance": "float64",
    "step": "int64",
    "relative_noise": "float64",
    "error": "float64",
    "num_draws": "int64",
}
"""One row a cell and checkpoint, `step` of a backprop training. `relative_noise`: tr Var g/|E g|² of the method's
gradient on a mini-batch, B_noise/B (arXiv 1812.06162); `error`: its standard error; NaN where no mean is seen."""
