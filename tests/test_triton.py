"""The bodies for a GPU, without one: their bits under Triton's interpreter, and what a compiler makes of them."""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("triton")

INTERPRETED = """
import torch
from esgrad.kernels import hits, noise_sum, streams
from esgrad.kernels.compiled.gpu import fill, hits as gpu_hits, noise_sum as gpu_sum

BIG = 2**32 - 1
for seeds, n, positions, dimension in (([5, BIG], 3, 2, 10), ([1], 1, 1, 1)):
    out = torch.empty(len(seeds), n, positions, dimension)
    fill.fill(out, seeds, 2, BIG, 7, 9)
    assert torch.equal(out, streams.normals(seeds, 2, BIG, 7, 7 + n, positions, dimension, offset=9))
numbers = torch.tensor([3, 0, 77, 5])
out = torch.empty(2, 2, 16)
fill.fill_blocks(out, [1, 2], 2, 3, 4, 6, numbers)
assert torch.equal(out, streams.blocks([1, 2], 2, 3, 4, 6, numbers, position=6))
weights = torch.randn(2, 2, 19, generator=torch.Generator().manual_seed(0))
for square in (False, True):
    expected = noise_sum.noise_sum(weights, [1, 2], 2, 3, 37, position=5, square=square)
    assert torch.equal(gpu_sum.noise_sum(weights, [1, 2], 2, 3, 37, 5, square), expected)
for classes, pairs in ((2, True), (13, False)):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(2, 2, 2, classes, generator=generator)
    logits[0, 0, 0] = 2.0**30  # all alike: the first of them wins
    targets = logits.argmax(-1)
    targets[0, 0, 0] = 0
    scale, active = torch.rand(2, 2, 2, generator=generator) + 0.3, torch.tensor([True, False])

    def empty():
        size = 2, 16, classes
        return torch.zeros(2, 2, *size), torch.zeros(2, 2, 2, dtype=torch.float64), torch.zeros(2, 1, *size)

    found, expected = empty(), empty()
    for start, stop in ((0, 6), (6, 20)):
        rest = logits, targets, scale, active, [4, 8], 3, 2, start, stop, 11, pairs
        gpu_hits.add(*found, *rest)
        hits.add_torch(*expected, *rest)
    assert expected[1].max() == 20
    assert expected[1].sum() > 20
    assert all(map(torch.equal, found, expected))
print("equal")
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from esgrad.kernels.compiled.gpu import LAUNCH, fill, hits, noise_sum

KINDS = {"out": "*fp32", "sums": "*fp32", "totals": "*fp32", "logits": "*fp32", "sigma": "*fp32", "weights": "*fp32",
         "keys": "*i64", "numbers": "*i64", "targets": "*i64", "hits": "*i32", "active": "*i1", "step": "i64"}
for kernel, constants in (
    (fill._fill, {"BLOCKS": 256, "CHOSEN": False}),
    (fill._fill, {"BLOCKS": 256, "CHOSEN": True}),
    (noise_sum._noise_sum, {"BLOCKS": 32, "SQUARE": False}),
    (noise_sum._noise_sum, {"BLOCKS": 32, "SQUARE": True}),
    (hits._add, {"BLOCKS": 4, "PAIRS": True, "SUMMED": True}),
    (hits._add, {"BLOCKS": 256, "PAIRS": False, "SUMMED": False}),
):
    signature = {name: "constexpr" if name in constants else KINDS.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    print(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(LAUNCH)).asm["ptx"])
    print("=" * 9)
"""


def said(script: str, **words: str) -> str:
    environment = os.environ | words
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_every_body_has_the_bits_of_its_oracle() -> None:
    assert said(INTERPRETED, TRITON_INTERPRET="1") == "equal\n"


def test_a_compiler_fuses_no_product_with_a_sum_and_rounds_every_quotient() -> None:
    kernels = said(COMPILED).split("=" * 9)[:-1]
    assert len(kernels) == 6
    for code in kernels:
        assert "fma.rn.f32" not in code
        assert "div.rn.f32" in code
        assert not re.search(r"div\.(full|approx)", code)
        assert "ftz" not in code
