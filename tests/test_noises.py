"""How noise is drawn: its moments, and the facts it states."""

from math import log, pi, sqrt

import numpy as np
import pytest
import torch
from scipy.stats import gumbel_r, kstest, norm
from torch import Tensor

from esgrad import menu
from esgrad.kernels import orthonormal, owen, sobol, streams
from esgrad.kernels.streams import Role
from tests.estimating import (
    COPIES,
    EACH_NOISE,
    LOGITS,
    TARGETS,
    assert_mean,
    differs,
    directions,
)

LAWS = {"gumbel": gumbel_r(-gumbel_r.mean() / gumbel_r.std(), 1 / gumbel_r.std())}
"""The law of a coordinate where it is not the normal one."""


# Moments


@EACH_NOISE
def test_directions_have_mean_0_variance_1_and_no_covariance(noise: str) -> None:
    for sample in directions(noise, 34, COPIES, 5)[[0, 1, 3, 33]]:  # [M, D]
        assert_mean(sample, torch.zeros(5))
        assert_mean(sample[:, :, None] * sample[:, None], torch.eye(5))


@EACH_NOISE
def test_each_coordinate_has_the_law_of_its_noise(noise: str) -> None:
    draw = directions(noise, 34, COPIES, 5)
    for sample, coordinate in [(0, 0), (1, 3), (3, 4), (33, 2)]:
        assert kstest(draw[sample, :, coordinate], LAWS.get(noise, norm).cdf).pvalue > 1e-4


@EACH_NOISE
def test_the_score_is_the_slope_of_minus_the_log_density(noise: str) -> None:
    """Against scipy's density, over all that 20,000 draws reach; as a part of it: E[score] = 0, E[score zᵀ] = I."""
    module, density = menu.load("noises", noise), LAWS.get(noise, norm).logpdf
    z = directions(noise, 2, COPIES, 3)[1]
    score, width = module.score(z), 1e-4
    expected = -(density(z + width) - density(z - width)) / (2 * width)
    np.testing.assert_allclose(score, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(module.score(z.float()).double(), score, rtol=1e-5, atol=1e-6)
    assert_mean(score, torch.zeros(3))
    assert_mean(score[:, :, None] * z[:, None], torch.eye(3))


@EACH_NOISE
def test_the_farthest_normals_give_finite_directions_and_scores(noise: str) -> None:
    """The stream's normals lie within ±5.3; nothing may round to infinity there."""
    module, ends = menu.load("noises", noise), torch.tensor([-5.3, 5.3, -1e-7, 1e-7])
    draw = module.directions(lambda start, stop: ends.repeat(1, stop - start, 1, 1), 0, 2)
    assert draw.isfinite().all()
    assert module.score(draw).isfinite().all()


# What a noise says of itself, which is what shapings believe


@EACH_NOISE
def test_a_score_does_not_know_the_other_samples_where_a_noise_says_so(noise: str) -> None:
    """UNCORRELATED: E[s_n h(q_m, …)] = 0 for what h a baseline may be; a noise that does not say so has a pair that is
    correlated."""
    module = menu.load("noises", noise)
    draw = directions(noise, 40, COPIES, 3)  # [n, M, D]
    seen = False
    for n, m in [(0, 1), (2, 0), (1, 2), (3, 4), (30, 32), (5, 39)]:
        score, other = module.score(draw[n]), draw[m]
        baselines = [other, other.square().sum(-1, keepdim=True), (other[:, [0]] > 0.5).double(), other.relu()]
        baselines += [(other[:, :1] + draw[(m + 7) % 40][:, 1:2] > 0).double()]
        for baseline in baselines:
            if module.UNCORRELATED:
                assert_mean(score * baseline, torch.zeros(3))
            seen = seen or differs(score * baseline, torch.zeros(3))
    assert seen is not module.UNCORRELATED


@EACH_NOISE
def test_samples_are_independent_where_a_noise_says_so(noise: str) -> None:
    """Then E(q·q′)² = D, and hits at both have the chance of each, squared; else some pair differs."""
    module = menu.load("noises", noise)
    assert module.UNCORRELATED or not module.INDEPENDENT
    draw, seen = directions(noise, 40, COPIES, 3), False
    for n, m in [(0, 1), (2, 0), (1, 2), (3, 4), (30, 32), (5, 39)]:
        square = (draw[n] * draw[m]).sum(-1).square()
        if module.INDEPENDENT:
            assert_mean(square, torch.tensor(3.0))
        seen = seen or differs(square, torch.tensor(3.0))
    assert seen is not module.INDEPENDENT


@EACH_NOISE
def test_scores_sum_to_0_where_a_noise_says_so(noise: str) -> None:
    module = menu.load("noises", noise)
    total = module.score(directions(noise, 8, 50, 3)).sum(0).abs()
    assert bool(total.max() < 1e-6) is module.SUMS_TO_ZERO


@EACH_NOISE
def test_a_noise_names_exact_arms_of_accuracy(noise: str) -> None:
    arms = menu.load("noises", noise).EXACT
    assert arms._fields == ("p", "log_p")
    assert all(menu.load("exact", menu.name(arm)) is arm and arm.BLACKBOX == "zero_one" for arm in arms)


@EACH_NOISE
@pytest.mark.parametrize("variance", [0.04, 9.0])
def test_the_arms_of_a_noise_have_its_chance_of_a_hit(noise: str, variance: float) -> None:
    module = menu.load("noises", noise)
    points = LOGITS.double() + sqrt(variance) * directions(noise, 2, 4 * COPIES, 4)[0].view(COPIES, 4, 4)
    hits = (points.argmax(-1) == TARGETS).double()  # [M, E]
    arguments = LOGITS[None].double(), TARGETS[None], torch.tensor([variance])
    p, log_p = (arm.value(*arguments)[0] for arm in module.EXACT)
    assert_mean(hits, p)
    torch.testing.assert_close(log_p.exp(), p)


@EACH_NOISE
def test_a_noise_draws_no_more_than_it_says(noise: str) -> None:
    drawn, module = [], menu.load("noises", noise)

    def normals(start: int, stop: int) -> Tensor:
        drawn.append(stop - start)
        return streams.normals([0], Role.NOISE, 0, start, stop, 2, 3)

    module.directions(normals, 32, 96)
    assert 0 < sum(drawn) <= 64 * module.DRAWS_PER_SAMPLE


def test_mirrored_directions_sum_to_0() -> None:
    draw = directions("mirrored", 10, 5, 7)
    assert torch.equal(draw[0::2], -draw[1::2])
    assert not draw[0::2].eq(draw[1::2]).any()


# Orthogonal


@pytest.mark.parametrize("dimension", [1, 2, 10, 32, 50])
def test_blocks_are_orthogonal_and_blocks_alone(dimension: int) -> None:
    """Blocks of min(D, 32), counted from each 32nd sample on; the lengths are those of the normals."""
    draw = directions("orthogonal", 70, 3, dimension).movedim(1, 0)  # [M, n, D]
    block = torch.arange(70) // 32 * 32 + torch.arange(70) % 32 // min(dimension, 32)
    unit = torch.nn.functional.normalize(draw, dim=-1)
    cosine = (unit @ unit.mT).abs()
    together = (block[:, None] == block) & ~torch.eye(70, dtype=torch.bool)
    assert not together.any() or cosine[:, together].max() < 1e-6
    assert cosine[:, block[:, None] != block].min() > 0
    plain = streams.normals([3], Role.NOISE, 0, 0, 70, 3, dimension)[0].movedim(1, 0).double()
    torch.testing.assert_close(draw.norm(dim=-1), plain.norm(dim=-1), rtol=1e-6, atol=1e-6)
    assert torch.allclose(draw[:, 0], plain[:, 0], atol=1e-6), "a block's first direction is the normal's own"


@pytest.mark.parametrize(("samples", "dimension"), [(1, 1), (3, 5), (10, 10), (32, 32), (32, 1003)])
def test_the_compiled_gram_and_schmidt_equal_the_plain_one(samples: int, dimension: int) -> None:
    vectors = streams.normals([1, 2], Role.NOISE, 0, 0, samples, 4, dimension)
    compiled, plain = vectors.clone(), vectors.clone()
    orthonormal.orthogonalise(compiled)
    orthonormal.orthogonalise_torch(plain)
    assert torch.equal(compiled, plain)
    q, r = torch.linalg.qr(vectors.double().permute(0, 2, 3, 1))  # [S, M, D, n]
    haar = q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :] * vectors.norm(dim=-1).movedim(1, 2)[..., None, :]
    torch.testing.assert_close(compiled.double(), haar.permute(0, 3, 1, 2), rtol=0, atol=2e-5)


# Quasi


@pytest.mark.parametrize("num_samples", [2, 8, 64, 1024])
def test_each_of_n_equal_parts_of_a_coordinate_has_one_sample(num_samples: int) -> None:
    parts = (norm.cdf(directions("quasi", num_samples, 4, 7)) * num_samples).astype(int)
    assert (np.sort(parts, 0) == np.arange(num_samples)[:, None, None]).all()
    assert len(np.unique(parts[0])) > 1, "not the same scrambling everywhere"


@pytest.mark.parametrize("wide", range(7))
def test_two_coordinates_fill_every_box_of_equal_chance(wide: int) -> None:
    """A scrambled (0, 6, 2)-net: each of the 2^wide × 2^(6 − wide) boxes has one of 64 samples."""
    uniform = norm.cdf(directions("quasi", 64, 5, 2))
    box = (uniform * [2**wide, 2 ** (6 - wide)]).astype(int) @ [2 ** (6 - wide), 1]  # [n, M]
    assert (np.sort(box, 0) == np.arange(64)[:, None]).all()


def test_scrambling_keeps_sobol_s_boxes_in_many_coordinates() -> None:
    """Owen 1995: a coordinate's scrambled digits depend on its coarser digits alone, so points that share the first
    digits still do."""
    points = owen.reverse(sobol._points(0, 256, 40))
    normals = streams.normals([1], Role.NOISE, 0, 0, 2, 3, 40)
    words = sobol.scrambled(normals, 0, 256)[0]  # [n, M, D]
    for digits in (1, 3, 8, 20):
        for d in (0, 17, 39):
            _, before = torch.unique(points[:, d] >> (32 - digits), return_inverse=True)
            for m in range(3):
                _, after = torch.unique(words[:, m, d] >> (32 - digits), return_inverse=True)
                pairs = torch.unique(torch.stack([before, after]), dim=1)
                assert pairs.shape[1] == before.max() + 1 == after.max() + 1


def test_unscrambled_points_are_torch_s_own() -> None:
    expected = torch.quasirandom.SobolEngine(40).draw(64, dtype=torch.float64).sort(0).values
    assert torch.equal((owen.reverse(sobol._points(0, 64, 40)) / 2.0**32).sort(0).values, expected)


@pytest.mark.parametrize(("start", "stop", "dimension"), [(0, 1, 1), (3, 40, 10), (1000, 1033, 257)])
def test_the_compiled_scrambling_equals_the_plain_one_to_the_bit(start: int, stop: int, dimension: int) -> None:
    normals = streams.normals([1, 2], Role.NOISE, 0, 0, 2, 3, dimension)
    plain = owen.scramble(sobol._points(start, stop, dimension), sobol._seeds(normals))
    assert torch.equal(sobol.scrambled(normals, start, stop), plain)


def test_the_seeds_of_a_scrambling_are_the_uniform_bits_of_the_normals() -> None:
    """All 32 of them are as often set as not, and no two go together."""
    seeds = sobol._seeds(streams.normals([1], Role.NOISE, 0, 0, 2, COPIES, 3)).flatten()
    assert ((seeds >= 0) & (seeds < 2**32)).all()
    bits = (seeds[:, None] >> torch.arange(32) & 1).double() * 2 - 1
    assert_mean(bits, torch.zeros(32))
    assert_mean(bits[:, :-1] * bits[:, 1:], torch.zeros(31))
    assert len(seeds.unique()) > 0.999 * len(seeds)


def test_quasi_noise_says_where_its_numbers_end() -> None:
    quasi = menu.load("noises", "quasi")
    assert torch.quasirandom.SobolEngine.MAXDIM == quasi.MOST_COORDINATES
    assert torch.quasirandom.SobolEngine.MAXBIT == quasi.BITS
    assert quasi.refuses(2**30, 21_201) is None
    assert "D = 21202" in quasi.refuses(1, 21_202)
    assert "N = 1073741825" in quasi.refuses(2**30 + 1, 1)


def test_the_error_of_a_smooth_mean_falls_much_faster_than_by_chance() -> None:
    """Owen 1997: variance N⁻³ up to logarithms, by chance N⁻¹, in one dimension."""
    few, many = ((directions("quasi", n, 2000, 1).tanh() + 1).exp().mean(0).var().item() for n in (16, 256))
    assert log(few / many) / log(16) > 2.5


# Gumbel


def test_a_gumbel_is_minus_the_log_of_minus_the_log_of_a_uniform() -> None:
    normals = streams.normals([3], Role.NOISE, 0, 0, 1, COPIES, 4)[0]
    expected = gumbel_r.ppf(norm.cdf(normals.double().numpy()))
    got = directions("gumbel", 1, COPIES, 4) * pi / sqrt(6) + gumbel_r.mean()
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)
