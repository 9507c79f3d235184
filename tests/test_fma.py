"""A product and a sum rounded once: the nearest float32 to the exact number, in plain torch and compiled."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from esgrad.kernels.fma import fma

SINGLE = some.floats(width=32, allow_nan=False, allow_infinity=False)
NEAR = some.floats(0.5, 2, width=32)


def one(a: float, b: float, c: float) -> float:
    return float(fma(*(torch.tensor([x], dtype=torch.float32) for x in (a, b, c)))[0])


@settings(max_examples=1000, deadline=None)
@given(a=SINGLE | NEAR, b=SINGLE | NEAR, c=SINGLE | NEAR)
def test_it_is_the_nearest_number(a: float, b: float, c: float) -> None:
    found, exact = one(a, b, c), Fraction(a) * Fraction(b) + Fraction(c)
    if math.isinf(found):
        assert abs(exact) >= Fraction(2) ** 128 - Fraction(2) ** 103
        return
    error = abs(Fraction(found) - exact)
    for towards in (np.inf, -np.inf):
        with np.errstate(all="ignore"):
            neighbour = float(np.nextafter(np.float32(found), np.float32(towards)))
        if math.isfinite(neighbour):
            other = abs(Fraction(neighbour) - exact)
            even = int(np.float32(found).view(np.uint32)) % 2 == 0
            assert error < other or (error == other and even)


def test_two_roundings_would_give_another() -> None:
    """Just above half-way between two float32: rounded to float64 first it would lie half-way."""
    a, b, c = 1 + 2.0**-12, 1 + 2.0**-12, 2.0**-60
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    twice = float(np.float32(float(exact)))
    assert one(a, b, c) == 1 + 2.0**-11 + 2.0**-23
    assert one(a, b, c) != twice


@pytest.mark.parametrize("worst", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_stays_so(worst: float) -> None:
    assert math.isnan(one(worst, 0.0, 1.0))
    assert one(worst, 1.0, 1.0) == worst or math.isnan(worst)
    assert math.isnan(one(1.0, 1.0, math.nan))


def test_the_compiled_one_has_the_same_bits() -> None:
    pytest.importorskip("numba")
    from numba import njit

    from esgrad.kernels.compiled import fma as body

    @njit
    def each(out, a, b, c):
        for i in range(len(out)):
            out[i] = body.fma(a[i], b[i], c[i])

    generator = torch.Generator().manual_seed(0)
    words = torch.randint(-(2**31), 2**31, (3, 100_000), generator=generator, dtype=torch.int64).to(torch.int32)
    a, b, c = words.view(torch.float32)
    c = torch.where(torch.arange(len(c)) % 2 == 0, -(a * b) * (1 + c.sign() * 1e-7), c)  # where much cancels
    out = np.empty(len(a), np.float32)
    each(out, a.numpy(), b.numpy(), c.numpy())
    torch.testing.assert_close(torch.from_numpy(out), fma(a, b, c), rtol=0, atol=0, equal_nan=True)
