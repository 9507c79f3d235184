"""Data parallel training: two processes that share a batch see the noise of one that has it whole."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import esgrad

LOGITS, TARGETS = torch.linspace(-1, 1, 120).reshape(12, 10), torch.arange(12) % 10
ASKED = {"num_samples": 9, "noise_variance": 0.5, "seed": 1}
RANKS = 2


def hit(seen: Tensor, targets: Tensor) -> Tensor:
    return seen.argmax(-1) == targets


def gradient(logits: Tensor, targets: Tensor, offset: int) -> Tensor:
    """Per example, by both public functions, side by side."""
    logits = logits.clone().requires_grad_()
    esgrad.blackbox(hit, **ASKED)(logits, targets, step=3, offset=offset).sum().backward()
    assert logits.grad is not None
    by_hand = esgrad.es_gradient(logits.detach(), targets, step=3, offset=offset, **ASKED)
    return torch.cat([logits.grad, by_hand], 1)


def work(rank: int, folder: str) -> None:
    """A rank: its half of the batch, gathered on all."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=RANKS)
    share = len(LOGITS) // RANKS
    mine = slice(rank * share, (rank + 1) * share)
    halves = [torch.empty(share, 20) for _ in range(RANKS)]
    dist.all_gather(halves, gradient(LOGITS[mine], TARGETS[mine], offset=mine.start))
    torch.save(torch.cat(halves), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo")
def test_two_ranks_give_the_gradients_of_one_process_to_the_bit(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=RANKS)
    whole = gradient(LOGITS, TARGETS, offset=0)
    for rank in range(RANKS):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), whole)
