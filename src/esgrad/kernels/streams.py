"""Random numbers that depend on their place alone: seed, role, step, sample, position, coordinate.

    key = (seed, role),   counter = (step, position, sample, block of 4 coordinates)        Philox4x32-10

There is no state. Chunks, stacks, resumed runs and other devices get the same bits, and methods with the same seed
share splits, initialisations, batches and noise. Neither t nor R nor the learning rate enters a key.
"""

from collections.abc import Sequence
from enum import IntEnum
from numbers import Integral

import torch
from torch import Tensor

from esgrad.kernels import compiled
from esgrad.kernels.compiled import gpu
from esgrad.kernels.philox import philox, standard_normal

WORD = 2**32
CHUNK = 2**18  # blocks of 4 the plain torch body holds at a time: some 30 MB


class Role(IntEnum):
    """What a stream is for. A number here is part of every published result: add, never renumber."""

    SPLIT = 0
    BATCHES = 1
    NOISE = 2
    QUALITY = 3
    TABLE = 4
    SUBSET = 5
    CLASSES = 16
    """Added to a role: the classes drawn for it, whose numbers are none of its noise's."""


def normals(
    seeds: Sequence[int],
    role: int,
    step: int,
    start: int,
    stop: int,
    positions: int,
    dimension: int,
    device: str | torch.device = "cpu",
    *,
    offset: int = 0,
    body: str = "auto",
) -> Tensor:
    """Standard normals, float32 [S, stop − start, M, D], of the samples start, …, stop − 1.

    The first of the M positions is number `offset` of the step. `body` is "numba" (CPU only), "triton" (GPU only),
    "torch" (any device) or "auto", the fastest there is; all give the same bits. Raises ValueError for a seed, step,
    position or sample beyond 32 bits, an empty position or dimension, and an unknown body.
    """
    device = torch.device(device)
    check_stream(seeds, step, offset, positions)
    _check("start", start, WORD)
    _check("stop", stop, WORD + 1, least=start)
    _check("dimension", dimension, 4 * WORD + 1, least=1)
    out = torch.empty(len(seeds), stop - start, positions, dimension, dtype=torch.float32, device=device)
    chosen = body_for(device, body)
    if chosen == "numba":
        from esgrad.kernels.compiled.fill import fill

        keys = torch.tensor(seeds, dtype=torch.int64, device="cpu").numpy()
        fill(out.numpy(), keys, int(role), int(step), int(start), int(offset))
    elif chosen == "triton":
        from esgrad.kernels.compiled.gpu.fill import fill as fill_on_gpu

        fill_on_gpu(out, list(seeds), role, step, start, offset)
    else:
        _fill_by_torch(out, seeds, role, step, start, offset)
    return out


def body_for(device: torch.device, body: str = "auto") -> str:
    """The body of a kernel on a device, "numba", "triton" or "torch"; ValueError for one that does not run there."""
    bodies = {"numba": ("cpu", compiled.AVAILABLE), "triton": ("cuda", gpu.AVAILABLE)}
    if body not in ("auto", "torch", *bodies):
        raise ValueError(f"unknown body '{body}'. Known: auto, numba, torch, triton.")
    if body in bodies and device.type != bodies[body][0]:
        raise ValueError(f"body '{body}' runs on a {bodies[body][0]}, not on '{device}'; use 'auto' or 'torch'.")
    if body != "auto":
        return body
    return next((name for name, (kind, there) in bodies.items() if there and kind == device.type), "torch")


def blocks(
    seeds: Sequence[int],
    role: int,
    step: int,
    start: int,
    stop: int,
    numbers: Tensor,
    device: str | torch.device = "cpu",
    *,
    position: int = 0,
    body: str = "auto",
) -> Tensor:
    """Some of the normals of a position, float32 [S, stop − start, 4·n]: of each sample the blocks of these numbers.

    Block b are the coordinates 4b, …, 4b + 3. `numbers` is int64 [n]. The rest is as in `normals`.
    """
    device = torch.device(device)
    check_stream(seeds, step, position)
    _check("start", start, WORD)
    _check("stop", stop, WORD + 1, least=start)
    out = torch.empty(len(seeds), stop - start, 4 * len(numbers), dtype=torch.float32, device=device)
    chosen = body_for(device, body)
    if chosen == "numba":
        from esgrad.kernels.compiled.fill import fill_blocks

        keys = torch.tensor(seeds, dtype=torch.int64, device="cpu").numpy()
        fill_blocks(out.numpy(), keys, int(role), int(step), int(start), int(position), numbers.numpy())
        return out
    if chosen == "triton":
        from esgrad.kernels.compiled.gpu.fill import fill_blocks as fill_on_gpu

        fill_on_gpu(out, list(seeds), role, step, start, position, numbers.to(device))
        return out
    key = torch.tensor([[seed, role] for seed in seeds], device=device).reshape(-1, 1, 1, 1, 2)
    chunk = max(1, CHUNK // max(1, len(seeds) * len(numbers)))
    for n in range(0, stop - start, chunk):
        sample = torch.arange(n, min(n + chunk, stop - start), device=device) + start
        counters = _counters(step, sample, torch.tensor([position], device=device), numbers.to(device))
        out[:, n : n + chunk] = standard_normal(philox(counters, key)).flatten(-3)  # of [S, n, 1, blocks, 4]
    return out


def permutation(seed: int, role: Role, step: int, length: int) -> Tensor:
    """A random order of 0, …, length − 1, int64 [length] on the CPU: the argsort of 64 random bits per element."""
    check_stream([seed], step)
    _check("length", length, WORD + 1)
    if compiled.AVAILABLE:
        from esgrad.kernels.compiled.fill import sort_keys

        keys = torch.empty(length, dtype=torch.int64)
        sort_keys(keys.numpy(), int(seed), int(role), int(step))
        return torch.argsort(keys, stable=True)
    return _permutation_by_torch(seed, role, step, length)


def _permutation_by_torch(seed: int, role: Role, step: int, length: int) -> Tensor:
    """The oracle."""
    origin, places = torch.zeros(1, dtype=torch.int64, device="cpu"), torch.arange(length, device="cpu")
    counter = _counters(step, origin, origin, places)[0, 0]  # [length, 4]
    words = philox(counter, torch.tensor([seed, role], device="cpu"))  # [length, 4]
    return torch.argsort((words[:, 0] << 32) | words[:, 1], stable=True)


def _fill_by_torch(out: Tensor, seeds: Sequence[int], role: int, step: int, start: int, offset: int) -> None:
    """Fill `out` [S, n, M, D] chunk by chunk over samples and coordinates, so that memory stays bounded."""
    num_seeds, samples, positions, dimension = out.shape
    key = torch.tensor([[seed, role] for seed in seeds], device=out.device).reshape(-1, 1, 1, 1, 2)  # [S, 1, 1, 1, 2]
    position = torch.arange(positions, device=out.device) + offset
    blocks = min(-(-dimension // 4), max(1, CHUNK // (num_seeds * positions)))
    chunk = max(1, CHUNK // (num_seeds * positions * blocks))
    for n in range(0, samples, chunk):
        sample = torch.arange(n, min(n + chunk, samples), device=out.device) + start
        for d in range(0, dimension, 4 * blocks):
            part = out[:, n : n + chunk, :, d : d + 4 * blocks]
            block = torch.arange(d // 4, d // 4 + -(-part.shape[-1] // 4), device=out.device)
            words = philox(_counters(step, sample, position, block), key)  # [S, n, M, blocks, 4]
            part.copy_(standard_normal(words).flatten(-2)[..., : part.shape[-1]])


def _counters(step: int, sample: Tensor, position: Tensor, block: Tensor) -> Tensor:
    """The counters [n, M, blocks, 4] of samples [n], positions [M] and blocks [blocks]."""
    words = torch.full_like(block, step), position[:, None], sample[:, None, None], block
    return torch.stack(torch.broadcast_tensors(*words), dim=-1)


def check_stream(seeds: Sequence[int], step: int, offset: int = 0, positions: int = 1) -> None:
    """ValueError for no seed, and for a seed, a step or one of the positions from `offset` on beyond 32 bits."""
    if len(seeds) == 0:
        raise ValueError("no seed given; give at least one.")
    for seed in seeds:
        _check("seed", seed, WORD)
    _check("step", step, WORD)
    _check("positions", positions, WORD + 1, least=1)
    _check("offset", offset, WORD + 1 - positions)


def _check(name: str, value: int, limit: int, least: int = 0) -> None:
    if not isinstance(value, Integral) or not least <= value < limit:
        raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} to {limit - 1}.")
