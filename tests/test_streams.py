"""Random numbers depend on their place alone, and are standard normals."""

import numpy as np
import pytest
import torch
from scipy import stats

from esgrad.kernels import streams
from esgrad.kernels.philox import philox, standard_normal
from esgrad.kernels.streams import Role, normals, permutation

WORDS = 2**23  # distinct inputs of the inverse


@pytest.fixture(scope="module")
def inverse() -> torch.Tensor:
    """The normal of every one of the 2²³ inputs, in order."""
    return standard_normal(torch.arange(WORDS) << 9)


@pytest.fixture(scope="module")
def draw() -> torch.Tensor:
    return normals([1, 2, 3, 4], Role.NOISE, 5, 0, 50, 32, 100)  # [S, n, M, D]: 640,000 numbers


def philox_by_whole_numbers(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 as the paper writes it, on Python's whole numbers."""
    left, right = [counter[1], counter[3]], [counter[0], counter[2]]
    for r in range(10):
        keys = [(key[0] + r * 0x9E3779B9) % 2**32, (key[1] + r * 0xBB67AE85) % 2**32]
        high, low = zip(divmod(0xD2511F53 * right[0], 2**32), divmod(0xCD9E8D57 * right[1], 2**32), strict=True)
        right, left = [high[1] ^ left[0] ^ keys[0], high[0] ^ left[1] ^ keys[1]], [low[1], low[0]]
    return [right[0], left[0], right[1], left[1]]


def correlation_is_zero(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether the mean product of two draws lies within 5 standard errors, 1/√count, of 0."""
    return abs((a.double() * b.double()).mean().item()) < 5 / a.numel() ** 0.5


# Philox


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_gives_the_published_answers(counter: str, key: str, expected: str) -> None:
    """The vectors `philox4x32 10` of Random123's tests/kat_vectors."""
    counter_, key_, expected_ = ([int(word, 16) for word in text.split()] for text in (counter, key, expected))
    assert philox(torch.tensor(counter_), torch.tensor(key_)).tolist() == expected_
    assert philox_by_whole_numbers(counter_, key_) == expected_


@pytest.mark.parametrize("body", ["numba", "torch"])
def test_a_number_s_place_is_its_counter(body: str) -> None:
    seed, role, step = 2**32 - 1, Role.QUALITY, 2**32 - 2
    start, position, coordinate = 2**32 - 9, 6, 41
    number = normals([0, seed], role, step, start, 2**32, 7, 43, body=body)[1, 3, position, coordinate]
    words = philox_by_whole_numbers([step, position, start + 3, coordinate // 4], [seed, role])
    assert number == standard_normal(torch.tensor(words[coordinate % 4]))


def test_published_numbers_do_not_move() -> None:
    """Whoever changes these changes every published result, and says so in the changelog."""
    numbers = [float.fromhex(x) for x in ("-0x1.4b1888p-1", "-0x1.3f5d06p0", "-0x1.ff33a8p0", "-0x1.37b44p-1")]
    assert normals([3], Role.NOISE, 1, 0, 1, 1, 4).flatten().tolist() == numbers
    assert permutation(3, Role.SPLIT, 0, 10).tolist() == [8, 6, 0, 5, 1, 7, 3, 4, 9, 2]


# The inverse


def test_the_inverse_is_that_of_the_normal_distribution(inverse: torch.Tensor) -> None:
    """Relative error below 4e-7 (under 5 units in the last place) at all inputs; measured 2.9e-7."""
    u = (torch.arange(WORDS, dtype=torch.float64) + 0.5) / WORDS
    exact = torch.special.ndtri(u)
    assert ((inverse - exact).abs() <= 4e-7 * exact.abs()).all()


def test_the_inverse_rises_with_its_input(inverse: torch.Tensor) -> None:
    assert (inverse[1:] > inverse[:-1]).all()


def test_the_inverse_is_odd_and_finite(inverse: torch.Tensor) -> None:
    assert torch.equal(inverse, -inverse.flip(0))
    assert inverse.isfinite().all()


def test_only_the_upper_23_bits_count(inverse: torch.Tensor) -> None:
    inputs = torch.tensor([0, 1, WORDS // 2, WORDS - 1])
    assert torch.equal(standard_normal((inputs << 9) + 511), inverse[inputs])


# The two bodies


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 5, 10, 1030])
@pytest.mark.parametrize(("start", "stop", "positions"), [(0, 1, 1), (3, 40, 7), (5, 5, 2)])
def test_both_bodies_give_the_same_bits(dimension: int, start: int, stop: int, positions: int) -> None:
    place = ([0, 7, 2**32 - 1], Role.NOISE, 9, start, stop, positions, dimension)
    compiled, plain = normals(*place, body="numba"), normals(*place, body="torch")
    assert compiled.shape == (3, stop - start, positions, dimension)
    assert compiled.dtype == plain.dtype == torch.float32
    assert torch.equal(compiled, plain)


def test_both_bodies_give_the_same_bits_in_a_large_sample() -> None:
    place = ([11], Role.NOISE, 2, 0, 1, 1, 500_000)
    assert torch.equal(normals(*place, body="numba"), normals(*place, body="torch"))


def test_the_plain_body_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ([1, 2], Role.NOISE, 4, 1, 6, 3, 26)
    whole = normals(*place, body="torch")
    for chunk in (1, 20, 100):
        monkeypatch.setattr(streams, "CHUNK", chunk)
        assert torch.equal(normals(*place, body="torch"), whole)


# Invariance


@pytest.mark.parametrize("body", ["numba", "torch"])
def test_a_part_equals_the_same_part_of_the_whole(body: str) -> None:
    seeds = [4, 8, 15]
    whole = normals(seeds, Role.NOISE, 6, 0, 30, 9, 22, body=body)
    assert torch.equal(normals(seeds, Role.NOISE, 6, 13, 29, 9, 22, body=body), whole[:, 13:29])  # a chunk
    assert torch.equal(normals([8], Role.NOISE, 6, 0, 30, 9, 22, body=body), whole[1:2])  # a run alone
    assert torch.equal(normals(seeds, Role.NOISE, 6, 0, 30, 5, 22, body=body), whole[:, :, :5])  # a smaller batch
    assert torch.equal(normals(seeds, Role.NOISE, 6, 0, 30, 4, 22, offset=3, body=body), whole[:, :, 3:7])  # its rest
    for dimension in (21, 20, 3):
        part = normals(seeds, Role.NOISE, 6, 0, 30, 9, dimension, body=body)
        assert torch.equal(part, whole[..., :dimension])


def test_no_global_state_is_touched() -> None:
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = normals([1], Role.NOISE, 0, 0, 4, 2, 5)
    torch.rand(3)
    assert torch.equal(normals([1], Role.NOISE, 0, 0, 4, 2, 5), first)
    torch.set_rng_state(before)
    permutation(1, Role.SPLIT, 0, 9)
    normals([1], Role.NOISE, 0, 0, 4, 2, 5, body="torch")
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == before_numpy).all()


# Standard normals, independent along every axis


@pytest.mark.parametrize(
    ("power", "moment", "variance"), [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)], ids=["mean", "var", "skew", "kurt"]
)
def test_moments_are_those_of_the_standard_normal(draw: torch.Tensor, power: int, moment: int, variance: int) -> None:
    error = (draw.double() ** power).mean().item() - moment
    assert abs(error) < 5 * (variance / draw.numel()) ** 0.5


def test_the_distribution_is_the_standard_normal(draw: torch.Tensor) -> None:
    assert stats.kstest(draw.flatten().double().numpy(), "norm").pvalue > 5.7e-7  # 5 standard errors


@pytest.mark.parametrize("axis", [0, 1, 2, 3], ids=["seed", "sample", "position", "coordinate"])
@pytest.mark.parametrize("lag", [1, 2, 3])
def test_neighbours_are_uncorrelated(draw: torch.Tensor, axis: int, lag: int) -> None:
    length = draw.shape[axis] - lag
    first, second = draw.narrow(axis, 0, length), draw.narrow(axis, lag, length)
    assert correlation_is_zero(first, second)
    assert correlation_is_zero((first**2 - 1) / 2**0.5, (second**2 - 1) / 2**0.5)


def test_steps_and_roles_are_uncorrelated(draw: torch.Tensor) -> None:
    seeds = [1, 2, 3, 4]
    assert correlation_is_zero(draw, normals(seeds, Role.NOISE, 6, 0, 50, 32, 100))
    assert correlation_is_zero(draw, normals(seeds, Role.QUALITY, 5, 0, 50, 32, 100))


# Permutations


def test_a_permutation_holds_every_index_once_and_obeys_seed_role_and_step() -> None:
    order = permutation(1, Role.BATCHES, 0, 1797)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange(1797))
    assert torch.equal(order, permutation(1, Role.BATCHES, 0, 1797))
    for other in ((2, Role.BATCHES, 0), (1, Role.SPLIT, 0), (1, Role.BATCHES, 1)):
        # Two random orders agree in a Poisson(1) number of places: 12 or more has probability 8e-10.
        assert (order == permutation(*other, 1797)).sum() < 12
    assert permutation(1, Role.BATCHES, 0, 0).shape == (0,)


def test_every_index_comes_first_equally_often() -> None:
    steps, length = 2000, 5
    firsts = torch.stack([permutation(7, Role.BATCHES, step, length)[0] for step in range(steps)])
    counts = firsts.bincount(minlength=length)
    assert ((counts - steps / length).abs() < 5 * (steps * 0.2 * 0.8) ** 0.5).all()


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [0, -1]}, "seed is -1; it must be a whole number from 0 to 4294967295"),
        ({"seeds": [2**32]}, "seed is 4294967296"),
        ({"seeds": [1.5]}, "seed is 1.5"),
        ({"seeds": []}, "no seed given"),
        ({"step": -1}, "step is -1"),
        ({"step": 2**32}, "step is 4294967296"),
        ({"start": -1}, "start is -1"),
        ({"start": 5}, "stop is 4; it must be a whole number from 5"),
        ({"positions": 0}, "positions is 0"),
        ({"offset": -1}, "offset is -1"),
        ({"offset": 2**32 - 2, "positions": 3}, "offset is 4294967294; it must be a whole number from 0 to 4294967293"),
        ({"dimension": 0}, "dimension is 0"),
        ({"body": "numpy"}, "unknown body 'numpy'"),
        ({"body": "numba", "device": "meta"}, "body 'numba' runs on a cpu, not on 'meta'"),
    ],
    ids=lambda value: None if isinstance(value, str) else "_".join(f"{k}_{v}" for k, v in value.items()),
)
def test_what_has_no_stream_is_refused(change: dict, message: str) -> None:
    place = {"seeds": [0], "role": Role.NOISE, "step": 0, "start": 0, "stop": 4, "positions": 1, "dimension": 3}
    with pytest.raises(ValueError, match=message):
        normals(**(place | change))


@pytest.mark.parametrize(("seed", "step", "length"), [(-1, 0, 3), (0, 2**32, 3), (0, 0, -1), (0, 0, 2.5)])
def test_what_has_no_order_is_refused(seed: int, step: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"(seed|step|length) is .*; it must be a whole number"):
        permutation(seed, Role.SPLIT, step, length)


@pytest.mark.parametrize("length", [0, 1, 5, 256, 257, 1347])
def test_a_permutation_has_the_bits_of_the_oracle(length: int) -> None:
    found = streams.permutation(7, streams.Role.BATCHES, 2**32 - 1, length)
    assert torch.equal(found, streams._permutation_by_torch(7, streams.Role.BATCHES, 2**32 - 1, length))
