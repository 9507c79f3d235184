"""What a file on a menu must do, each law a function of the loaded file that fails with a sentence.

`esgrad new` writes a test of these beside its template; esgrad's own tests hold every file of its menus to them.
"""

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from esgrad import menu
from esgrad.gradients.estimator import Estimator
from esgrad.gradients.fitness import PerExample
from esgrad.gradients.key import Key
from esgrad.kernels import streams
from esgrad.kernels.streams import Role
from esgrad.tasks.blackboxes import zero_one

Law = Callable[[Any], None]
SAMPLES, COPIES = 12, 20_000
LOGITS, TARGETS = torch.tensor([[0.4, 0.1, -0.2, 0.3], [0.0, 0.0, 0.0, 0.0]]), torch.tensor([0, 2])


def states(*names: str) -> Law:
    """The law that a file states these."""

    def states_its_facts(file: Any) -> None:
        missing = [name for name in names if not hasattr(file, name)]
        assert not missing, f"{menu.name(file)} does not state {', '.join(missing)}"

    return states_its_facts


def _some_fitness(file: Any) -> Tensor:
    drawn = torch.rand(2, max(SAMPLES, file.FEWEST), 5, generator=torch.Generator().manual_seed(1))
    return drawn.double()


def _weights(file: Any, fitness: Tensor) -> Tensor:
    return file.weights(fitness, lambda: 1 + fitness.flip(1).square())


def weights_are_finite_numbers_of_the_fitness_shape(file: Any) -> None:
    fitness = _some_fitness(file)
    found = _weights(file, fitness)
    assert found.shape == fitness.shape, f"weights have shape {list(found.shape)}, the fitness {list(fitness.shape)}"
    assert found.isfinite().all(), "weights of ordinary fitness are finite numbers"


def samples_in_another_order_have_their_weights_in_that_order(file: Any) -> None:
    fitness = _some_fitness(file)
    order = torch.randperm(fitness.shape[1], generator=torch.Generator().manual_seed(2))
    norms = 1 + fitness.square()
    whole = file.weights(fitness, lambda: norms)[:, order]
    torch.testing.assert_close(file.weights(fitness[:, order], lambda: norms[:, order]), whole)


def positions_know_nothing_of_each_other(file: Any) -> None:
    fitness = _some_fitness(file)
    torch.testing.assert_close(_weights(file, fitness[..., 1:3]), _weights(file, fitness)[..., 1:3])


def says_rightly_whether_it_is_linear(file: Any) -> None:
    one, other = _some_fitness(file), _some_fitness(file).flip(1)
    norms = 1 + one
    together = file.weights(3 * one + 2 * other, lambda: norms)
    apart = 3 * file.weights(one, lambda: norms) + 2 * file.weights(other, lambda: norms)
    assert torch.allclose(together, apart) == file.LINEAR, f"LINEAR = {file.LINEAR}, but its weights say otherwise"


def says_rightly_whether_ranks_are_all_it_uses(file: Any) -> None:
    fitness = _some_fitness(file)
    same = torch.allclose(_weights(file, (2 * fitness).exp()), _weights(file, fitness))
    assert same == file.BY_RANK, (
        f"BY_RANK = {file.BY_RANK}, but the weights of fitness and of its exponential say otherwise"
    )


def fitness_that_is_no_number_gives_no_number(file: Any) -> None:
    fitness = _some_fitness(file)
    fitness[0, 0, 0] = torch.nan
    assert _weights(file, fitness)[0, :, 0].isnan().any(), "NaN fitness passes for a number"


def counts_give_the_weights_of_hits_and_misses(file: Any) -> None:
    """Where it states a law of counts."""
    if not hasattr(file, "of_counts"):
        return
    samples = max(6, file.FEWEST)
    for hits in range(samples + 1):
        fitness = (torch.arange(samples) < hits).double()[None, :, None]
        of_hit, of_miss = file.of_counts(torch.tensor(float(hits)), torch.tensor(float(samples - hits)))
        expected = torch.where(fitness == 1, of_hit.double(), of_miss.double())
        found = file.weights(fitness, lambda f=fitness: 0 * f + 1)
        same = torch.allclose(found, expected, atol=1e-6, rtol=1e-5)
        assert same, f"of_counts({hits}, {samples - hits}) are other weights than those of {hits} hits among {samples}"
        assert file.WEIGHS_MISSES or hits == 0 or float(of_miss) == 0, "WEIGHS_MISSES is False, but a miss has a weight"


def fewer_samples_than_it_needs_are_refused_in_a_sentence(file: Any) -> None:
    independent = menu.load("noises", "independent")
    for samples in range(1, file.FEWEST):
        said = file.refuses(independent, samples)
        assert isinstance(said, str), f"N = {samples} is below FEWEST = {file.FEWEST}, and is not refused"
        assert "\n" not in said


def its_mean_is_what_it_expects(file: Any) -> None:
    """With independent noise, within 5 standard errors, at two t."""
    noise = menu.load("noises", "independent")
    for t in (0.25, 2.25):
        estimator = Estimator(noise, menu.load("credits", "noise"), file, max(4, file.FEWEST))
        _mean_is_expected(estimator, t)


def _mean_is_expected(estimator: Estimator, t: float) -> None:
    logits, targets, variance = LOGITS[None].double(), TARGETS[None], torch.tensor([t], dtype=torch.float64)
    expected = estimator.expects(logits, targets, variance)
    if expected is None:
        return
    found = _estimates(estimator, t)
    error = found.std(0) / sqrt(len(found))
    off = ((found.mean(0) - expected[0]).abs() - 5 * error).max()
    assert off <= 1e-6, f"its mean lies {float(off):.2g} outside of 5 standard errors of what it expects, at t = {t}"


def _estimates(estimator: Estimator, t: float, key: int = 0) -> Tensor:
    point, targets = LOGITS.repeat(COPIES, 1)[None], TARGETS.repeat(COPIES)[None]
    fitness = PerExample(zero_one, targets)
    found = estimator.gradient(fitness, point, torch.tensor([t]), Key([key], Role.NOISE, 1)).gradient[0]
    return found.double().unflatten(0, (COPIES, -1))


def _directions(file: Any, samples: int, start: int = 0, positions: int = 2000) -> Tensor:
    def normals(first: int, last: int) -> Tensor:
        return streams.normals([0, 1], Role.NOISE, 3, first, last, positions, 3)

    return file.directions(normals, start, samples)


def _whole_number_of_groups(file: Any) -> int:
    return SAMPLES + -SAMPLES % file.TOGETHER


def directions_have_mean_0_and_variance_1(file: Any) -> None:
    z = _directions(file, _whole_number_of_groups(file)).double()
    assert z.shape[2:] == (2000, 3), f"directions are [S, n, M, D], not {list(z.shape)}"
    each = z.mean(1).flatten(0, 1)  # of a draw: its samples may know of each other
    error = each.std(0) / sqrt(len(each))
    assert (each.mean(0).abs() <= 5 * error + 1e-6).all(), "the mean of its directions is not 0"
    squares = z.square().mean(1).flatten(0, 1)
    off = (squares.mean(0) - 1).abs() - 5 * squares.std(0) / sqrt(len(squares))
    assert (off < 1e-6).all(), "the variance of its directions is not 1"


def score_is_minus_the_slope_of_the_log_density(file: Any) -> None:
    """E[z·score(z)] = 1, and E score(z) = 0, whatever the density."""
    z = _directions(file, _whole_number_of_groups(file))
    score = file.score(z).double()
    products = (z.double() * score).mean(1).flatten(0, 1)
    error = products.std(0) / sqrt(len(products))
    assert ((products.mean(0) - 1).abs() < 5 * error + 1e-6).all(), "E[z·score(z)] is not 1"
    means = score.mean(1).flatten(0, 1)
    assert (means.mean(0).abs() < 5 * means.std(0) / sqrt(len(means)) + 1e-6).all(), "E score(z) is not 0"


def chunks_change_no_direction(file: Any) -> None:
    group = file.TOGETHER
    whole = _directions(file, 3 * group, positions=4)
    assert torch.equal(whole[:, group:], _directions(file, 3 * group, start=group, positions=4))


def says_rightly_whether_its_scores_sum_to_0(file: Any) -> None:
    score = file.score(_directions(file, _whole_number_of_groups(file), positions=4)).double()
    assert bool((score.sum(1).abs() < 1e-5).all()) == file.SUMS_TO_ZERO, f"SUMS_TO_ZERO = {file.SUMS_TO_ZERO} is wrong"


def says_rightly_whether_it_is_plain(file: Any) -> None:
    samples = _whole_number_of_groups(file)
    found = _directions(file, samples, positions=4)
    drawn = streams.normals([0, 1], Role.NOISE, 3, 0, samples // 2 if file.PAIRS else samples, 4, 3)
    whole = torch.stack([drawn, -drawn], 2).flatten(1, 2) if file.PAIRS else drawn
    assert not file.PLAIN or torch.equal(found, whole), "PLAIN, but its directions are not the normals themselves"
    assert not file.PLAIN or torch.equal(file.score(found), found), "PLAIN, but its score is not the direction"


def raw_weights_have_the_exact_gradient_as_their_mean(file: Any) -> None:
    samples = _whole_number_of_groups(file)
    raw, noise = menu.load("shapings", "raw"), menu.load("credits", "noise")
    for t in (0.25, 2.25):
        _mean_is_expected(Estimator(file, noise, raw, samples), t)


def its_mean_is_that_of_the_noise(file: Any) -> None:
    """For raw weights: what a sample is credited with may change the variance, not the mean."""
    independent, raw = menu.load("noises", "independent"), menu.load("shapings", "raw")
    for t in (0.25, 2.25):
        _mean_is_expected(Estimator(independent, file, raw, 4), t)


def a_tally_says_what_was_asked(file: Any) -> None:
    """For 0/1 fitness, sums over hits give what keeping every sample gives."""
    independent, raw = menu.load("noises", "independent"), menu.load("shapings", "raw")
    arguments = PerExample(zero_one, TARGETS[None]), LOGITS[None], torch.tensor([1.0]), Key([4], Role.NOISE, 2)
    asked = file.ask(independent, 40, *arguments)
    tally = file.tally(independent, *arguments, False)
    tally.grow(16)
    tally.grow(40)
    torch.testing.assert_close(tally.hits, asked.fitness.sum(1).double())
    of_hit, of_miss = raw.of_counts(tally.hits, 40 - tally.hits)
    torch.testing.assert_close(tally.total(of_hit, of_miss), asked.total(raw.weights(asked.fitness, asked.norms)))


def fitness_is_a_number_an_example_and_keeps_what_is_stated(file: Any) -> None:
    readings, classes = file.readings(10)
    logits = torch.linspace(-2, 2, 6 * readings * classes).sin().reshape(6, readings * classes)
    found = file.fitness(logits, torch.arange(6))
    assert found.shape == (6,), f"the fitness of 6 examples has shape {list(found.shape)}"
    assert found.dtype == logits.dtype, f"the fitness is {found.dtype}, the logits {logits.dtype}"
    assert not file.BINARY or ((found == 0) | (found == 1)).all(), "BINARY, but it is neither 0 nor 1"
    assert not file.NONNEGATIVE or (found >= 0).all(), "NONNEGATIVE, but it is below 0"
    more = file.fitness(logits.expand(3, 2, 6, -1), torch.arange(6))
    assert torch.equal(more, found.expand(3, 2, 6)), "leading axes change the fitness"


def is_a_hit_if_it_says_so(file: Any) -> None:
    logits = torch.linspace(-2, 2, 60).mul(9).sin().reshape(6, 10)
    found = file.fitness(logits, torch.arange(6)) if file.IS_HIT else None
    same = found is None or torch.equal(found, (logits.argmax(-1) == torch.arange(6)).float())
    assert same, "IS_HIT, but its fitness is not isequal(argmax(logits), target)"


def classes_are_all_it_sees_if_it_says_so(file: Any) -> None:
    if not file.SEES_CLASSES:
        return
    readings, classes = file.readings(10)
    logits = torch.linspace(-2, 2, 6 * readings * classes).sin().reshape(6, readings * classes)
    judged = file.judge(file.see(logits), torch.arange(6)).to(logits.dtype)
    assert torch.equal(judged, file.fitness(logits, torch.arange(6))), "judge(see(logits)) is not the fitness"


LAWS: dict[str, list[Law]] = {
    "shaping": [
        states("ASCENDS", "FEWEST", "LINEAR", "BY_RANK", "NEEDS_NONNEGATIVE", "weights", "expects", "refuses"),
        weights_are_finite_numbers_of_the_fitness_shape,
        samples_in_another_order_have_their_weights_in_that_order,
        positions_know_nothing_of_each_other,
        says_rightly_whether_it_is_linear,
        says_rightly_whether_ranks_are_all_it_uses,
        fitness_that_is_no_number_gives_no_number,
        counts_give_the_weights_of_hits_and_misses,
        fewer_samples_than_it_needs_are_refused_in_a_sentence,
        its_mean_is_what_it_expects,
    ],
    "noise": [
        states(
            "DRAWS_PER_SAMPLE",
            "TOGETHER",
            "INDEPENDENT",
            "UNCORRELATED",
            "PAIRS",
            "PLAIN",
            "RANK",
            "FAMILY",
            "CLASSES",
            "EXACT",
        ),
        directions_have_mean_0_and_variance_1,
        score_is_minus_the_slope_of_the_log_density,
        chunks_change_no_direction,
        says_rightly_whether_its_scores_sum_to_0,
        says_rightly_whether_it_is_plain,
        raw_weights_have_the_exact_gradient_as_their_mean,
    ],
    "credit": [
        states("OF_CLASSES", "ask", "tally", "draws", "refuses"),
        its_mean_is_that_of_the_noise,
        a_tally_says_what_was_asked,
    ],
    "blackbox": [
        states(
            "BINARY", "NONNEGATIVE", "SEES_CLASSES", "IS_HIT", "fitness", "predict", "prepare", "readings", "refuses"
        ),
        fitness_is_a_number_an_example_and_keeps_what_is_stated,
        classes_are_all_it_sees_if_it_says_so,
        is_a_hit_if_it_says_so,
    ],
}
"""The laws of each kind of file."""
