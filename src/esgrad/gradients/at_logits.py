"""The public functions: the gradient at anybody's logits, by evolution strategies and exactly."""

from math import isfinite
from numbers import Integral, Real

import torch
from torch import Tensor

from esgrad.gradients import precision, quadrature
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key, too_many
from esgrad.kernels.streams import Role
from esgrad.tasks.blackboxes import zero_one

FARTHEST = 1e12  # in σ; the quadrature squares such distances and still has digits left


def es_gradient(
    logits: Tensor,
    targets: Tensor,
    *,
    num_samples: int,
    noise_variance: float,
    seed: int,
    step: int,
    offset: int = 0,
    noise: str = "independent",
    credit: str = "noise",
    shaping: str = "raw",
) -> Tensor:
    """Estimate, per example, how to change the logits so that argmax(logits + q) hits the target more often.

    The default is the lecture's estimate, g = 1/(tN) Σ f_n q_n with f_n = isequal(argmax(logits + q_n), y) and
    q_n ~ N(0, t·I), unbiased for the gradient of P(f = 1) (CMPUT 328, "Evolution Strategies for Approximating
    Gradients"). `shaping="maxrl"` estimates (1 − (1−p)^(N−1)) times the gradient of log P (arXiv 2602.02710).
    `credit="class"` credits a sample with the mean of its noise given the class it led to: the same gradient on
    average, with fewer samples (with Gumbel noise REINFORCE, Williams 1992).

    Args:
        logits: [B, K], float; not differentiated through.
        targets: [B], integers from 0 to K − 1.
        num_samples: N ≥ 1, samples an example.
        noise_variance: t > 0, in units of the logits squared.
        seed, step: the noise is a function of both and of an example's place in the batch, nothing else;
            count `step` up while training, or every step sees the same noise.
        offset: the place of the first example in the global batch. Micro-batches and ranks that share a step hand over
            theirs, or all see the same noise; the gradients are then those of one large batch, to the bit.
        noise, credit, shaping: names on those menus (`esgrad list`).

    Returns:
        [B, K], to be *ascended*; push it on with `logits.backward(-gradient / len(logits))`.

    Raises:
        ValueError: for NaN or infinite logits, targets out of range, t ≤ 0 or lost beside the logits, N < 1, shapes
            that do not fit, an unknown word (the nearest known one is named), a combination that estimates nothing, or
            a gradient that half precision cannot hold.

    Example:
        >>> import torch, esgrad
        >>> logits, targets = torch.zeros(1, 10), torch.tensor([3])
        >>> gradient = esgrad.es_gradient(logits, targets, num_samples=1000, noise_variance=1.0, seed=0, step=0)
        >>> gradient.shape, int(gradient.argmax())
        (torch.Size([1, 10]), 3)
    """
    _check(logits, targets, noise_variance)
    if isinstance(num_samples, bool) or not isinstance(num_samples, Integral) or num_samples < 1:
        raise ValueError(f"num_samples is a whole number from 1, not {num_samples!r}")
    estimator = Estimator.of(noise, credit, shaping, int(num_samples))
    fitness = PerExample(zero_one, targets.long()[None])  # one type: each other would be compiled for
    if reason := too_many(estimator.num_samples) or estimator.refuses(fitness.facts, logits.shape[1]):
        raise ValueError(reason)
    point = logits.detach()[None]  # [1, B, K]: a stack of one run
    point = point.to(torch.promote_types(point.dtype, torch.float32))  # half precision has no room for the noise
    precision.check("logits", point[0], noise_variance, point.dtype)
    key = Key([seed], Role.NOISE, step, offset)
    gradient = estimator.gradient(fitness, point, point.new_tensor([noise_variance]), key).gradient[0]
    return precision.narrowed("the gradient", gradient, logits.dtype)


def exact_gradient(
    logits: Tensor, targets: Tensor, noise_variance: float, *, log: bool = False
) -> tuple[Tensor, Tensor]:
    """The limit N → ∞: p = P(argmax(logits + q) = y) and its gradient at the logits (`esgrad.gradients.quadrature`).

    Args:
        logits: [B, K], float.
        targets: [B], integers from 0 to K − 1.
        noise_variance: t > 0.
        log: log p and ∇log p instead of p and ∇p; log p stays finite where p underflows.

    Returns:
        (probability or log probability [B], gradient [B, K]), in the logits' type.

    Raises:
        ValueError: as `es_gradient`.

    Example:
        >>> import torch, esgrad
        >>> probability, gradient = esgrad.exact_gradient(torch.zeros(1, 10), torch.tensor([3]), 1.0)
        >>> round(float(probability), 3), int(gradient.argmax())
        (0.1, 3)
    """
    _check(logits, targets, noise_variance)
    sigma = torch.full_like(targets, noise_variance, dtype=torch.float64).sqrt()
    spread = float((logits.detach().max() - logits.detach().min()).double() / sigma[0])
    if spread > FARTHEST:
        raise ValueError(
            f"noise_variance t = {noise_variance!r} is too small beside these logits, which lie {spread:.1g} σ apart: "
            f"scale the logits, or t, so that they lie within {FARTHEST:.0e}"
        )
    log_probability, gradient = quadrature.log_probability_and_gradient(logits.detach(), targets.long(), sigma)
    if not log:
        probability = log_probability.exp()
        log_probability, gradient = probability, probability[:, None] * gradient
    value = precision.narrowed("the probability" if not log else "log p", log_probability, logits.dtype)
    return value, precision.narrowed("the gradient", gradient, logits.dtype)


def _check(logits: Tensor, targets: Tensor, noise_variance: float) -> None:
    for name, value in [("logits", logits), ("targets", targets)]:
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} are a torch tensor, not {type(value).__name__}: torch.as_tensor({name}) would do")
    for name, value in [("logits", logits), ("targets", targets)]:
        if value.layout != torch.strided or value.device.type == "meta":
            raise ValueError(f"{name} hold numbers, but theirs are {value.layout} on the device {value.device}")
    if targets.device != logits.device:
        raise ValueError(f"targets lie on {targets.device}, logits on {logits.device}: one device would do")
    if logits.dim() != 2 or 0 in logits.shape:
        raise ValueError(f"logits have shape [B, K], not {list(logits.shape)}")
    if not logits.is_floating_point():
        raise ValueError(f"logits are floating-point numbers, not {logits.dtype}")
    if targets.shape != logits.shape[:1]:
        raise ValueError(f"targets have shape [B] = {[len(logits)]}, one label an example, not {list(targets.shape)}")
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(f"targets are whole numbers (class indices), not {targets.dtype}")
    if not torch.isfinite(logits).all():
        example = int((~torch.isfinite(logits)).any(1).nonzero()[0])
        raise ValueError(f"logits are finite, but those of example {example} are {logits[example].tolist()[:10]}")
    if ((targets < 0) | (targets >= logits.shape[1])).any():
        wrong = int(targets[(targets < 0) | (targets >= logits.shape[1])][0])
        raise ValueError(f"targets lie from 0 to K − 1 = {logits.shape[1] - 1}, but one is {wrong}")
    if isinstance(noise_variance, bool) or not isinstance(noise_variance, Real):
        raise ValueError(f"noise_variance t is a number, not {noise_variance!r}")
    if not (isfinite(noise_variance) and noise_variance > 0):
        raise ValueError(f"noise_variance t is a finite number above 0, not {noise_variance!r}")
