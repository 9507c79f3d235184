"""Learnt σ, and whole updates, beside plain loops and other libraries."""

import json
from math import log, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.directions import Full
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.key import Key
from esgrad.gradients.population import Population
from esgrad.gradients.schedules import Last
from esgrad.kernels.streams import Role, normals
from esgrad.tasks.data import Data
from esgrad.training import loop as training
from tests.objectives import (
    D,
    Objective,
)
from tests.running import SAMPLES, kind


def plain_run(digits: Data, name: str, seed: int, start: float, rate: float, steps: int) -> tuple[Tensor, Tensor]:
    """SNES and PGPE once more, one sample after the other, on one vector: the parameters and σ at the end."""
    of = kind(name)
    images = training.Images(digits, [seed], "cpu")
    stack = training.Stack([training.initialised(lambda: menu.load("models", of.model).build((1, 8, 8), 10, 16), seed)])
    centre = stack.flat()[0].double()
    d, velocity = len(centre), torch.zeros(len(stack.flat()[0]), dtype=torch.float64)
    sigma = torch.full((d,), start, dtype=torch.float64)
    for step in range(1, steps + 1):
        pixels, targets = images.batch(step - 1, of.batch_size, 1)
        pairs = of.noise == "mirrored"
        drawn = normals([seed], Role.NOISE, step, 0, SAMPLES // 2 if pairs else SAMPLES, 1, d)[0, :, 0].double()
        z = torch.stack([drawn, -drawn], 1).flatten(0, 1) if pairs else drawn
        fitness = []
        for each in z:
            parameters = stack.unflatten((centre + sigma * each).float())
            logits = torch.func.functional_call(
                stack.network, dict(zip(stack.names, parameters, strict=True)), pixels[0]
            )
            fitness.append((logits.argmax(1) == targets[0]).float().mean().item())
        if name == "snes":
            raw = [max(0.0, log(SAMPLES / 2 + 1) - log(place)) for place in range(1, SAMPLES + 1)]
            u = []
            for f in fitness:
                better, same = sum(g > f for g in fitness), fitness.count(f)
                u.append(sum(raw[better : better + same]) / same / sum(raw) - 1 / SAMPLES)
            weights = torch.tensor(u, dtype=torch.float64)
            eta = (3 + log(d)) / (5 * sqrt(d))
            gradient = sigma * (weights @ z)
            centre = centre + rate * (gradient - of.weight_decay * centre)
            sigma = sigma * torch.exp(eta / 2 * (weights @ (z * z - 1)))
        else:
            ranks = [sum(g < f for g in fitness) + (fitness.count(f) - 1) / 2 for f in fitness]
            weights = torch.tensor([(rank / (SAMPLES - 1) - 0.5) / SAMPLES for rank in ranks], dtype=torch.float64)
            gradient = (weights @ z) * sigma - of.weight_decay * centre
            velocity = 0.9 * velocity + rate * gradient / gradient.norm()
            velocity = velocity * min(1.0, 2 * rate / velocity.norm().item())
            centre = centre + velocity
            sigma = sigma * (1 + (0.1 * (weights @ (z * z - 1))).clamp(-0.2, 0.2))
    return centre, sigma


@pytest.mark.parametrize(("name", "rate"), [("snes", 1.0), ("pgpe", 0.05)])
def test_learnt_sigma_equals_a_plain_loop(name: str, rate: float, digits: Data) -> None:
    seen = []
    of, seed, steps = kind(name), 3, 5

    def watch(step: int, stack: training.Stack) -> None:
        seen.append(stack.flat()[0].clone())

    last = list(training.train(of, digits, SAMPLES, [(0.04, rate)], [seed], steps, "cpu", watch=watch))[-1]
    centre, _ = plain_run(digits, name, seed, 0.2, rate, steps)
    assert (seen[0] - seen[-1]).abs().max() > 0.01
    torch.testing.assert_close(seen[-1].double(), centre, rtol=1e-3, atol=1e-4)
    _, before = plain_run(digits, name, seed, 0.2, rate, steps - 1)  # the σ that the last step used
    assert last["sigma"] == pytest.approx(before.mean().item(), rel=1e-3)
    assert last["sigma"] != pytest.approx(0.2, rel=1e-6)


def test_pgpe_s_sigma_changes_by_a_fifth_at_most() -> None:
    rule, point = menu.load("schedules", "pgpe"), torch.zeros(1, 1, 5)
    wanted = torch.tensor([[[100.0, -100.0, 1.9, -1.9, 0.0]]])
    last = Last(torch.full((1, 1, 5), 0.04), torch.zeros(1), wanted)
    expected = 0.2 * torch.tensor([1.2, 0.8, 1.19, 0.81, 1.0])
    torch.testing.assert_close(rule.variance(torch.tensor([9.0]), last, point, 0.5)[0, 0].sqrt(), expected)


def test_a_decaying_sigma_ends_at_a_tenth() -> None:
    rule, level = menu.load("schedules", "decaying"), torch.tensor([0.04, 1.0])
    for progress, share in [(0.0, 1.0), (0.5, 10**-0.5), (1.0, 0.1)]:
        found = rule.variance(level, None, torch.zeros(2, 1, 3), progress).sqrt()
        torch.testing.assert_close(found, share * level.sqrt())


def test_sigma_is_learnt_where_it_matters() -> None:
    """Of a bowl that is steep in some directions, σ falls fastest there."""
    point = torch.zeros(1, 1, D)
    steep = torch.where(torch.arange(D) < D // 2, 10.0, 0.1)
    for name in ("snes", "pgpe"):
        rule, last = menu.load("schedules", name), None
        shaping = "nes_utilities" if name == "snes" else "centered_ranks"
        estimator = Estimator.of("mirrored", "noise", shaping, 50)
        for step in range(100):
            t = rule.variance(torch.tensor([1.0]), last, point, 0.0)
            at = Objective(lambda x: -(steep * x * x).sum(-1), point)
            estimate = estimator.gradient(at, point, t, Key([0], 2, step), log_sigma=True)
            last = training.Last(t, estimate.mean_fitness, estimate.log_sigma)
        sigma = last.variance[0, 0].sqrt()
        assert sigma[: D // 2].mean() < 0.7 * sigma[D // 2 :].mean()


UPDATES = json.loads((Path(__file__).parent / "updates.json").read_text(encoding="utf-8"))


ARMS = {
    "open_es sgd": ("mirrored", "centered_ranks", "sgd", None, -1, UPDATES["rate"]),
    "open_es adam": ("mirrored", "centered_ranks", "adam", None, -1, UPDATES["rate"]),
    "snes": ("independent", "nes_utilities", "sgd", "snes", 1, 1.0),
    "pgpe": ("mirrored", "centered_ranks", "clip_up", "pgpe", 1, UPDATES["rate"]),
}
"""Noise, shaping, optimizer, rule for t, power of σ and rate that make each library's update."""


@pytest.mark.parametrize("case", UPDATES["cases"], ids=lambda case: f"{case['library']} {case['name']}")
def test_an_update_is_that_of_another_library(case: dict[str, Any]) -> None:
    """From the same start, σ, noise and fitness (`benchmarks/updates.py` asked them)."""
    noise, shaping, optimizer, schedule, power, rate = ARMS[case["name"]]
    sigma, told = torch.tensor(case["sigma"]), torch.tensor(case["fitness"])
    point = torch.tensor(UPDATES["centre"]).view(1, 1, -1)
    size, samples, key = UPDATES["size"], UPDATES["samples"], Key([UPDATES["seed"]], 2, UPDATES["step"])

    def judge(directions: Any, steps: Tensor, seeds: slice, members: slice) -> Tensor:
        return told.view(1, 1, -1, steps.shape[-1])[:, :, members]

    class Told:
        facts, examples = Objective.facts, 1

        def population(self, noise: Any, num_samples: int, variance: Tensor, key: Key) -> Population:
            return Population(noise, num_samples, judge, size, point, variance, key, Full(size))

    variance = sigma.square().view(1, 1, -1) if schedule else sigma[:1].square()
    parts = (
        menu.load(folder, name) for folder, name in (("noises", noise), ("credits", "noise"), ("shapings", shaping))
    )
    estimator = Estimator(*parts, samples, sigma_power=power)
    estimate = estimator.gradient(Told(), point, variance, key, log_sigma=schedule is not None)
    moving, centre = menu.load("optimizers", optimizer), [point[0].clone()]
    moving.step(centre, [estimate.gradient[0]], torch.tensor([rate]), 0.0, moving.initial(centre))
    torch.testing.assert_close(centre[0][0], torch.tensor(case["new_centre"]), rtol=1e-4, atol=1e-5)
    assert (centre[0] - point[0]).abs().max() > 0.01
    if schedule:
        last = training.Last(variance, estimate.mean_fitness, estimate.log_sigma)
        found = menu.load("schedules", schedule).variance(torch.ones(1), last, point, 0.0).sqrt()[0, 0]
        torch.testing.assert_close(found, torch.tensor(case["new_sigma"]), rtol=1e-4, atol=1e-5)
        assert (found - sigma).abs().max() > 0.001
