"""Checkpoints are the networks of the project's own loop, the same every time, with examples of a part of the split."""

from dataclasses import replace

import pytest
import torch

from esgrad import menu
from esgrad.measurement import checkpoints
from esgrad.suite import config
from esgrad.tasks import data
from esgrad.tasks.data import split
from esgrad.training.loop import train

STEPS = 40


def job(dataset="digits", logit_dim=10, **changes):
    words = {"max_steps": STEPS, "learning_rate": 0.01, "hidden_size": 8, "batch_size": 16} | changes
    return config.backprop_job(dataset, logit_dim, **words)


@pytest.fixture(scope="module")
def made(digits):
    return checkpoints.make(job(), digits, 50)


def parameters(checkpoint):
    return torch.cat([parameter.detach().flatten() for parameter in checkpoint.stack.parameters])


def test_the_stages_are_the_start_the_middle_and_the_end_in_this_order(made):
    assert [(at.stage, at.step) for at in made] == [("start", 0), ("half", STEPS // 2), ("trained", STEPS)]
    assert made[0].accuracy < made[1].accuracy < made[2].accuracy
    assert made[0].spread < made[1].spread < made[2].spread


def test_a_checkpoint_is_the_network_that_the_loop_itself_had(made, digits):
    seen = {}

    def watch(step, stack):
        seen[step] = torch.cat([parameter.detach().clone().flatten() for parameter in stack.parameters])

    for _ in train(job(), digits, None, [(None, 0.01)], [0], STEPS, "cpu", ends_only=True, watch=watch):
        pass
    for at in made:
        assert parameters(at).equal(seen[at.step])


def test_made_twice_whatever_stages_are_asked_for_the_bits_are_the_same(made, digits):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    again = checkpoints.make(job(), digits, 50, ["trained", "half"])
    assert torch.get_rng_state().equal(state)
    assert [at.stage for at in again] == ["half", "trained"]
    for one, other in zip(made[1:], again, strict=True):
        assert parameters(one).equal(parameters(other))
        assert one.logits.equal(other.logits)
        assert one.images.equal(other.images)


def test_another_seed_is_another_network_with_other_examples(made, digits):
    other = checkpoints.make(job(), digits, 50, ["start"], seed=1)[0]
    assert not parameters(other).equal(parameters(made[0]))
    assert not other.images.equal(made[0].images)


@pytest.mark.parametrize("part", checkpoints.PARTS)
def test_the_examples_are_different_images_of_the_part_with_their_labels(part, digits):
    at = checkpoints.make(job(max_steps=1), digits, 10_000, ["start"], part)[0]
    index = split(digits, 0)[checkpoints.PARTS.index(part)]
    assert len(at.images) == len(index), "at most as many as there are"

    def rows(images, targets):
        return sorted(map(bytes, torch.cat([images.flatten(1), targets[:, None]], 1).to(torch.uint8).numpy()))

    assert rows((at.images * digits.scale).round(), at.targets) == rows(digits.images[index], digits.targets[index])
    torch.testing.assert_close(at.stack(at.images[None])[0], at.logits)


def test_few_are_the_first_of_the_examples(made):
    few = made[1].few(7)
    assert few.logits.shape == (7, 10)
    torch.testing.assert_close(few.logits, made[1].logits[:7])


@pytest.mark.parametrize("logit_dim", [10, 30, 10_000])
def test_logits_that_no_label_uses_may_be_many(logit_dim, digits):
    start, trained = checkpoints.make(job(logit_dim=logit_dim), digits, 20, ["start", "trained"])
    assert trained.logits.shape == (20, logit_dim)
    assert trained.num_classes == 10
    assert trained.targets.max() < 10
    assert trained.spread > 2 * start.spread


@pytest.mark.parametrize("classes", [2, 5])
def test_fewer_logits_are_fewer_classes(classes):
    few = data.decode(f"digits-{classes}", "data")
    at = checkpoints.make(job(f"digits-{classes}", classes), few, 50)[-1]
    assert at.logits.shape == (50, classes)
    assert at.targets.unique().tolist() == list(range(classes))
    assert at.accuracy > 1.3 / classes


def test_a_push_is_the_chain_rule_of_the_batch_s_mean(made):
    at, generator = made[1], torch.Generator().manual_seed(0)
    gradients = torch.randn(3, 6, 10, generator=generator)
    pushed = at.push(gradients, start=4)
    network = menu.load("models", "mlp").build((1, 8, 8), 10, 8)
    for name, value in zip(at.stack.names, at.stack.parameters, strict=True):
        network.get_parameter(name).data.copy_(value[0])
    for gradient, found in zip(gradients, pushed, strict=True):
        mean = (network(at.images[4:10]) * gradient).sum(-1).mean()
        expected = torch.autograd.grad(mean, list(network.parameters()))
        torch.testing.assert_close(found, torch.cat([part.flatten() for part in expected]))


def test_pushed_one_by_one_gradients_have_the_batch_s_as_their_mean(made):
    gradients = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))
    each = made[2].push_each(gradients, start=3)
    torch.testing.assert_close(each.mean(0), made[2].push(gradients[None], start=3)[0])


def test_a_change_of_the_logits_along_a_direction_is_the_push_turned_round(made):
    """⟨Jᵀg, v⟩ = ⟨g, J v⟩."""
    at, generator = made[2], torch.Generator().manual_seed(2)
    directions = torch.randn(2, parameters(at).numel(), generator=generator)
    gradients = torch.randn(50, 10, generator=generator)
    left = directions @ at.push_each(gradients).T
    torch.testing.assert_close(
        left, torch.stack([(gradients * change).sum(-1) for change in at.directional(directions)]), rtol=1e-4, atol=1e-4
    )


WRONG = {
    "stage": (lambda digits: checkpoints.make(job(), digits, 5, ["trianed"]), "Did you mean 'trained'"),
    "part": (lambda digits: checkpoints.make(job(), digits, 5, part="valid"), "Did you mean 'validation'"),
    "method": (lambda digits: checkpoints.make(replace(job(), exact=None), digits, 5), "backprop would do"),
    "rate": (lambda digits: checkpoints.make(job(learning_rate=1e30), digits, 5), "diverged before 'half'"),
    "K": (lambda digits: job(logit_dim=3), "logit_dim: 3 does not fit the 10 classes"),
}


@pytest.mark.parametrize(("call", "pattern"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_made_is_refused_with_what_would_do(call, pattern, digits):
    with pytest.raises(ValueError, match=pattern) as caught:
        call(digits)
    assert "\n" not in str(caught.value)
