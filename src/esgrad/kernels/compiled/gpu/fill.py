"""The fill on a GPU: `esgrad.kernels.streams.normals` and `streams.blocks`."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from esgrad.kernels.compiled.gpu import LAUNCH
from esgrad.kernels.compiled.gpu.normals import normals

BLOCKS = 256  # of four numbers, a program


def keys_of(seeds: list[int], role: int, device: torch.device) -> Tensor:
    """Of each seed the key as one number, int64 [S]."""
    return torch.tensor([(int(role) << 32) | int(seed) for seed in seeds], dtype=torch.int64, device=device)


def fill(out: Tensor, seeds: list[int], role: int, step: int, start: int, offset: int) -> None:
    """Fill `out` [S, n, M, D], float32 and contiguous."""
    _, samples, positions, dimension = out.shape
    blocks = -(-dimension // 4)
    if out.numel():
        total = out.numel() // dimension * blocks
        keys = keys_of(seeds, role, out.device)
        _fill[(triton.cdiv(total, BLOCKS),)](
            out, keys, step, start, offset, total, samples, positions, dimension, blocks, keys, BLOCKS, False, **LAUNCH
        )


def fill_blocks(
    out: Tensor, seeds: list[int], role: int, step: int, start: int, position: int, numbers: Tensor
) -> None:
    """Fill `out` [S, n, 4·blocks] with the blocks of these numbers, int64 [blocks]."""
    _, samples, dimension = out.shape
    if out.numel():
        keys, blocks = keys_of(seeds, role, out.device), len(numbers)
        _fill[(triton.cdiv(out.numel() // 4, BLOCKS),)](
            out, keys, step, start, position, out.numel() // 4, samples, 1, dimension, blocks, numbers, BLOCKS, True,
            **LAUNCH,
        )  # fmt: skip


@triton.jit(do_not_specialize=["step", "start", "offset", "samples", "positions", "dimension", "blocks"])
def _fill(
    out, keys, step, start, offset, total, samples, positions, dimension, blocks, numbers,
    BLOCKS: tl.constexpr, CHOSEN: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCKS + tl.arange(0, BLOCKS)
    inside = at < total
    block, row = at % blocks, at // blocks
    position, sample = row % positions, row // positions % samples
    key = tl.load(keys + row // positions // samples, mask=inside, other=0)
    number = tl.load(numbers + block, mask=inside, other=0) if CHOSEN else block
    place = (step + 0 * at).to(tl.uint32), (offset + position).to(tl.uint32)
    drawn = normals(key, place[0], place[1], (start + sample).to(tl.uint32), number.to(tl.uint32))
    to = out + row * dimension + 4 * block
    for j in tl.static_range(4):
        tl.store(to + j, drawn[j], mask=inside & (4 * block + j < dimension))
