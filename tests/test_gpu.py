"""Nothing is CPU-only: what runs on a GPU gives what the CPU gives, within what float32 leaves open.

The noise is the same to the bit (its body in plain torch is); matrix products round differently, so that now and then
a perturbed argmax falls the other way. Where there is no GPU these tests run on one that is pretended, which refuses to
mix its tensors with the CPU's as a real one does; and the plain bodies are held to the compiled ones.
"""

import importlib
import os
import subprocess
import sys
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
PRETENDED = bool(os.environ.get("PRETENDED_CARD"))
DEVICE = "card" if PRETENDED else "cuda"
on_gpu = pytest.mark.skipif(not (torch.cuda.is_available() or PRETENDED), reason="torch finds no GPU on this machine")
by_triton = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
ACCURACY_TOLERANCE = 0.05  # of a run's validation accuracy, after 60 steps; a tenth of what the run gains


@pytest.fixture(autouse=True)
def card():
    if not PRETENDED:
        yield
        return
    from tests.pretended_card import pretended  # here: it tells torch of a device, for the rest of the process

    with pretended():
        yield


@pytest.mark.slow
@pytest.mark.skipif(PRETENDED or torch.cuda.is_available(), reason="it runs here")
def test_all_of_this_runs_on_a_card_that_is_pretended():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__]
    done = subprocess.run(command, env=os.environ | {"PRETENDED_CARD": "1"}, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:]
    passed = int(done.stdout.strip().splitlines()[-1].split(" passed")[0].split()[-1])
    assert passed > 60, done.stdout[-2000:]


@on_gpu
def test_a_card_refuses_to_mix_its_tensors_with_the_cpu_s():
    x = torch.ones(3, 4, device=DEVICE)
    with pytest.raises(RuntimeError):
        x + torch.ones(3, 4)
    with pytest.raises((RuntimeError, TypeError)):
        x.numpy()
    assert (x + torch.ones(())).sum().item() == 24


def smoke_jobs():
    return {job.path: job for job in config.jobs(config.read(ROOT / "config" / "smoke.yaml"))}


@on_gpu
@pytest.mark.parametrize("path", smoke_jobs())
def test_a_smoke_cell_on_the_gpu_equals_the_cpus_within_tolerance(digits, path):
    job = smoke_jobs()[path]
    num_samples = max(job.num_samples, key=lambda n: n or 0)
    images = menu.load("blackboxes", job.blackbox).prepare(digits)
    groups = [((job.variance_candidates or job.noise_variance)[0], 0.01)]
    accuracies = {
        device: [
            row["validation_accuracy"]
            for row in training.train(job, images, num_samples, groups, [0, 1], job.steps(num_samples), device)
        ]
        for device in ("cpu", DEVICE)
    }
    assert accuracies[DEVICE] == pytest.approx(accuracies["cpu"], abs=ACCURACY_TOLERANCE)


def methods():
    default = config.read(ROOT / "config" / "config.yaml")["methods"]
    population = {"space": "parameters", "noise": "mirrored", "shaping": "centered_ranks"}
    settings = {
        "a_subset": {"subset": 0.5},
        "a_table": {"table_size": 100_000},
        "own_batches": {"own_batches": True},
        "broken_ties": {"break_ties": True},
        "momentum": {"optimizer": "momentum"},
        "cosine": {"rate_schedule": "cosine"},
    }
    return default | {name: population | words for name, words in settings.items()}


@on_gpu
@pytest.mark.parametrize(
    ("method", "model"),
    [(name, "mlp") for name in methods()]
    + [(name, "cnn") for name, words in methods().items() if words.get("space") == "parameters"],
)
def test_every_method_trains_on_the_gpu(digits, method, model):
    words = methods()[method]
    relative = {words["relative"]: methods()[words["relative"]]} if words.get("relative") else {}
    experiment = {"dataset": "digits", "model": model, "methods": method, "num_samples": 4, "max_steps": 2}
    experiment |= {"hidden_size": 8, "batch_size": 8, "num_seeds": 1}
    made = config.validated({"name": "x", "methods": relative | {method: words}, "experiments": {"e": experiment}})
    job = config.jobs(made)[0]
    group = (None if job.exact == "backprop" else 0.5, 0.01)
    num_samples = None if job.exact else 4
    rows = list(training.train(job, digits, num_samples, [group], [0, 1], 2, DEVICE))
    assert {row["status"] for row in rows} == {"ok"}


@on_gpu
@pytest.mark.parametrize("part", ["fill", "at_the_logits", "at_the_parameters", "training"])
def test_the_bench_for_a_card_keeps_its_tensors_there(part, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bench = importlib.import_module("gpu")
    monkeypatch.setattr(bench, "DEVICE", torch.device(DEVICE))
    monkeypatch.setattr(bench, "SIZE", 0.003)
    if PRETENDED:  # which inference mode cannot mark
        monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    assert list(getattr(bench, part)(1))


@on_gpu
def test_normals_on_the_gpu_are_those_of_the_cpu_to_the_bit():
    arguments = ([0, 7], streams.Role.NOISE, 3, 5, 40, 9, 11)
    assert torch.equal(streams.normals(*arguments, device=DEVICE).cpu(), streams.normals(*arguments))


@by_triton
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


@by_triton
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
    for device in ("cpu", DEVICE):
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

    for found, expected in zip(drawn(DEVICE), drawn("cpu"), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@on_gpu
def test_gradients_at_the_logits_on_the_gpu_equal_the_cpus():
    logits = streams.normals([1], streams.Role.QUALITY, 0, 0, 1, 16, 10)[0, 0]
    targets = torch.arange(16) % 10
    keywords = {"num_samples": 200, "noise_variance": 2.0, "seed": 3, "step": 4, "shaping": "maxrl"}
    found, expected = (es_gradient(logits.to(d), targets.to(d), **keywords).cpu() for d in (DEVICE, "cpu"))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    found, expected = (exact_gradient(logits.to(d), targets.to(d), 2.0)[1].cpu() for d in (DEVICE, "cpu"))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def by_black_box(device, fn, x, *others, mask=None, **words):
    """The gradient at x of minus the sum of what a black box of `fn` answers on a device, and what it answers."""
    f = blackbox(fn, num_samples=64, noise_variance=0.25, seed=3, **words)
    point = x.clone().to(device).requires_grad_()
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
    (cpu, _), (cuda, said) = (by_black_box(each, fn, x, *others, mask=mask, **words) for each in ("cpu", DEVICE))
    torch.testing.assert_close(cuda, cpu, atol=1e-4, rtol=1e-4)
    assert said.isfinite().all()


@on_gpu
def test_a_black_box_works_where_the_gpu_is_the_default_device():
    with torch.device(DEVICE):
        f = blackbox(lambda x: x.sum(-1), num_samples=8, noise_variance=0.25, seed=3)
        x = torch.zeros(4, 3, requires_grad=True)
        f(x).sum().backward()
        f.load_state_dict(f.state_dict())
    assert x.grad.device.type == DEVICE
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
