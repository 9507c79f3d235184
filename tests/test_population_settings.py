"""Settings of noise at the parameters: subsets, tables, batches of their own, broken ties, and what is refused."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.credits import noise as credit
from esgrad.gradients.directions import Full
from esgrad.gradients.key import Key
from esgrad.gradients.spaces.parameters import Settings
from esgrad.kernels.noise_table import Table
from esgrad.kernels.streams import Role, normals
from esgrad.tasks.data import Data
from esgrad.training import loop as training
from tests.objectives import CENTRE, CPU, EACH_SIGMA, SLOPE, D, agrees, estimates
from tests.running import PARAMETERS, job, kind


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
    words = Table(D + 2, 0).offsets([1], 2, 3, 0, 3000, D)
    assert words.unique(return_counts=True)[1].tolist() == pytest.approx([1000] * 3, abs=150)
    many = Table(250_000_000, 7).offsets([1], 2, 3, 0, 4000, D)
    assert (many % 8 == 0).double().mean().item() == pytest.approx(1 / 8, abs=0.03)  # none is rounded away
    with pytest.raises(ValueError, match="table_size = 20 is less than the 30 parameters"):
        Table(20, 0).offsets([1], 2, 3, 0, 5, D)


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
    "a table that is too short": ({**PARAMETERS, "table_size": 300}, "less than the 650 parameters"),
    "a table of low rank": ({**PARAMETERS, "noise": "low_rank", "table_size": 9000}, "low rank knows no subset"),
    "a subset of nothing": ({**PARAMETERS, "subset": 1e-3}, "subset = 0.001 of 650 parameters is less than one"),
    "broken ties that are none": (
        {**PARAMETERS, "shaping": "raw", "break_ties": True},
        "break_ties orders samples of equal rank, which raw does not look at",
    ),
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
