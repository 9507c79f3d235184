"""What is saved of a data set is what is loaded, and no image stands in two parts."""

import hashlib
import resource
from functools import partial

import pytest
import torch

from esgrad.tasks import data
from esgrad.tasks.data import Data
from tests.damage import cut, flip_bit, refusal

# Saved and loaded


@pytest.fixture
def saved(digits, tmp_path):
    path = tmp_path / "digits.safetensors"
    data.save(digits, path)
    return path


def test_what_is_saved_is_what_is_loaded(digits, saved):
    loaded = data.load(saved)
    assert loaded.images.equal(digits.images)
    assert loaded.targets.equal(digits.targets)
    assert (loaded.num_classes, loaded.scale, loaded.counts) == (10, 16, (1797, 0, 0))


def test_the_same_data_are_the_same_bytes(digits, saved, tmp_path):
    data.save(digits, tmp_path / "again" / saved.name)
    assert (tmp_path / "again" / saved.name).read_bytes() == saved.read_bytes()
    digest = (tmp_path / "again" / f"{saved.name}.sha256").read_text()
    assert digest == f"{hashlib.sha256(saved.read_bytes()).hexdigest()}  {saved.name}\n"


def test_a_saved_file_can_be_read_by_whom_any_new_file_can_be_read(saved, tmp_path):
    (tmp_path / "other").write_text("")
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("damage", [cut, *(partial(flip_bit, place=place) for place in (0, 30, 60_000, -1))])
def test_a_saved_file_with_a_flipped_bit_or_a_lost_byte_is_refused(damage, saved):
    damage(saved)
    assert f"{saved} is damaged" in refusal(data.load, saved)


def test_a_saved_file_without_its_digest_is_refused(saved):
    digest = saved.with_name(f"{saved.name}.sha256")
    digest.unlink()
    assert str(digest) in refusal(data.load, saved)


def test_a_save_that_fails_leaves_nothing(digits, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # as a full disk would, in the middle of the file
    try:
        refusal(data.save, digits, tmp_path / "digits.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_earlier_file_whole(digits, saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(data, "sha256", lambda path: (_ for _ in ()).throw(OSError("no space left")))
    assert refusal(data.save, digits, saved) == "no space left"
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert data.load(saved).images.equal(digits.images)


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"images": torch.zeros(1797, 1, 8, 8)}, "images must be uint8"),
        ({"images": torch.zeros(1796, 1, 8, 8, dtype=torch.uint8)}, "an image a label"),
        ({"images": torch.zeros(1797, 8, 8, dtype=torch.uint8)}, "[n, C, H, W]"),
        ({"targets": torch.zeros(1797)}, "labels must be int64"),
        ({"num_classes": 9}, "labels run from 0 to 9, expected 0 to 8"),
        ({"scale": 15}, "brightest pixel is 16"),
        ({"counts": (1797, 0, 1)}, "sum to 1797"),
        ({"counts": (0, 0, 1797)}, "the first at least 5"),
        ({"counts": (1800, -3, 0)}, "three numbers"),
    ],
)
def test_data_that_contradict_themselves_are_refused(digits, changes, answer):
    fields = {name: getattr(digits, name) for name in Data.__dataclass_fields__}
    assert answer in refusal(lambda: Data(**fields | changes))


# Split


def blank(counts: tuple[int, int, int]) -> Data:
    n = sum(counts)
    images, targets = torch.zeros(n, 1, 1, 1, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64)
    return Data(images, targets, num_classes=1, scale=255, counts=counts)


COUNTS = [(1797, 0, 0), (1000, 0, 100), (1000, 50, 0), (1000, 50, 100), (5, 0, 0)]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_the_parts_of_a_split_are_disjoint_and_cover_everything(counts, seed):
    parts = data.split(blank(counts), seed)
    assert torch.cat(parts).sort().values.equal(torch.arange(sum(counts)))
    for part, count in zip(parts[1:], counts[1:], strict=True):
        assert part.dtype == torch.int64
        assert len(part) == (count or counts[0] // 5)
        assert part.equal(part.sort().values)


@pytest.mark.parametrize("counts", COUNTS)
def test_a_part_that_the_files_fix_is_the_same_for_every_seed_and_the_others_are_drawn(counts):
    first, second, again = (data.split(blank(counts), seed) for seed in (0, 7, 0))
    starts = (counts[0], counts[0] + counts[1])
    for part, start, count in zip((1, 2), starts, counts[1:], strict=True):
        assert first[part].equal(again[part])
        assert not set(first[part].tolist()) & set(first[0].tolist())
        if count:
            assert first[part].equal(torch.arange(start, start + count))
            assert second[part].equal(first[part])
        elif counts[0] > 5:
            assert not second[part].equal(first[part])
    if all(counts):
        assert first[0].equal(torch.arange(counts[0]))


def test_a_drawn_part_has_at_most_five_thousand_examples():
    train, validation, test = data.split(blank((60_000, 0, 10)), seed=0)
    assert (len(train), len(validation), len(test)) == (55_000, 5_000, 10)


def test_ten_seeds_judge_on_most_of_the_digits():
    tests = torch.stack([data.split(blank((1797, 0, 0)), seed)[2] for seed in range(10)])
    share = len(tests.unique()) / 1797
    expected = 1 - 0.8**10  # an image escapes ten independent fifths with probability .8^10
    assert abs(share - expected) < 5 * (expected * (1 - expected) / 1797) ** 0.5


def test_a_label_says_nothing_of_the_part_an_image_falls_into(digits):
    counts = torch.stack([digits.targets[data.split(digits, seed)[2]].bincount(minlength=10) for seed in range(50)])
    expected = digits.targets.bincount() * 359 / 1797
    # Hypergeometric: the variance of the number of a class in a part drawn without replacement.
    variance = expected * (1 - digits.targets.bincount() / 1797) * (1797 - 359) / 1796
    assert ((counts.double().mean(0) - expected).abs() < 5 * (variance / 50) ** 0.5).all()
