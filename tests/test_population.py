"""Noise at the parameters as a whole arm: laws of a population, its settings, and learnt σ, each beside plain loops."""

import json
from collections.abc import Callable
from itertools import pairwise
from math import log, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.credits import noise as credit
from esgrad.gradients.directions import Full, Source
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.facts import Facts
from esgrad.gradients.key import Key
from esgrad.gradients.population import Population
from esgrad.gradients.spaces.parameters import Settings
from esgrad.kernels.noise_table import Table
from esgrad.kernels.streams import Role, normals
from esgrad.tasks.data import Data
from esgrad.training import loop as training
from tests.running import PARAMETERS, SAMPLES, job, kind

D, SEEDS, GROUP = 30, 4, 2
CPU = torch.device("cpu")
R = SEEDS * GROUP


class Objective:
    """Any function of the parameters [..., d] in the place of a network and its batch."""

    facts = Facts("objective", False, False, False)
    examples = 1

    def __init__(self, function: Callable[[Tensor], Tensor], centre: Tensor, source: Source | None = None) -> None:
        self.function, self.centre, self.source = function, centre, source or Full(D)

    def population(self, noise: object, num_samples: int, variance: Tensor, key: Key) -> Population:
        groups = len(key.seeds) if variance.dim() == 1 else len(self.centre)
        centre = self.centre[:, 0].unflatten(0, (groups, -1))

        def judge(directions: object, steps: Tensor, seeds: slice, members: slice) -> Tensor:
            z = directions.between(0, D)[:, None, :, None]  # [s, 1, n, 1, d]
            return self.function(centre[seeds][:, :, None, None] + steps[:, :, None, :, None] * z)

        return Population(noise, num_samples, judge, D, self.centre, variance, key, self.source)


def estimates(
    function: Callable[[Tensor], Tensor],
    centre: Tensor,
    sigma: float,
    *,
    noise: str = "mirrored",
    shaping: str = "raw",
    num_samples: int = 6,
    copies: int = 400,
    learns: bool = False,
    source: Source | None = None,
    **settings: object,
) -> tuple[Tensor, Tensor | None]:
    """Independent estimates of the gradient, and of that of ln σ: [copies·S, d], from the first run of each seed."""
    parts = (
        menu.load(folder, name) for folder, name in (("noises", noise), ("credits", "noise"), ("shapings", shaping))
    )
    estimator = Estimator(*parts, num_samples, **settings)
    point = centre.expand(R, 1, D).contiguous()
    at = Objective(function, point, source)
    variance = torch.full((R, 1, D) if learns else (R,), sigma**2)
    made = [
        estimator.gradient(at, point, variance, Key(range(4, 4 + SEEDS), 2, step), learns) for step in range(copies)
    ]
    found = torch.cat([each.gradient[::GROUP, 0] for each in made])
    return found, torch.cat([each.log_sigma[::GROUP, 0] for each in made]) if learns else None


def agrees(found: Tensor, expected: Tensor) -> None:
    """Within five standard errors of the mean; rounding where there is no spread."""
    error = found.std(0) / sqrt(len(found))
    assert ((found.mean(0) - expected).abs() <= 5 * error + 1e-5).all()


EACH_SIGMA = pytest.mark.parametrize("sigma", [0.1, 2.0])
EACH_NOISE = pytest.mark.parametrize("noise", ["independent", "mirrored"])
CENTRE = torch.linspace(-1, 1, D)
SLOPE = torch.linspace(-0.5, 2, D)


@EACH_SIGMA
@EACH_NOISE
@pytest.mark.parametrize("shaping", ["centered_ranks", "z_score", "nes_utilities"])
def test_a_constant_objective_moves_nothing(noise: str, shaping: str, sigma: float) -> None:
    found, learnt = estimates(
        lambda x: 0 * x[..., 0] + 3, CENTRE, sigma, noise=noise, shaping=shaping, copies=3, learns=True
    )
    assert not found.any()
    assert not learnt.any()


@EACH_SIGMA
@EACH_NOISE
def test_a_linear_objective_gives_its_slope_and_leaves_sigma(noise: str, sigma: float) -> None:
    found, learnt = estimates(
        lambda x: x @ SLOPE,
        CENTRE,
        sigma,
        noise=noise,
        shaping="leave_one_out" if noise == "independent" else "raw",
        learns=True,
    )
    agrees(found, SLOPE)
    agrees(learnt, torch.zeros(D))


@EACH_SIGMA
@EACH_NOISE
def test_a_quadratic_objective_gives_its_gradient_and_that_of_ln_sigma(noise: str, sigma: float) -> None:
    """f = −Σ a x²: ∇_μ E f = −2 a μ, ∂E f/∂ln σ_i = −2 a_i σ²."""
    found, learnt = estimates(lambda x: -(SLOPE * x * x).sum(-1), CENTRE, sigma, noise=noise, copies=1500, learns=True)
    agrees(found, -2 * SLOPE * CENTRE)
    agrees(learnt, -2 * SLOPE * sigma**2)


@EACH_SIGMA
def test_a_sigma_of_each_coordinate_equals_the_one_of_all(sigma: float) -> None:
    def bowl(x: Tensor) -> Tensor:
        return -(x * x).sum(-1)

    shared = estimates(bowl, CENTRE, sigma, shaping="centered_ranks", copies=3)[0]
    own = estimates(bowl, CENTRE, sigma, shaping="centered_ranks", copies=3, learns=True)[0]
    torch.testing.assert_close(own, shared)


def test_sigmas_that_differ_reach_as_far_as_they_say() -> None:
    """The slope is found whatever each coordinate's σ, and the natural gradient is σ² times that."""
    point, sigma = CENTRE.expand(R, 1, D).contiguous(), torch.linspace(0.1, 3, D).expand(R, 1, D)
    key, at = Key([1, 2, 3, 4], 2, 1), Objective(lambda x: x @ SLOPE, point)
    parts = menu.load("noises", "independent"), menu.load("credits", "noise"), menu.load("shapings", "leave_one_out")
    found = {
        power: Estimator(*parts, 20_000, sigma_power=power).gradient(at, point, sigma.square(), key).gradient[:, 0]
        for power in (-1, 0, 1)
    }
    error = found[-1][::GROUP].std(0)
    assert ((found[-1].mean(0) - SLOPE).abs() < 5 * error).all()
    torch.testing.assert_close(found[0], found[-1] * sigma[:, 0])
    torch.testing.assert_close(found[1], found[-1] * sigma[:, 0].square())


@EACH_SIGMA
def test_the_power_of_sigma_scales_the_estimate(sigma: float) -> None:
    found = [estimates(lambda x: x @ SLOPE, CENTRE, sigma, copies=2, sigma_power=power)[0] for power in (-1, 0, 1)]
    torch.testing.assert_close(found[1], sigma * found[0])
    torch.testing.assert_close(found[2], sigma**2 * found[0])


def test_ties_that_are_broken_drift_where_nothing_was_said() -> None:
    """As in the code of arXiv 1703.03864: equal fitness still moves the parameters, by Σ w z of fixed weights."""

    def flat(x: Tensor) -> Tensor:
        return 0 * x[..., 0]

    still = estimates(flat, CENTRE, 0.1, shaping="centered_ranks", copies=2)[0]
    drift = estimates(flat, CENTRE, 0.1, shaping="centered_ranks", copies=400, break_ties=True)[0]
    assert not still.any()
    weights = (torch.arange(6) / 5 - 0.5) / 6
    expected = (weights[::2] - weights[1::2]).square().sum().sqrt() / 0.1  # of each coordinate, the samples in order
    assert drift.std().item() == pytest.approx(expected.item(), rel=0.02)
    agrees(drift, torch.zeros(D))  # it goes nowhere in particular
    moved = estimates(lambda x: x @ SLOPE, CENTRE, 0.1, shaping="centered_ranks", copies=2)[0]
    broken = estimates(lambda x: x @ SLOPE, CENTRE, 0.1, shaping="centered_ranks", copies=2, break_ties=True)[0]
    assert torch.equal(moved, broken)  # where no fitness is another's, there is nothing to break


@EACH_SIGMA
def test_a_subset_is_perturbed_alone_and_anew_in_each_step(sigma: float) -> None:
    source = Full(D, subset=0.3)
    found, _ = estimates(lambda x: x @ SLOPE, CENTRE, sigma, source=source, copies=1000, num_samples=4)
    assert (found != 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert (found != 0).any(0).all()
    agrees(found, 0.3 * SLOPE)
    masks = source.at(Key([1, 2], 2, 5), CPU).mask, source.at(Key([1], 2, 6), CPU).mask
    assert not torch.equal(masks[0][0], masks[0][1])
    assert not torch.equal(masks[0][0], masks[1][0])


@EACH_SIGMA
def test_noise_from_a_table_estimates_the_same_gradient(sigma: float) -> None:
    source = Full(D, Table(200_000, 7))
    found, learnt = estimates(lambda x: x @ SLOPE, CENTRE, sigma, source=source, copies=1000, learns=True)
    agrees(found, SLOPE)
    agrees(learnt, torch.zeros(D))


def test_a_table_s_noise_is_slices_of_it() -> None:
    table = Table(1000, 7)
    numbers = normals([7], Role.TABLE, 0, 0, 1, 1, 1000)[0, 0, 0]
    assert torch.equal(table.numbers(), numbers)
    offsets = table.offsets([1, 2], 2, 3, 0, 500, D)
    assert offsets.shape == (2, 500)
    assert 0 <= offsets.min() < 20
    assert 1000 - D - 20 < offsets.max() <= 1000 - D
    assert torch.equal(table.offsets([2], 2, 3, 100, 200, D)[0], offsets[1, 100:200])
    assert not torch.equal(table.offsets([1], 2, 4, 0, 500, D)[0], offsets[0])
    weights = torch.randn(2, 3, 500, generator=torch.Generator().manual_seed(0))
    found = Full(D, table).at(Key([1, 2], 2, 3), CPU).sum(weights, square=False)
    slices = torch.stack([torch.stack([numbers[o : o + D] for o in each]) for each in offsets.tolist()])
    torch.testing.assert_close(found, weights @ slices, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="table_size = 20 is less than the 30 parameters"):
        Table(20, 0).offsets([1], 2, 3, 0, 5, D)


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


def test_directions_with_batches_of_their_own_are_judged_on_these(digits: Data) -> None:
    """The fitness of each pair beside that of a plain network on the batch that it reads."""
    of = kind("own_batches", noise="mirrored")
    images = training.Images(digits, [0, 1], "cpu")
    batch, targets = images.step(2, 32, 2, 4)
    assert batch.shape == (4, 4, 32, 1, 8, 8)
    networks = [
        training.initialised(lambda: menu.load("models", "mlp").build((1, 8, 8), 10, 16), s) for s in (0, 0, 1, 1)
    ]
    stack = training.Stack(networks)
    at = of.resolved_method.space.place(stack, batch, targets, menu.load("blackboxes", "zero_one"))
    found = credit.ask(
        menu.load("noises", "mirrored"), 8, at, at.point, torch.full((4,), 0.04), Key([0, 1], 2, 3)
    ).fitness
    for run_of in range(4):
        for n in range(8):
            z = normals([run_of // 2], 2, 3, n // 2, n // 2 + 1, 1, at.point.shape[-1])[0, 0, 0] * (-1) ** n
            parameters = stack.unflatten(at.point[run_of, 0] + 0.2 * z)
            pixels, labels = images.batch(2 * 4 + n // 2, 32, 2)
            logits = torch.func.functional_call(
                stack.network, dict(zip(stack.names, parameters, strict=True)), pixels[run_of]
            )
            assert found[run_of, n, 0].item() == pytest.approx(
                (logits.argmax(1) == labels[run_of]).float().mean().item()
            )


WRONG = {
    "σ learnt at the logits": ({"schedule": "snes"}, "σ is learnt for noise at the parameters"),
    "σ learnt of a batch": ({"schedule": "pgpe", "space": "batch"}, "σ is learnt for noise at the parameters"),
    "a subset of other noise": ({**PARAMETERS, "noise": "orthogonal", "subset": 0.5}, "independent and mirrored noise"),
    "batches of other noise": ({**PARAMETERS, "noise": "quasi", "own_batches": True}, "independent and mirrored noise"),
    "a table of low rank": ({**PARAMETERS, "noise": "low_rank", "table_size": 9}, "low rank knows no subset"),
    "σ learnt from noise of low rank": (
        {**PARAMETERS, "noise": "low_rank", "schedule": "snes"},
        "independent or mirrored would do",
    ),
    "σ learnt from other noise": (
        {**PARAMETERS, "noise": "orthogonal", "schedule": "snes"},
        "independent or mirrored would do",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_learnt_is_refused(case: str) -> None:
    words, said = WRONG[case]
    ((_, _, reason),) = job(**words).cells()
    assert said in reason


def test_settings_of_the_parameters_are_refused_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"subset.*these are of noise at the parameters, not at the logits"):
        _ = job(subset=0.5).resolved_method


def test_the_defaults_are_the_space_s_own() -> None:
    space = menu.load("spaces", "parameters")
    assert job(**PARAMETERS).resolved_method.space is space
    assert job(**PARAMETERS, subset=0.5).resolved_method.space == Settings(subset=0.5)


def test_a_rate_that_falls_moves_the_parameters_less(digits: Data) -> None:
    moved = {}
    for name in menu.names("rate_schedules"):
        seen = []
        of = job(
            rate_schedule=name, optimizer="sgd", weight_decay=0.0, exact="smoothed", noise="", credit="", shaping=""
        )
        list(
            training.train(
                of,
                digits,
                None,
                [(1.0, 0.1)],
                [0],
                4,
                "cpu",
                watch=lambda _, stack, seen=seen: seen.append(stack.flat().clone()),
            )
        )
        moved[name] = [(after - before).norm().item() for before, after in pairwise(seen)]
    assert moved["linear"][0] == moved["cosine"][0] == moved["constant"][0]
    assert moved["linear"][3] == pytest.approx(moved["constant"][3] / 4, rel=0.1)
    assert moved["cosine"][3] == pytest.approx(moved["constant"][3] * 0.1464, rel=0.1)


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
