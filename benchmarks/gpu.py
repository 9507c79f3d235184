"""On a card: kernels beside what it can do and beside the whole-tensor form, training with its share of busy time.

Without one the same lines run on the CPU at small sizes, so that they are tested.
"""

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import torch
from logits import WHOLE, ours, whole_tensor
from parameters import BATCH, MIRRORED, PLAIN, forward, task
from parameters import ours as generation
from rounds import ratios
from torch.profiler import ProfilerActivity, profile

from esgrad.kernels import streams
from esgrad.suite import config
from esgrad.tasks.data import Data
from esgrad.tasks.stack import Stack
from esgrad.training import loop

CARD = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CARD else "cpu")
SIZE = 1.0 if CARD else 0.01
"""Of the work, in that of a card."""


def done(work: Callable[[], Any]) -> Callable[[], Any]:
    """The work, waited for."""

    def run() -> Any:
        found = work()
        if CARD:
            torch.cuda.synchronize()
        return found

    return run


def fill(num_rounds: int) -> Iterator[dict]:
    """The fill beside torch's own, and beside as many bytes copied: no fill can be faster than its writing."""
    samples = max(1, round(1000 * SIZE))
    numbers = samples * 1000 * 100
    contestants = {
        "torch.randn": done(partial(torch.randn, samples, 1000, 100, device=DEVICE)),
        "esgrad: counters": done(partial(streams.normals, [0], 0, 0, 0, samples, 1000, 100, device=DEVICE)),
        "esgrad: counters, plain torch": done(
            partial(streams.normals, [0], 0, 0, 0, max(1, samples // 10), 1000, 100, device=DEVICE, body="torch")
        ),
        "as many numbers written": done(partial(torch.zeros, samples, 1000, 100, device=DEVICE)),
    }
    for row in ratios(contestants, "torch.randn", num_rounds):
        part = 10 if row["contestant"].endswith("plain torch") else 1
        scaled = {key: row[key] * part for key in ("ratio", "low", "high", "seconds")}
        yield {"part": "fill"} | row | scaled | {"ns a number": scaled["seconds"] / numbers * 1e9}


def at_the_logits(num_rounds: int) -> Iterator[dict]:
    """The lecture's estimate beside the whole-tensor form."""
    for num_logits in (10, 100, 1000):
        batch = max(2, round(1024 * SIZE))
        targets = torch.arange(batch, device=DEVICE) % num_logits
        logits = torch.zeros(batch, num_logits, device=DEVICE)
        contestants = {
            WHOLE: done(partial(whole_tensor, logits, targets)),
            "esgrad: raw": done(partial(ours, logits, targets)),
            "esgrad: maxrl": done(partial(ours, logits, targets, shaping="maxrl")),
            "esgrad: success, class, gumbel": done(
                partial(ours, logits, targets, credit="class", noise="gumbel", shaping="success")
            ),
        }
        for row in ratios(contestants, WHOLE, num_rounds):
            yield {"part": "logits", "K": num_logits, "B": batch} | row


def at_the_parameters(num_rounds: int) -> Iterator[dict]:
    """A generation beside a forward pass of all its examples."""
    population = max(2, 2 * round(512 * SIZE))
    network, images, targets = task("mlp")
    network, images, targets = network.to(DEVICE), images.to(DEVICE), targets.to(DEVICE)
    examples = images[0].repeat(population, 1, 1, 1)
    at = Stack([network], DEVICE), images, targets, population
    contestants = {
        PLAIN: done(partial(forward, network, examples, 1)),
        MIRRORED: done(partial(generation, *at, "mirrored", "centered_ranks")),
        "esgrad: low_rank, centered_ranks": done(partial(generation, *at, "low_rank", "centered_ranks")),
    }
    for row in ratios(contestants, PLAIN, num_rounds):
        yield {"part": "parameters", "N": population, "B": BATCH} | row


def images_like(job: Any) -> Data:
    """Random images of a job's shape: how fast it trains does not depend on what they show."""
    count = (2000, 200, 200) if CARD else (200, 50, 50)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (sum(count), 1, 28, 28), generator=generator, dtype=torch.uint8)
    return Data(pixels, torch.randint(job.num_classes, (sum(count),), generator=generator), job.num_classes, 255, count)


def now() -> float:
    """The time when all that was asked of the card is done."""
    if CARD:
        torch.cuda.synchronize()
    return perf_counter()


def seconds_of(arguments: tuple) -> float:
    """What the steps of a training take, from the first on."""
    times: list[float] = []
    list(loop.train(*arguments, ends_only=True, watch=lambda step, _: times.append(now())))
    return times[-1] - times[1]


def training(_: int) -> Iterator[dict]:
    """A slice of config/paper.yaml: steps a second of a job's stack, and the share of the time that the card works."""
    steps = max(3, round(100 * SIZE))
    for path, num_samples in (("backprop", None), ("maxrl", 100), ("lecture", 100), ("openai_es", 100)):
        job = next(
            job
            for job in config.jobs(config.read("config/paper.yaml"))
            if (job.dataset, job.method, job.model, job.logit_dim) == ("mnist", path, "mlp", 10)
        )
        images = images_like(job)
        groups = [(None if job.exact else 0.01 if path == "openai_es" else 1.0, rate) for rate in job.learning_rates]
        runs = list(range(job.num_seeds if CARD else 1))

        arguments = job, images, num_samples, groups, runs, steps, str(DEVICE)
        seconds_of(arguments)
        seconds, busy = seconds_of(arguments), None
        if CARD:
            with profile(activities=[ProfilerActivity.CUDA]) as seen:
                seconds_of(arguments)
            busy = sum(event.self_device_time_total for event in seen.key_averages()) / 1e6 / seconds
        yield {
            "part": "training",
            "contestant": path,
            "N": num_samples or "",
            "B": job.batch_size,
            "runs": len(runs) * len(groups),
            "steps a second": (steps - 1) / seconds,
            "busy": busy if busy is not None else "",
        }


def rows(num_rounds: int) -> Iterator[dict]:
    """All of it, with the card named."""
    name = torch.cuda.get_device_name() if CARD else "no card: a test of these lines on a CPU"
    torch.set_num_threads(torch.get_num_threads() if CARD else 1)
    for part in (fill, at_the_logits, at_the_parameters, training):
        for row in part(num_rounds):
            yield {"bench": "gpu", "card": name} | row
