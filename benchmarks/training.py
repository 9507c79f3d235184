"""A step of training: a stack of runs by esgrad, beside runs stacked by hand and beside one after another, in torch.

One thread. By hand means: `baddbmm` over the runs, noise for all samples at once that the rates of a seed share, Adam
in place, no checks, no records, no evaluation; at the parameters one `baddbmm` over all members of a seed's runs. One
after another is what a good user writes for one run with torch.nn, torch.func and torch.optim. All are timed at steps
in the middle of a run.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Semaphore, Thread
from typing import Any

import torch
from rounds import ratios
from torch import Tensor, nn
from torch.func import functional_call, vmap

from esgrad.suite.config import jobs, validated
from esgrad.tasks import data
from esgrad.tasks.data import Data
from esgrad.training import loop

RATES = [0.001, 0.003, 0.01, 0.03]
SETTINGS = {"digits": (32, 32, 5), "mnist": (128, 128, 3)}
"""Of each data set: hidden units, batch size, seeds."""
ARMS = {
    "backprop": ({"exact": "backprop"}, None),
    "maxrl": ({"shaping": "maxrl"}, 10),
    "lecture": ({"shaping": "raw"}, 100),
    "openai_es": ({"space": "parameters", "noise": "mirrored", "shaping": "centered_ranks"}, 100),
}
VARIANCE = {"logits": 1.0, "parameters": 0.01}
"""t, by space."""
STEPS = {"logits": 20, "parameters": 2}
"""At a time, by space: at the parameters one takes seconds."""
DATA = os.environ.get("DATA_ROOT", "data")
STACKED, ALONE = "stacked by hand", "one run after another"


class ByHand:
    """R runs of a perceptron with one hidden layer as four tensors, and Adam on these."""

    def __init__(self, images: Data, arm: str, num_samples: int | None, hidden: int, batch: int, seeds: int) -> None:
        self.arm, self.samples, self.batch, self.seeds, self.group = arm, num_samples, batch, seeds, len(RATES)
        runs, inputs = seeds * len(RATES), images.images[0].numel()
        self.pixels, self.labels, self.scale = images.images.flatten(1), images.targets, float(images.scale)
        shapes = [(inputs, hidden), (1, hidden), (hidden, 10), (1, 10)]
        self.parameters = [(torch.randn(runs, *shape) * 0.05).requires_grad_() for shape in shapes]
        self.mean = [torch.zeros_like(each) for each in self.parameters]
        self.square = [torch.zeros_like(each) for each in self.parameters]
        self.rate, self.count = torch.tensor(RATES).repeat(seeds).view(-1, 1, 1), 0

    def step(self) -> None:
        """One step of all runs."""
        index = torch.randint(len(self.pixels), (self.seeds, self.batch))
        x = (self.pixels[index].float() / self.scale).repeat_interleave(self.group, 0)
        y = self.labels[index].repeat_interleave(self.group, 0)
        if self.arm == "openai_es":
            with torch.no_grad():
                self._adam(self._es(x, y))
            return
        w1, b1, w2, b2 = self.parameters
        logits = torch.baddbmm(b2, torch.baddbmm(b1, x, w1).relu(), w2)
        if self.arm == "backprop":
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / self.batch
            gradients = torch.autograd.grad(loss, self.parameters)
        else:
            with torch.no_grad():
                upstream = -self._estimate(logits, y) / self.batch
            gradients = torch.autograd.grad(logits, self.parameters, upstream)
        self._adam(gradients)

    def _estimate(self, logits: Tensor, y: Tensor) -> Tensor:
        q = torch.randn(self.samples, self.seeds, 1, self.batch, 10)
        points = logits.unflatten(0, (self.seeds, -1)) + q
        f = (points.argmax(-1) == y.unflatten(0, (self.seeds, -1))).float()  # [N, S, G, B]
        if self.arm == "maxrl":
            hits = f.sum(0)
            f = torch.where(hits > 0, f / hits.clamp(min=1) - 1 / self.samples, 0.0)
        else:
            f = f / self.samples
        return torch.einsum("nsgb,nsobk->sgbk", f, q).flatten(0, 1)

    def _es(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """The descent by noise at the parameters, seed by seed, which bounds what is in memory."""
        sigma, half, found = VARIANCE["parameters"] ** 0.5, self.samples // 2, []
        for seed in range(self.seeds):
            of = slice(seed * self.group, (seed + 1) * self.group)
            noise = [torch.randn(half, *each.shape[1:]) for each in self.parameters]
            both = [torch.cat([z, -z]) * sigma for z in noise]  # of each direction both signs, for all rates of a seed
            members = [p[of, None] + z for p, z in zip(self.parameters, both, strict=True)]
            w1, b1, w2, b2 = (each.flatten(0, 1) for each in members)
            inputs = x[of][:1].expand(len(w1), -1, -1)
            logits = torch.baddbmm(b2, torch.baddbmm(b1, inputs, w1).relu(), w2)
            f = (logits.argmax(-1) == y[of][:1]).float().mean(-1).view(self.group, -1)  # [G, N]
            weights = ranks(f)[:, :half] - ranks(f)[:, half:]
            found.append([-torch.einsum("gn,noh->goh", weights, z) / sigma for z in noise])
        return [torch.cat(each) for each in zip(*found, strict=True)]

    def _adam(self, gradients: Sequence[Tensor]) -> None:
        self.count += 1
        first, second = 1 - 0.9**self.count, 1 - 0.999**self.count
        with torch.no_grad():
            for p, g, m, v in zip(self.parameters, gradients, self.mean, self.square, strict=True):
                m.lerp_(g, 0.1)
                v.mul_(0.999).addcmul_(g, g, value=0.001)
                p.sub_((v / second).sqrt_().add_(1e-8).reciprocal_().mul_(m).mul_(self.rate / first))


def ranks(fitness: Tensor) -> Tensor:
    """Centered ranks over the last dimension, ties in any order, over N."""
    count = fitness.shape[-1]
    return (fitness.argsort(-1).argsort(-1) / (count - 1) - 0.5) / count


def alone(images: Data, arm: str, num_samples: int | None, hidden: int, batch: int) -> Callable[[], Any]:
    """A step of one run, as a good user writes it."""
    pixels, labels, scale = images.images.flatten(1), images.targets, float(images.scale)
    network = nn.Sequential(nn.Linear(pixels.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    def step() -> None:
        index = torch.randint(len(pixels), (batch,))
        y = labels[index]
        x = pixels[index].float() / scale
        optimizer.zero_grad()
        if arm == "openai_es":
            with torch.no_grad():
                climb(network, x, y, num_samples)
            optimizer.step()
            return
        logits = network(x)
        if arm == "backprop":
            nn.functional.cross_entropy(logits, y).backward()
        else:
            with torch.no_grad():
                q = torch.randn(num_samples, *logits.shape)
                f = ((logits + q).argmax(-1) == y).float()
                f = f / f.sum(0).clamp(min=1) - (f.sum(0) > 0) / num_samples if arm == "maxrl" else f / num_samples
                gradient = torch.einsum("nb,nbk->bk", f, q) / batch
            logits.backward(-gradient)
        optimizer.step()

    return step


def climb(network: nn.Module, x: Tensor, y: Tensor, num_samples: int) -> None:
    """Gradients by mirrored noise at the parameters, all members at once by `vmap`."""
    sigma, half = VARIANCE["parameters"] ** 0.5, num_samples // 2
    noise = {name: torch.randn(half, *p.shape) for name, p in network.named_parameters()}
    members = {
        name: torch.cat([p + sigma * noise[name], p - sigma * noise[name]]) for name, p in network.named_parameters()
    }
    logits = vmap(lambda parameters: functional_call(network, parameters, x))(members)
    f = (logits.argmax(-1) == y).float().mean(-1)
    weights = ranks(f)[:half] - ranks(f)[half:]
    for name, p in network.named_parameters():
        p.grad = -torch.einsum("n,n...->...", weights, noise[name]) / sigma


def ours(images: Data, dataset: str, method: dict, num_samples: int | None, hidden: int, batch: int, seeds: int) -> Any:
    """A step of esgrad's own loop, forever."""
    experiment = {
        "dataset": dataset,
        "hidden_size": hidden,
        "methods": "arm",
        "num_samples": num_samples or 1,
        "batch_size": batch,
        "max_steps": 10**8,
    }
    (job,) = jobs(validated({"name": "bench", "methods": {"arm": method}, "experiments": {"bench": experiment}}))
    space = method.get("space", "logits")
    t = None if "exact" in method else VARIANCE[space]
    groups = [(t, rate) for rate in RATES]
    arguments = job, images, num_samples, groups, range(seeds), 10**8, "cpu"
    return _Paused(lambda watch: list(loop.train(*arguments, ends_only=True, watch=watch)), STEPS[space]).go


class _Paused:
    """A training that does some steps when it is told to, and waits."""

    def __init__(self, train: Callable[[Callable[[int, Any], None]], Any], steps: int) -> None:
        self.steps, self.told, self.done = steps, Semaphore(0), Semaphore(0)
        Thread(target=train, args=[self._watch], daemon=True).start()
        self.done.acquire()

    def _watch(self, step: int, _: Any) -> None:
        if step % self.steps == 0:
            self.done.release()
            self.told.acquire()

    def go(self) -> None:
        """The next steps."""
        self.told.release()
        self.done.acquire()


def repeated(step: Callable[[], Any], times: int) -> None:
    """So many steps."""
    for _ in range(times):
        step()


def rows(num_rounds: int) -> Iterator[dict]:
    """Each data set and arm, 20 runs or 12."""
    loop.settle()
    for dataset, (hidden, batch, seeds) in SETTINGS.items():
        images = data.decode(dataset, DATA)
        for arm, (method, num_samples) in ARMS.items():
            steps = STEPS[method.get("space", "logits")]
            by_hand = ByHand(images, arm, num_samples, hidden, batch, seeds)
            single = alone(images, arm, num_samples, hidden, batch)
            contestants = {
                STACKED: partial(repeated, by_hand.step, steps),
                ALONE: partial(repeated, single, steps * seeds * len(RATES)),
                "esgrad": ours(images, dataset, method, num_samples, hidden, batch, seeds),
            }
            facts = {"bench": "training", "dataset": dataset, "arm": arm, "N": num_samples or "", "B": batch}
            for row in ratios(contestants, STACKED, num_rounds):
                yield facts | {"runs": seeds * len(RATES), "steps": steps} | row
