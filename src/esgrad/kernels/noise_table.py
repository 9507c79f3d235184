"""A table of normals that all samples share: sample n's noise is table[o_n : o_n + d], its offset o_n drawn at random.

Salimans et al., arXiv 1703.03864, section 2.1, whose code holds 250,000,000 numbers of the seed 123. Samples overlap,
so that they are not quite independent: a table much longer than N·d makes that rare.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from esgrad.kernels import streams
from esgrad.kernels.philox import philox


class Table(NamedTuple):
    """Which table it is."""

    size: int
    seed: int

    def numbers(self) -> Tensor:
        """All of it, float32 [size] on the CPU; kept."""
        return _numbers(*self)

    def offsets(self, seeds: Sequence[int], role: int, step: int, start: int, stop: int, dimension: int) -> Tensor:
        """Where the samples start to stop begin, int64 [S, n]; ValueError for a table that is too short."""
        room = self.size - dimension + 1
        if room < 1:
            raise ValueError(f"table_size = {self.size} is less than the {dimension} parameters: a longer one would do")
        sample, nothing = torch.arange(start, stop), torch.zeros(1, dtype=torch.int64)
        counter = torch.stack(torch.broadcast_tensors(nothing + step, nothing, sample, nothing), -1)  # [n, 4]
        words = philox(counter, torch.tensor([[[seed, role]] for seed in seeds]))  # [S, n, 4]
        share = ((words[..., 0] << 20) | (words[..., 1] >> 12)).double() / 2**52
        return (share * room).long().clamp(max=room - 1)


@cache
def _numbers(size: int, seed: int) -> Tensor:
    return streams.normals([seed], streams.Role.TABLE, 0, 0, 1, 1, size)[0, 0, 0]


def table_sum(weights: Tensor, offsets: Tensor, table: Tensor, dimension: int, *, square: bool = False) -> Tensor:
    """Σ_n w_n z_n [S, G, d], or Σ_n w_n (z_n² − 1), for weights [S, G, n] and offsets [S, n]; n ascending."""
    out = weights.new_zeros(*weights.shape[:2], dimension)
    for s in range(len(out)):
        for n, offset in enumerate(offsets[s].tolist()):
            z = table[offset : offset + dimension]
            z = z * z - 1 if square else z
            out[s] += weights[s, :, n, None] * z
    return out
