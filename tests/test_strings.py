"""Strings of digits: each digit image in one part, used as often as the others, drawn by themselves."""

import random

import numpy as np
import pytest
import torch

from esgrad.tasks import data
from tests.strings import crops


@pytest.fixture(scope="module", params=["digit_strings-2", "digit_strings-3"])
def strings(request):
    return data.decode(request.param, "nowhere")


def test_a_string_shows_the_digits_of_its_number_from_left_to_right(strings):
    source = data.decode("digits", "nowhere")
    known = {image.numpy().tobytes(): int(digit) for image, digit in zip(source.images, source.targets, strict=True)}
    for part in range(3):
        images, digits = crops(strings, part)
        assert [known[image.tobytes()] for image in images.numpy()] == digits.tolist()


def test_no_digit_image_stands_in_two_parts(strings):
    seen = [{image.tobytes() for image in crops(strings, part)[0].numpy()} for part in range(3)]
    assert [len(part) for part in seen] == [1079, 359, 359]
    assert len(set.union(*seen)) == 1797


def test_every_number_is_equally_frequent_in_every_part(strings):
    for part in strings.targets.split(list(strings.counts)):
        assert part.bincount(minlength=strings.num_classes).unique().tolist() == [len(part) // strings.num_classes]


def test_each_image_of_a_digit_is_used_equally_often_at_each_place(strings):
    k = len(str(strings.num_classes - 1))
    for part in range(3):
        images, digits = crops(strings, part)
        for place in range(k):
            for digit in range(10):
                here = images[place::k][digits[place::k] == digit]
                uses = here.unique(dim=0, return_counts=True)[1]
                assert uses.max() - uses.min() <= 1


def test_the_images_of_a_string_are_drawn_independently_of_each_other():
    decoded = data.decode("digit_strings-2", "nowhere")
    images, digits = crops(decoded, 0)
    each = decoded.counts[0] // decoded.num_classes  # strings of a number
    sizes = torch.tensor([len(images[digits == digit].unique(dim=0)) for digit in range(10)]).double()
    expected = (each * (each - 1) / 2 / torch.outer(sizes, sizes)).sum()  # pairs of equal strings, by chance
    same = decoded.images[: decoded.counts[0]].flatten(1).unique(dim=0, return_counts=True)[1]
    assert abs((same * (same - 1) / 2).sum() - expected) < 5 * expected**0.5  # a count of rare events: Poisson


def test_strings_are_the_same_each_time_and_touch_no_global_stream():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first, second = (data.decode("digit_strings-2", "nowhere") for _ in range(2))
    assert first.images.equal(second.images)
    assert first.targets.equal(second.targets)
    assert torch.get_rng_state().equal(before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()
