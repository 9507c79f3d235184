"""The law of a mini-batch behind the chain rule: variance, cosine and N against covariances and draws in full."""

import pytest
import torch

from esgrad import config, menu, theory
from esgrad.data import decode
from esgrad.measurement import checkpoints, quality
from esgrad.measurement.batch_law import BatchLaw
from esgrad.measurement.pushed import Pushed

INDEPENDENT = ["raw", "leave_one_out", "success", "maxrl"]


@pytest.fixture(scope="module")
def networks(digits):
    """Small networks at the start, half-way and trained, by their K."""
    made = {}
    for k, steps in [(2, 30), (10, 150), (300, 150)]:
        data = digits if k > 2 else decode("digits-2", "data")
        job = config.backprop_job("digits" if k > 2 else "digits-2", k, steps, 0.01, hidden_size=16)
        made[k] = checkpoints.make(job, data, 16)
    return made


def jacobian(at, example: int):
    """[K, d], row by row."""
    return at.push(torch.eye(at.logits.shape[1])[:, None], example).double()


# Variance


@pytest.mark.parametrize("variance", [0.25, 4.0])
@pytest.mark.parametrize("shaping", INDEPENDENT)
def test_what_is_pushed_has_the_variance_of_the_whole_covariance(networks, variance, shaping):
    """tr(J C Jᵀ) written out, C from `theory.covariance` and J row by row: the same, example by example."""
    for at in networks[10]:
        few = at.few(5)
        covariance = theory.covariance(shaping, few.logits, few.targets, variance, 10)
        rows = torch.stack([jacobian(few, example) for example in range(5)])
        found = BatchLaw(few, variance).variance("independent", shaping, 10)
        torch.testing.assert_close(found, theory.pushed_variance(covariance, rows @ rows.mT), rtol=1e-5, atol=0)


@pytest.mark.parametrize("variance", [0.25, 4.0])
@pytest.mark.parametrize("shaping", INDEPENDENT)
def test_the_noise_along_a_direction_is_that_of_the_whole_covariance(networks, variance, shaping):
    few = networks[10][2].few(5)
    direction = torch.randn(5, 10, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    covariance = theory.covariance(shaping, few.logits, few.targets, variance, 10)
    expected = torch.einsum("ej,ejk,ek->e", direction, covariance, direction)
    found = theory.gradient_variance("independent", shaping, Pushed(few, variance).along(direction), 10)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("k", "tolerance"), [(10, 0.05), (300, 0.035)])
@pytest.mark.parametrize("shaping", INDEPENDENT)
def test_beyond_100_logits_the_probes_find_a_batch_s_variance(networks, monkeypatch, shaping, k, tolerance):
    """Σ tr(J C Jᵀ) of the batch in full, by 64 probes, whose error falls as the root of the noise's dimension."""
    monkeypatch.setattr("esgrad.measurement.pushed.EXACT_UP_TO", 2)
    for at in networks[k]:
        few = at.few(4)
        covariance = theory.covariance(shaping, few.logits, few.targets, 1.0, 30)
        rows = torch.stack([jacobian(few, example) for example in range(4)])
        exact = theory.pushed_variance(covariance, rows @ rows.mT).sum()
        found = BatchLaw(few, 1.0, pairs=False).variance("independent", shaping, 30).sum()
        assert float(found) == pytest.approx(float(exact), rel=tolerance)
        assert found != exact, "or the probes were not asked"


@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_beyond_100_logits_a_curvature_alike_across_the_gradient_is_all_but_exact(networks, monkeypatch, variance):
    """Given the exact |J|², the batch's variance is that of the whole covariance to one in a thousand."""
    monkeypatch.setattr("esgrad.measurement.pushed.EXACT_UP_TO", 2)
    for at in networks[300]:
        few = at.few(4)
        rows = torch.stack([jacobian(few, example) for example in range(4)])
        pushed = Pushed(few, variance, pairs=False)
        pushed.probes = pushed.probes._replace(num_logits=rows.square().sum((-1, -2))[None])
        seen = pushed._whole(few)
        covariance = theory.covariance("leave_one_out", few.logits, few.targets, variance, 30)
        exact = theory.pushed_variance(covariance, rows @ rows.mT).sum()
        found = theory.gradient_variance("independent", "leave_one_out", seen, 30).sum()
        assert float(found) == pytest.approx(float(exact), rel=1e-3)


@pytest.mark.parametrize("k", [2, 10])
def test_beyond_100_logits_a_curvature_that_is_alike_across_the_gradient_is_exact(networks, monkeypatch, k):
    """∇²p/p = −3 v̂v̂ᵀ + 2 (I − v̂v̂ᵀ), planted by its trace and its part along v̂, against v·∇²p v/p written out."""
    monkeypatch.setattr("esgrad.measurement.pushed.EXACT_UP_TO", 1)
    pushed = Pushed(networks[k][1].few(3), 1.0, pairs=False)
    trace, along = -3 + 2.0 * (k - 1), torch.full((3,), -3.0, dtype=torch.float64)
    pushed.place = pushed.place._replace(relative_laplacian=torch.full_like(along, trace), along=along)
    v = torch.randn(3, k, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    onto = (v * torch.nn.functional.normalize(pushed.log_gradient, dim=1)).sum(1).square()  # |v̂·v|²
    expected = -3 * onto + 2 * (v.square().sum(1) - onto)
    torch.testing.assert_close(pushed.along(v).relative_laplacian, expected, rtol=1e-9, atol=1e-9)


def test_the_dimension_of_the_noise_is_that_of_its_covariance(networks):
    """(tr S)²/tr S², S = Σ J C Jᵀ in full; 64 probes tell it to a fifth or so."""
    for at in networks[10]:
        covariance = theory.covariance("raw", at.logits, at.targets, 1.0, 30)
        rows = torch.stack([jacobian(at, example) for example in range(16)])
        whole = torch.einsum("bkd,bkj,bje->de", rows, covariance, rows)
        found = BatchLaw(at, 1.0).dimension("independent", "raw", 30)
        assert float(found) == pytest.approx(float(whole.trace() ** 2 / whole.square().sum()), rel=0.45)


# Cosine


@pytest.mark.parametrize("k", [2, 10, 300])
@pytest.mark.parametrize("num_samples", [10, 100])
def test_a_batch_s_mean_cosine_is_the_law_s(networks, k, num_samples):
    """Within 0.03 and 5 standard errors; maxrl, where one rare hit may decide the batch, 0.1."""
    draws, noise = 100 if k < 100 else 30, menu.load("noises", "independent")
    shapings = {name: menu.load("shapings", name) for name in ("raw", "leave_one_out", "maxrl")}
    for at in networks[k]:
        law, found = BatchLaw(at, 1.0), quality.estimates(at, noise, shapings, num_samples, 1.0, draws)
        for name, shaping in shapings.items():
            mean = quality._target(at, noise, shaping, num_samples, 1.0).gradient
            aim = law.aim(mean)
            pushed = at.push(found[name]).double()
            cosine = (pushed @ aim.direction / pushed.norm(dim=1)).nan_to_num(0.0)
            away = abs(law.cosine("independent", name, num_samples, aim, mean) - cosine.mean())
            slack = 0.1 if name == "maxrl" else 0.03
            assert away < slack + 5 * cosine.std() / draws**0.5, f"{at.stage}, {name}"


@pytest.mark.parametrize(("k", "num_samples"), [(2, 4), (10, 4), (10, 300)])
def test_of_gaussian_noise_the_cosine_is_all_but_right(networks, k, num_samples):
    """Estimates drawn with the mean and the whole covariance of raw ones, to ∇p and to ∇log p, where m turns away."""
    for at in networks[k][:2]:
        law, normals = BatchLaw(at, 1.0), torch.Generator().manual_seed(3)
        mean, covariance = theory.mean_and_covariance("raw", at.logits, at.targets, 1.0, num_samples)
        values, vectors = torch.linalg.eigh(covariance)
        drawn = torch.randn(1000, 16, k, generator=normals, dtype=torch.float64) * values.clamp(min=0).sqrt()
        pushed = at.push(mean + torch.einsum("bkj,nbj->nbk", vectors, drawn)).double()
        for wanted in (mean, law.pushed.log_gradient):
            aim = law.aim(wanted)
            cosine = pushed @ aim.direction / pushed.norm(dim=1)
            away = abs(law.cosine("independent", "raw", num_samples, aim, mean) - cosine.mean())
            assert away < (0.015 if k == 2 else 0.005) + 3 * cosine.std() / 1000**0.5


def test_at_many_samples_noise_along_the_gradient_does_not_turn_it(networks):
    """1 − cos² → (V − V∥)/|m|², which at two logits is well below V/|m|²."""
    at, pair, n = networks[2][0], ("independent", "raw"), 3e3
    law = BatchLaw(at, 1.0)
    mean = law.pushed.place.probability[:, None] * law.pushed.log_gradient
    aim = law.aim(mean)
    square = law._push(mean, aim.batch).square().sum()
    noise = law.variance(*pair, n).sum()
    along = theory.gradient_variance(*pair, aim.place, n).sum()
    turned = 1 - law.cosine(*pair, n, aim, mean) ** 2
    assert turned == pytest.approx(float((noise - along) / square), rel=0.03)
    assert along > 0.08 * noise


def test_where_nobody_hits_there_is_no_cosine(networks):
    """One example of p = 1/10 and N = 2: the law is (1 − P₀) of that given a hit, and 0 where nobody can hit."""
    at = networks[10][0].few(1)
    law = BatchLaw(at, 1.0)
    p = law.pushed.place.probability
    assert float(law._heard("independent", "raw", 2, slice(0, 1))) == pytest.approx(float(1 - (1 - p) ** 2))
    assert float(law._heard("independent", "maxrl", 2, slice(0, 1))) == pytest.approx(float(2 * p * (1 - p)))
    far = BatchLaw(at, 1e-6)
    mean = far.pushed.log_gradient
    assert far.pushed.place.probability < 1e-9
    assert 0 <= far.cosine("independent", "maxrl", 2, far.aim(mean), 2 * far.pushed.place.probability * mean) < 1e-6


@pytest.mark.parametrize("cosine", [0.3, 0.9])
def test_the_n_that_a_cosine_takes_gives_that_cosine(networks, cosine):
    law = BatchLaw(networks[10][1], 1.0, pairs=False)
    mean = law.pushed.place.probability[:, None] * law.pushed.log_gradient
    aim = law.aim(mean)
    needed = law.samples_needed("independent", "leave_one_out", cosine, aim, lambda _: mean)
    assert law.cosine("independent", "leave_one_out", needed, aim, mean) == pytest.approx(cosine, rel=1e-6)
    assert law.samples_needed("independent", "leave_one_out", cosine, aim, lambda _: -mean) == torch.inf
