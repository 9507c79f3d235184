"""Nothing is CPU-only: what runs on a GPU gives what the CPU gives, within what float32 leaves open.

The noise is the same to the bit (its body in plain torch is); matrix products round differently, so that now and then
a perturbed argmax falls the other way. Where there is no GPU the plain bodies are held to the compiled ones instead.
"""

from pathlib import Path

import pytest
import torch

from esgrad import blackbox, es_gradient, exact_gradient, menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.key import Key
from esgrad.kernels import argmax, hits, noise_sum, streams, weighted_sum
from esgrad.suite import config
from esgrad.tasks.stack import Stack, initialised
from esgrad.training import loop as training

ROOT = Path(__file__).parents[1]
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
ACCURACY_TOLERANCE = 0.05  # of a run's validation accuracy, after 60 steps; a tenth of what the run gains


def smoke_jobs():
    return {job.path: job for job in config.jobs(config.read(ROOT / "config" / "smoke.yaml"))}


@on_gpu
@pytest.mark.parametrize("path", smoke_jobs())
def test_a_smoke_cell_on_the_gpu_equals_the_cpus_within_tolerance(digits, path):
    job = smoke_jobs()[path]
    num_samples = max(job.num_samples, key=lambda n: n or 0)
    images = menu.load("blackboxes", job.blackbox).prepare(digits)
    groups = [(job.noise_variance[0], 0.01)]
    accuracies = {
        device: [
            row["validation_accuracy"]
            for row in training.train(job, images, num_samples, groups, [0, 1], job.steps(num_samples), device)
        ]
        for device in ("cpu", "cuda")
    }
    assert accuracies["cuda"] == pytest.approx(accuracies["cpu"], abs=ACCURACY_TOLERANCE)


@on_gpu
def test_normals_on_the_gpu_are_those_of_the_cpu_to_the_bit():
    arguments = ([0, 7], streams.Role.NOISE, 3, 5, 40, 9, 11)
    assert torch.equal(streams.normals(*arguments, device="cuda").cpu(), streams.normals(*arguments))


@on_gpu
@pytest.mark.parametrize("dimension", [1, 10, 4097])
def test_triton_s_kernels_have_the_bits_of_plain_torch(dimension):
    """The fill, some of its blocks, and sums of noise, at sizes for which an interpreter is too slow."""
    place = [0, 2**32 - 1], streams.Role.NOISE, 2**32 - 1, 5, 305
    found, expected = (streams.normals(*place, 3, dimension, "cuda", body=body) for body in ("triton", "torch"))
    assert torch.equal(found, expected)
    numbers = torch.arange(-(-dimension // 4)).flip(0)
    found, expected = (streams.blocks(*place, numbers, "cuda", position=7, body=body) for body in ("triton", "torch"))
    assert torch.equal(found, expected)
    weights = torch.randn(2, 3, 300, generator=torch.Generator().manual_seed(0)).cuda()
    for square in (False, True):
        asked = weights, [3, 9], streams.Role.NOISE, 4, dimension
        found, expected = (noise_sum.noise_sum(*asked, square=square, body=body) for body in ("triton", "torch"))
        assert torch.equal(found, expected)


@on_gpu
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_hits_on_the_gpu_are_those_of_plain_torch_to_the_bit(classes, pairs):
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(2, 2, 8, classes, generator=generator).cuda()
    targets, sigma = logits.argmax(-1), torch.rand(2, 2, 8, generator=generator).cuda() + 0.3
    found = []
    for way in ("auto", "torch"):
        sums, whole = (torch.zeros(2, runs, 8, 16, classes, device="cuda") for runs in (2, 1))
        counts = torch.zeros(2, 2, 8, dtype=torch.float64, device="cuda")
        for start, stop in ((0, 30), (30, 400)):
            hits.add(sums, counts, whole, logits, targets, sigma, [1, 2], 2, 3, start, stop, pairs=pairs, way=way)
        found.append((sums, counts, whole))
    assert 0 < found[0][1].mean() < 400
    assert all(map(torch.equal, *found))


@on_gpu
@pytest.mark.parametrize("noise", ["independent", "mirrored", "low_rank"])
def test_a_population_on_the_gpu_is_that_of_the_cpu(noise):
    """To rounding: the products are a GPU's own."""
    found = []
    for device in ("cpu", "cuda"):
        networks = [initialised(lambda: menu.load("models", "mlp").build((1, 28, 28), 10, 32), seed) for seed in (0, 1)]
        images = torch.rand(2, 16, 1, 28, 28, generator=torch.Generator().manual_seed(0)).to(device)
        targets = torch.arange(16, device=device).expand(2, -1) % 10
        box = menu.load("blackboxes", "cross_entropy")
        at = menu.load("spaces", "parameters").place(Stack(networks, device), images, targets, box)
        estimator = Estimator.of(noise, "noise", "z_score", 40)
        variance = torch.tensor([0.01, 0.04], device=device)
        found.append(estimator.gradient(at.fitness, at.point, variance, Key([3, 4], 2, 1)).gradient.cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)


@on_gpu
@pytest.mark.parametrize("noise", menu.names("noises"))
def test_every_noise_on_the_gpu_is_that_of_the_cpu(noise):
    """To rounding: a logarithm or Gram and Schmidt's sums may differ in the last bit."""
    module = menu.load("noises", noise)

    def drawn(device):
        def normals(start, stop):
            return streams.normals([0, 7], streams.Role.NOISE, 3, start, stop, 9, 11, device=device)

        directions = module.directions(normals, 32, 74)
        return directions.cpu(), module.score(directions).cpu()

    for found, expected in zip(drawn("cuda"), drawn("cpu"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@on_gpu
def test_gradients_at_the_logits_on_the_gpu_equal_the_cpus():
    logits = streams.normals([1], streams.Role.QUALITY, 0, 0, 1, 16, 10)[0, 0]
    targets = torch.arange(16) % 10
    keywords = {"num_samples": 200, "noise_variance": 2.0, "seed": 3, "step": 4, "shaping": "maxrl"}
    found, expected = (es_gradient(logits.to(d), targets.to(d), **keywords).cpu() for d in ("cuda", "cpu"))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    found, expected = (exact_gradient(logits.to(d), targets.to(d), 2.0)[1].cpu() for d in ("cuda", "cpu"))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def by_black_box(device, fn, x, *others, mask=None, **words):
    """The gradient at x of minus the sum of what a black box of `fn` answers on a device, and what it answers."""
    f = blackbox(fn, num_samples=64, noise_variance=0.25, seed=3, **words)
    point = x.to(device).requires_grad_()
    said = f(point, *(each.to(device) for each in others), step=2, mask=None if mask is None else mask.to(device))
    (-said.sum()).backward()
    return point.grad.cpu(), said.detach().cpu()


BOXES = {
    "numbers": (lambda x: x.square().sum(-1), {}),
    "vectors": (lambda x: x.round(), {}),
    "one for all": (lambda x: (x.sum(-1) > 0).double().mean(), {}),
    "hits": (lambda x, y: x.argmax(-1) == y, {"inputs": [0]}),
    "classes": (lambda c, y: c == y, {"inputs": [0], "credit": "class"}),
    "a host's list": (lambda x: x.tolist() and [row.max().item() for row in x.cpu()], {}),
}


@on_gpu
@pytest.mark.parametrize("box", BOXES)
def test_a_black_box_on_the_gpu_equals_the_cpus(box):
    fn, words = BOXES[box]
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    others = [torch.arange(6) % 5] if "inputs" in words else []
    mask = None if box == "one for all" else torch.arange(6) != 2
    (cpu, _), (cuda, said) = (by_black_box(each, fn, x, *others, mask=mask, **words) for each in ("cpu", "cuda"))
    torch.testing.assert_close(cuda, cpu, atol=1e-4, rtol=1e-4)
    assert said.isfinite().all()


@on_gpu
def test_a_black_box_works_where_the_gpu_is_the_default_device():
    with torch.device("cuda"):
        f = blackbox(lambda x: x.sum(-1), num_samples=8, noise_variance=0.25, seed=3)
        x = torch.zeros(4, 3, requires_grad=True)
        f(x).sum().backward()
        f.load_state_dict(f.state_dict())
    assert x.grad.device.type == "cuda"
    assert (f.step, f.queries) == (1, 4 * 9)


def test_training_by_the_plain_bodies_equals_training_by_the_compiled_ones(digits, monkeypatch):
    job = next(job for path, job in smoke_jobs().items() if "/maxrl/" in path)

    def accuracies():
        rows = training.train(job, digits, 10, [(1.0, 0.01)], [0, 1], 20, "cpu")
        return [row["validation_accuracy"] for row in rows]

    compiled = accuracies()
    normals = streams.normals
    monkeypatch.setattr(streams, "normals", lambda *a, **k: normals(*a, **k, body="torch"))
    monkeypatch.setattr(weighted_sum, "add", weighted_sum.add_torch)
    monkeypatch.setattr(argmax, "argmax", lambda logits: logits.argmax(-1))
    assert accuracies() == pytest.approx(compiled, abs=ACCURACY_TOLERANCE)
