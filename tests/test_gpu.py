"""Nothing is CPU-only: what runs on a GPU gives what the CPU gives, within what float32 leaves open.

The noise is the same to the bit (its body in plain torch is); matrix products round differently, so that now and then
a perturbed argmax falls the other way. Where there is no GPU the plain bodies are held to the compiled ones instead.
"""

from pathlib import Path

import pytest
import torch

from esgrad import es_gradient, exact_gradient, menu
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
