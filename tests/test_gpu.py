"""Nothing is CPU-only: what runs on a GPU gives what the CPU gives, within what float32 leaves open.

The noise is the same to the bit (its body in plain torch is); matrix products round differently, so that now and then
a perturbed argmax falls the other way. Where there is no GPU the plain bodies are held to the compiled ones instead.
"""

from pathlib import Path

import pytest
import torch

from esgrad import blackbox, es_gradient, exact_gradient, menu
from esgrad.kernels import argmax, streams, weighted_sum
from esgrad.suite import config
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
