"""The law of a mini-batch behind the chain rule: variance, cosine and N against covariances and draws in full."""

import pytest
import torch

from esgrad import laws as theory
from esgrad import menu
from esgrad.laws.curvature import curvature
from esgrad.measurement import checkpoints, quality
from esgrad.measurement.batch_law import BatchLaw
from esgrad.measurement.pushed import Pushed
from esgrad.measurement.sampler import Sampler
from esgrad.suite import config
from esgrad.tasks.data import decode

LECTURE = menu.load("noises", "independent"), menu.load("credits", "noise")
COUNTED = {
    name: shaping for name in menu.names("shapings") if theory.has_law(*LECTURE, shaping := menu.load("shapings", name))
}
RAW, LEAVE_ONE_OUT, MAXRL = (COUNTED[name] for name in ("raw", "leave_one_out", "maxrl"))
EACH_SHAPING = pytest.mark.parametrize("shaping", COUNTED.values(), ids=COUNTED)


@pytest.fixture(scope="module")
def networks(digits):
    """Small networks at the start, half-way and trained, by their K."""
    made = {}
    for k, steps in [(2, 30), (10, 150), (300, 150)]:
        data = digits if k > 2 else decode("digits-2", "data")
        job = config.backprop_job("digits" if k > 2 else "digits-2", k, steps, 0.01, hidden_size=16)
        made[k] = checkpoints.make(job, data, 16)
    return made


def law_of(at, variance) -> BatchLaw:
    return BatchLaw(at, *LECTURE, variance)


def covariance_of(shaping, at, variance, num_samples):
    """With all of ∇²p, at any K."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("esgrad.laws.gaussian.EXACT_UP_TO", 1000)
        moments = theory.moments(*LECTURE, at.logits, at.targets, variance, whole=True)
    return theory.covariance(shaping, moments, num_samples)


def jacobian(at, example: int):
    """[K, d], row by row."""
    return at.push(torch.eye(at.logits.shape[1])[:, None], example).double()


# Variance


@pytest.mark.parametrize("variance", [0.25, 4.0])
@EACH_SHAPING
def test_what_is_pushed_has_the_variance_of_the_whole_covariance(networks, variance, shaping):
    """tr(J C Jᵀ) written out, C from `theory.covariance` and J row by row: the same, example by example."""
    for at in networks[10]:
        few = at.few(5)
        covariance = covariance_of(shaping, few, variance, 10)
        rows = torch.stack([jacobian(few, example) for example in range(5)])
        found = law_of(few, variance).variance(shaping, 10)
        torch.testing.assert_close(found, theory.pushed_variance(covariance, rows @ rows.mT), rtol=1e-5, atol=0)


@pytest.mark.parametrize("variance", [0.25, 4.0])
@EACH_SHAPING
def test_the_noise_along_a_direction_is_that_of_the_whole_covariance(networks, variance, shaping):
    few = networks[10][2].few(5)
    direction = torch.randn(5, 10, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    covariance = covariance_of(shaping, few, variance, 10)
    expected = torch.einsum("ej,ejk,ek->e", direction, covariance, direction)
    found = theory.gradient_variance(shaping, Pushed(few, *LECTURE, variance).along(direction), 10)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("k", "tolerance"), [(10, 0.05), (300, 0.035)])
@EACH_SHAPING
def test_beyond_100_logits_the_probes_find_a_batch_s_variance(networks, monkeypatch, shaping, k, tolerance):
    """Σ tr(J C Jᵀ) of the batch in full, by 64 probes, whose error falls as the root of the noise's dimension."""
    monkeypatch.setattr("esgrad.measurement.pushed.EXACT_UP_TO", 2)
    monkeypatch.setattr("esgrad.laws.gaussian.EXACT_UP_TO", 2)
    for at in networks[k]:
        few = at.few(4)
        covariance = covariance_of(shaping, few, 1.0, 30)
        rows = torch.stack([jacobian(few, example) for example in range(4)])
        exact = theory.pushed_variance(covariance, rows @ rows.mT).sum()
        found = law_of(few, 1.0).variance(shaping, 30).sum()
        assert float(found) == pytest.approx(float(exact), rel=tolerance)
        assert found != exact, "or the probes were not asked"


@pytest.mark.parametrize("variance", [0.25, 4.0])
def test_beyond_100_logits_a_curvature_alike_across_the_gradient_is_all_but_exact(networks, monkeypatch, variance):
    """Given the exact |J|², the batch's variance is that of the whole covariance to one in a thousand."""
    monkeypatch.setattr("esgrad.measurement.pushed.EXACT_UP_TO", 1000)
    for at in networks[300]:
        few = at.few(4)
        rows = torch.stack([jacobian(few, example) for example in range(4)])
        seen = Pushed(few, *LECTURE, variance).whole
        covariance = covariance_of(LEAVE_ONE_OUT, few, variance, 30)
        exact = theory.pushed_variance(covariance, rows @ rows.mT).sum()
        found = theory.gradient_variance(LEAVE_ONE_OUT, seen, 30).sum()
        assert float(found) == pytest.approx(float(exact), rel=1e-3)


@pytest.mark.parametrize("k", [2, 10])
def test_beyond_100_logits_a_curvature_that_is_alike_across_the_gradient_is_exact(networks, monkeypatch, k):
    """∇²p/p = −3 v̂v̂ᵀ + 2 (I − v̂v̂ᵀ), planted by its trace and its part along v̂, against v·∇²p v/p written out."""
    trace, along = -3 + 2.0 * (k - 1), torch.full((3,), -3.0, dtype=torch.float64)

    def planted(*arguments):
        return curvature(*arguments)._replace(laplacian=torch.full_like(along, trace), along=along)

    monkeypatch.setattr("esgrad.laws.gaussian.EXACT_UP_TO", 1)
    monkeypatch.setattr("esgrad.laws.gaussian.curvature", planted)
    moments = Pushed(networks[k][1].few(3), *LECTURE, 1.0).moments
    v = torch.randn(3, k, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    onto = (v * torch.nn.functional.normalize(moments.gradient, dim=1)).sum(1).square()  # |v̂·v|²
    bend = -3 * onto + 2 * (v.square().sum(1) - onto)
    for form, factor in [(moments.hit, 1.0), (moments.missed, -moments.log_probability.exp() / moments.miss)]:
        expected = v.square().sum(1) + factor * bend  # of E(ssᵀ)/σ² = I/t + ∇²p/p, and of misses −o times the latter
        found = form.along(v, (v * moments.gradient).sum(1).square())
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        written_out = torch.einsum("ej,ejk,ek->e", v, form.matrix(), v)
        torch.testing.assert_close(written_out, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(form.trace, k + factor * torch.full_like(along, trace), rtol=1e-9, atol=1e-9)


def test_the_dimension_of_the_noise_is_that_of_its_covariance(networks):
    """(tr S)²/tr S², S = Σ J C Jᵀ in full; 64 probes tell it to a fifth or so."""
    for at in networks[10]:
        covariance = covariance_of(RAW, at, 1.0, 30)
        rows = torch.stack([jacobian(at, example) for example in range(16)])
        whole = torch.einsum("bkd,bkj,bje->de", rows, covariance, rows)
        found = law_of(at, 1.0).dimension(RAW, 30)
        assert float(found) == pytest.approx(float(whole.trace() ** 2 / whole.square().sum()), rel=0.45)


# Cosine


@pytest.mark.parametrize("k", [2, 10, 300])
@pytest.mark.parametrize("num_samples", [10, 100])
def test_a_batch_s_mean_cosine_is_the_law_s(networks, k, num_samples):
    """Within 0.03 and 5 standard errors; maxrl, where one rare hit may decide the batch, 0.1."""
    draws, sampler = 100 if k < 100 else 30, Sampler.of("independent", "noise", ["raw", "leave_one_out", "maxrl"])
    for at in networks[k]:
        law, found = law_of(at, 1.0), quality.estimates(at, sampler, num_samples, 1.0, draws)
        for name, shaping in sampler.shapings.items():
            mean = quality._target(at, sampler.noise, shaping, num_samples, 1.0).gradient
            aim = law.aim(mean)
            pushed = at.push(found[name]).double()
            cosine = (pushed @ aim.direction / pushed.norm(dim=1)).nan_to_num(0.0)
            away = abs(law.cosine(shaping, num_samples, aim, mean) - cosine.mean())
            slack = 0.1 if name == "maxrl" else 0.03
            assert away < slack + 5 * cosine.std() / draws**0.5, f"{at.stage}, {name}"


@pytest.mark.parametrize(("k", "num_samples"), [(2, 4), (10, 4), (10, 300)])
def test_of_gaussian_noise_the_cosine_is_all_but_right(networks, k, num_samples):
    """Estimates drawn with the mean and the whole covariance of raw ones, to ∇p and to ∇log p, where m turns away."""
    for at in networks[k][:2]:
        law, normals = law_of(at, 1.0), torch.Generator().manual_seed(3)
        mean, covariance = theory.mean_and_covariance(RAW, law.pushed.moments, num_samples)
        values, vectors = torch.linalg.eigh(covariance)
        drawn = torch.randn(1000, 16, k, generator=normals, dtype=torch.float64) * values.clamp(min=0).sqrt()
        pushed = at.push(mean + torch.einsum("bkj,nbj->nbk", vectors, drawn)).double()
        for wanted in (mean, law.pushed.moments.gradient):
            aim = law.aim(wanted)
            cosine = pushed @ aim.direction / pushed.norm(dim=1)
            away = abs(law.cosine(RAW, num_samples, aim, mean) - cosine.mean())
            assert away < (0.015 if k == 2 else 0.005) + 3 * cosine.std() / 1000**0.5


def test_at_many_samples_noise_along_the_gradient_does_not_turn_it(networks):
    """1 − cos² → (V − V∥)/|m|², which at two logits is well below V/|m|²."""
    at, n = networks[2][0], 3e3
    law = law_of(at, 1.0)
    mean = law.pushed.place.probability[:, None] * law.pushed.moments.gradient
    aim = law.aim(mean)
    square = law._push(mean, aim.batch).square().sum()
    noise = law.variance(RAW, n).sum()
    along = theory.gradient_variance(RAW, aim.place, n).sum()
    turned = 1 - law.cosine(RAW, n, aim, mean) ** 2
    assert turned == pytest.approx(float((noise - along) / square), rel=0.03)
    assert along > 0.08 * noise


def test_where_nobody_hits_there_is_no_cosine(networks):
    """One example of p = 1/10 and N = 2: the law is (1 − P₀) of that given a hit, and 0 where nobody can hit."""
    at = networks[10][0].few(1)
    law = law_of(at, 1.0)
    p = law.pushed.place.probability
    assert float(law._heard(RAW, 2, slice(0, 1))) == pytest.approx(float(1 - (1 - p) ** 2))
    assert float(law._heard(MAXRL, 2, slice(0, 1))) == pytest.approx(float(2 * p * (1 - p)))
    far = law_of(at, 1e-6)
    mean = far.pushed.moments.gradient
    assert far.pushed.place.probability < 1e-9
    assert 0 <= far.cosine(MAXRL, 2, far.aim(mean), 2 * far.pushed.place.probability * mean) < 1e-6


@pytest.mark.parametrize("cosine", [0.3, 0.9])
def test_the_n_that_a_cosine_takes_gives_that_cosine(networks, cosine):
    law = law_of(networks[10][1], 1.0)
    mean = law.pushed.place.probability[:, None] * law.pushed.moments.gradient
    aim = law.aim(mean)
    needed = law.samples_needed(LEAVE_ONE_OUT, cosine, aim, lambda _: mean)
    assert law.cosine(LEAVE_ONE_OUT, needed, aim, mean) == pytest.approx(cosine, rel=1e-6)
    assert law.samples_needed(LEAVE_ONE_OUT, cosine, aim, lambda _: -mean) == torch.inf
