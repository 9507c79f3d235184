"""What does a gradient cost when you cannot backpropagate?

    gradient = (1/σ) Σ_n w_n(f) · s_n        f_n = fitness(x + q_n),   q_n of mean 0 and variance t = σ²

The weights w are what a shaping makes of the fitness. The score s is what a sample is credited with: its noise,
q_n/σ where the noise is Gaussian, or the mean of that score given the class that the noise led to.

Letters, used on axes, in docstrings and behind tensors:

    B  examples in a batch            K  logits (logit_dim)        N  samples (num_samples)
    t  variance of the noise          σ  √t                        d  parameters of a network
    R  runs trained as one stack      S  distinct seeds in it      M  positions the noise is drawn at
    D  dimension of the noise at a position (M, D = B, K at the logits;  1, d at the parameters)

A *query* is one example judged once by the black box. One forward pass serves N queries when the noise enters
at the logits; noise at the parameters pays one forward pass for each query.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
_PUBLIC = {
    "blackbox": "esgrad.differentiable.module",
    "check": "esgrad.conformance.check",
    "es_gradient": "esgrad.gradients.at_logits",
    "exact_gradient": "esgrad.gradients.at_logits",
    "plan": "esgrad.planning.plan",
}
__all__ = ["__version__", "blackbox", "check", "es_gradient", "exact_gradient", "plan"]


def __getattr__(name: str) -> Any:
    """The public functions, imported on first use: `import esgrad` alone costs no torch."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'esgrad' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)
