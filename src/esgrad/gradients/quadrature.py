"""The exact probability that noisy logits name the target, and the exact gradient of its logarithm.

With q ~ N(0, σ²·I) on the logits l, target y, a_k = (l_y − l_k)/σ and u = q_y/σ integrated over:

    p            =  P(argmax(l + q) = y)  =  ∫ φ(u) Π_{k≠y} Φ(a_k + u) du  =  ∫ e^{g(u)} du / √(2π)
    g(u)         =  −u²/2 + Σ_{k≠y} log Φ(a_k + u)
    ∂log p/∂l_k  =  −(1/σ) E_w[λ(a_k + u)]   for k ≠ y,   w ∝ e^g,  λ = φ/Φ
    ∂log p/∂l_y  =  −Σ_{k≠y} ∂log p/∂l_k

The integrals are trapezoid sums, their node count fixed and their window each example's own, so an example's
result is the same, to the bit, whatever else is in the batch.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from esgrad.kernels.ordered_sum import ordered_sum

DEPTH = 16.0  # the window ends where the integrands have fallen to e^−16 = 1.1e-7 of their peaks
MODE_STEPS = 8
END_STEPS = 4
FARTHEST = 55.0  # in σ: a competitor farther behind has a gradient under e^(−55²/4), below the smallest float64
TAIL = -30.0  # left of it the asymptotic series takes over: erfc underflows at −37
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
BLOCK_NUMBERS = {"cpu": 1 << 16}  # at a time: what a core's cache holds
ON_A_CARD = 1 << 24  # for few launches, on any device but a CPU


def log_probability_and_gradient(logits: Tensor, targets: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
    """log p [...] and ∇log p [..., K] of the smoothed accuracy p, in float64, per example.

    logits [..., K]; targets [...], integers below K; sigma [...] or broadcastable to it, the standard deviation
    of the noise in units of the logits. The error is below 1e-6 of the example's largest component, also where
    p itself is too small for a float64 (tested for K to 10,000). A NaN stays in its example. Raises ValueError
    on shapes that do not fit, a target that is no class and a sigma that is not positive.
    """
    gaps, labels, scales = standardize(logits, targets, sigma)
    num_classes = logits.shape[-1]
    if num_classes == 1:  # nobody competes: p = 1, not 1 less the trapezoid's error
        return torch.zeros_like(targets, dtype=torch.float64), torch.zeros_like(logits, dtype=torch.float64)
    (window,) = in_blocks(find_window, 2, gaps)  # [2, E]
    log_probability, pull = in_blocks(_integrate, node_count(num_classes), gaps, window)  # [1, E], [K, E]
    gradient = (pull / scales).neg_().scatter_(0, labels, 0.0)
    gradient.scatter_(0, labels, -ordered_sum(gradient, 0))
    return log_probability.reshape(targets.shape), gradient.T.reshape(logits.shape)


def standardize(logits: Tensor, targets: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Gaps a [K, E] (the target's own: FARTHEST, it does not compete with itself), targets [1, E] and sigma [1, E].

    E examples stand in a row, float64. Raises ValueError as `log_probability_and_gradient`.
    """
    sigma = torch.as_tensor(sigma, dtype=torch.float64, device=logits.device)
    _check(logits, targets, sigma)
    values = logits.detach().to(torch.float64).reshape(-1, logits.shape[-1]).T  # [K, E]
    labels = targets.reshape(1, -1)
    scales = sigma.detach().expand(targets.shape).reshape(1, -1)
    gaps = ((values.gather(0, labels) - values) / scales).clamp(max=FARTHEST).contiguous()
    return gaps.scatter_(0, labels, FARTHEST), labels, scales


def _check(logits: Tensor, targets: Tensor, sigma: Tensor) -> None:
    if logits.ndim == 0 or logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"targets have shape {list(targets.shape)}, logits {list(logits.shape)}: "
            "expected one target for each row of logits, the logits' shape without its last dimension."
        )
    num_classes = logits.shape[-1]
    if ((targets < 0) | (targets >= num_classes)).any():
        raise ValueError(
            f"targets lie in {int(targets.min())}..{int(targets.max())}: "
            f"expected classes 0..{num_classes - 1}, as the logits have {num_classes} columns."
        )
    if not (sigma > 0).all():
        raise ValueError(f"sigma is {sigma.min().item()}: expected a positive standard deviation.")
    try:
        fits = torch.broadcast_shapes(sigma.shape, targets.shape) == targets.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"sigma has shape {list(sigma.shape)}: expected one that broadcasts to {list(targets.shape)}, "
            "the shape of the targets."
        )


def in_blocks(function: Callable[..., tuple[Tensor, ...]], points: int, *tensors: Tensor) -> list[Tensor]:
    """`function` of tensors [..., E], the first [K, E], about BLOCK_NUMBERS of [K, points, E] at a time."""
    most = BLOCK_NUMBERS.get(tensors[0].device.type, ON_A_CARD)
    examples = max(1, most // (points * tensors[0].shape[0]))
    blocks = zip(*(tensor.split(examples, dim=-1) for tensor in tensors), strict=True)
    parts = [function(*block) for block in blocks]
    return [torch.cat(part, dim=-1) for part in zip(*parts, strict=True)]


def node_count(num_classes: int) -> int:
    """Nodes of the trapezoid sums; with K an integrand narrows relative to its window as log K."""
    return 36 + 3 * num_classes.bit_length()


def _integrate(gaps: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """log p [1, E] and E_w[λ(a_k + u)] [K, E] for gaps a [K, E] and the ends of the window [2, E]."""
    log_probability, _, weights, mass, ratio = weigh(gaps, window)
    return log_probability, ordered_sum(ratio.mul_(weights), 1)[:, 0] / mass


def weigh(gaps: Tensor, window: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """log p [1, E], nodes u [n, E], their weights e^g [n, E], the sum of these [1, E] and λ(a_k + u) [K, n, E]."""
    low, high = find_window(gaps)[0] if window is None else window
    count = node_count(gaps.shape[0])
    step = (high - low) / (count - 1)
    nodes = low + step * torch.arange(count, dtype=gaps.dtype, device=gaps.device)[:, None]  # [n, E]
    log_cdf, ratio = log_cdf_and_ratio(gaps[:, None] + nodes)  # [K, n, E]
    exponent = ordered_sum(log_cdf, 0)[0] - 0.5 * nodes * nodes  # [n, E]
    peak = exponent.amax(0)
    weights = (exponent - peak).exp()
    mass = ordered_sum(weights, 0)  # [1, E]
    log_probability = (peak + (mass * step).log() - HALF_LOG_2PI).clamp(max=0.0)
    return log_probability, nodes, weights, mass, ratio


def find_window(gaps: Tensor) -> tuple[Tensor]:
    """Where the trapezoid sums for gaps a [K, E] begin and end, [2, E].

    Two integrands must fit: e^g, and e^h with h = g + log λ(a_min + u), the strongest competitor's share of the
    gradient, which peaks to the left of the first. The others' shares lie below e^h everywhere, hence the log K.
    As λ falls, e^g is as deep as e^h on the left and e^h as deep as e^g on the right: h sets the left end, g the
    right. Both exponents are concave, with curvature ≥ 2 and ≥ 1, and their slopes are convex (as λ is), so Newton's
    method climbs to a peak from the left without passing it, and comes in on an end from outside without passing
    it: too few steps leave the window too wide, never too narrow.
    """
    depth = DEPTH + math.log(gaps.shape[0])
    share, side = torch.tensor([[[1.0], [0.0]], [[-1.0], [1.0]]], dtype=gaps.dtype, device=gaps.device)  # rows h, g
    start = -0.5 * gaps.amin(0)  # the peak of h with no other competitor, so not right of the peak with them
    peaks = torch.stack([start, start.clamp(min=0.0)])  # [2, E]
    for _ in range(MODE_STEPS):
        _, slope, curvature = _exponent(gaps, peaks, share)
        peaks = peaks + slope / curvature
    value, slope, _ = _exponent(gaps, peaks, share)
    floor, least = value - depth, 1.0 + share
    # Each exponent lies under the parabola of its least curvature with this value and slope: start where that ends.
    ends = peaks + (slope + side * (slope * slope + 2 * least * depth).sqrt()) / least
    for _ in range(END_STEPS):
        value, slope, _ = _exponent(gaps, ends, share)
        ends = ends + (floor - value) / slope
    return (ends,)


def _exponent(gaps: Tensor, u: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, slope and curvature (−second derivative) at u [rows, E]: of g where share [rows, 1] is 0, else h."""
    x = gaps[:, None] + u  # [K, rows, E]
    log_cdf, ratio = log_cdf_and_ratio(x)
    bend = ratio * (x + ratio)
    x, most = x.amin(0), ratio.amax(0)
    value = ordered_sum(log_cdf, 0)[0] - 0.5 * u * u - share * (log_cdf.amin(0) + 0.5 * x * x)
    slope = ordered_sum(ratio, 0)[0] - u - share * (most + x)
    curvature = ordered_sum(bend, 0)[0] + 1.0 + share * (1.0 - bend.amax(0))
    return value, slope, curvature


def log_cdf_and_ratio(x: Tensor) -> tuple[Tensor, Tensor]:
    """log Φ(x) and λ(x) = φ(x)/Φ(x); several times as fast as `torch.special.log_ndtr`.

    Left of TAIL, Φ(x) = φ(x)/|x| · (1 − 1/x² + 3/x⁴ − 15/x⁶ + …) (Abramowitz & Stegun 26.2.12).
    """
    cdf = (x * -math.sqrt(0.5)).erfc_().mul_(0.5)
    ratio = (x * x).mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi)).div_(cdf)
    log_cdf = cdf.log_()
    tail = x < TAIL
    if tail.any():
        far = x[tail]
        y = 1.0 / (far * far)
        ratio[tail] = mills = -far / (1.0 - y * (1.0 - y * (3.0 - y * 15.0)))
        log_cdf[tail] = -0.5 * far * far - mills.log() - HALF_LOG_2PI
    return log_cdf, ratio
