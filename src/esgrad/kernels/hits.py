"""Sums of Gaussian noise over the samples that hit, without the noise ever being whole in memory.

    f_n = isequal(argmax(l + σ q_n), y)      S = Σ_n f_n q_n      H = Σ_n f_n      Q = Σ_n q_n

All that weights of 0/1 fitness with a law of counts ask for. Lanes are those of `esgrad.kernels.weighted_sum`, so that
samples can be added in parts. The oracle is plain torch; the compiled twin gives the same bits.
"""

from collections.abc import Callable, Sequence
from math import isfinite

import torch
from torch import Tensor, float32

from esgrad.kernels import compiled, streams, weighted_sum
from esgrad.kernels.compiled import gpu

WAYS = ("auto", "dense", "early", "torch")
CHUNK = 2**20  # numbers of noise that the oracle holds at a time


def add(
    sums: Tensor,
    counts: Tensor,
    totals: Tensor | None,
    logits: Tensor,
    targets: Tensor,
    sigma: Tensor,
    seeds: Sequence[int],
    role: int,
    step: int,
    start: int,
    stop: int,
    *,
    offset: int = 0,
    pairs: bool = False,
    active: Tensor | None = None,
    way: str = "auto",
) -> int:
    """Add what the samples start, …, stop − 1 give; returns the random numbers drawn for that.

    Args:
        sums: [S, G, M, LANES, K] += Σ f q, for S seeds, the G runs of a seed that share its noise, and M positions.
            With one lane, [S, G, M, 1, K], it becomes the fold of the lanes of these samples alone.
        counts: float64 [S, G, M] += Σ f.
        totals: [S, 1, M, LANES, K] += Σ q, or with one lane as above; None where nobody asks for it.
        logits: [S, G, M, K]; the compiled ways are for finite ones.
        targets: int64 [S, G, M].
        sigma: [S, G, M].
        seeds, role, step, offset: the stream (`streams.normals`).
        pairs: whether samples 2i and 2i + 1 are a normal and its mirror image; start and stop are then even.
        active: bool [M]; the others are left alone. Without it all are.
        way: "dense" or "early" (`esgrad.kernels.compiled.hits`), "torch", or the best there is: the same bits.

    Raises:
        ValueError: for an unknown way, for a compiled one where there is none, and for totals seen early.
    """
    streams.check_stream(seeds, step, offset, logits.shape[2])
    if way not in WAYS:
        raise ValueError(f"unknown way '{way}'. Known: {', '.join(WAYS)}.")
    single = logits.dtype == sums.dtype == sigma.dtype == float32
    compilable = compiled.AVAILABLE and logits.device.type == "cpu" and single and _finite(logits)
    if way in ("dense", "early") and not compilable:
        raise ValueError(f"way '{way}' takes numba and finite float32 on a cpu: 'auto' or 'torch' would do.")
    if way == "early" and totals is not None:
        raise ValueError("way 'early' does not see all of the noise that totals ask for: 'dense' or 'auto' would do.")
    active = torch.ones(logits.shape[2], dtype=torch.bool, device=logits.device) if active is None else active
    place = seeds, role, step, start, stop
    if compilable and way != "torch":
        from esgrad.kernels.compiled import hits as body

        logits, targets, sigma, active = (each.contiguous() for each in (logits, targets, sigma, active))
        return body.add(sums, counts, totals, logits, targets, sigma, active, *place, offset, pairs, way)
    rest = logits, targets, sigma, active, *place, offset, pairs
    plain: Callable[..., int] = add_torch
    if way == "auto" and single and logits.device.type == "cuda" and gpu.AVAILABLE:
        from esgrad.kernels.compiled.gpu import hits as on_gpu

        if logits.shape[-1] <= on_gpu.MOST and _finite(logits):
            plain = on_gpu.add
    if sums.shape[3] > 1:
        return plain(sums, counts, totals, *rest)
    laned, of_all = _laned(sums), None if totals is None else _laned(totals)
    drawn = plain(laned, counts, of_all, *rest)
    sums[...] = weighted_sum.fold(laned)[..., None, :]
    if totals is not None and of_all is not None:
        totals[...] = weighted_sum.fold(of_all)[..., None, :]
    return drawn


def add_torch(
    sums: Tensor,
    counts: Tensor,
    totals: Tensor | None,
    logits: Tensor,
    targets: Tensor,
    sigma: Tensor,
    active: Tensor,
    seeds: Sequence[int],
    role: int,
    step: int,
    start: int,
    stop: int,
    offset: int,
    pairs: bool,
) -> int:
    """The same in plain torch, for lanes, on any device: the oracle."""
    seeded, group, positions, dimension = logits.shape
    lanes, size = weighted_sum.LANES, len(seeds) * group * positions * dimension
    chunk, drawn = max(1, CHUNK // (lanes * size)) * lanes, 0
    for first in range(start - start % lanes, stop, chunk):
        last = min(first + chunk, stop)
        scale, halves = (2, torch.tensor([1.0, -1.0], device=logits.device)) if pairs else (1, None)
        q = streams.normals(
            seeds, role, step, first // scale, last // scale, positions, dimension, logits.device, offset=offset
        )
        drawn += q.numel()
        if halves is not None:
            q = (q[:, :, None] * halves[:, None, None]).flatten(1, 2)
        points = sigma[:, :, None, :, None] * q[:, None] + logits[:, :, None]  # [S, G, n, M, K], each rounded
        inside = (torch.arange(first, last, device=logits.device) >= start)[:, None] & active
        f = (points.argmax(-1) == targets[:, :, None]) & inside
        counts += f.sum(2)
        weighted_sum.add(sums, f.to(sums.dtype), q)
        if totals is not None:
            weighted_sum.add(totals, inside.to(sums.dtype).expand(seeded, 1, -1, -1), q)
    return drawn


def _finite(logits: Tensor) -> bool:
    """Whether all are; finite numbers whose sum overflows take a second look."""
    return isfinite(float(logits.sum())) or bool(torch.isfinite(logits).all())


def _laned(sums: Tensor) -> Tensor:
    """Empty lanes [..., LANES, K] for sums [..., 1, K]."""
    return sums.new_zeros(*sums.shape[:3], weighted_sum.LANES, sums.shape[-1])
