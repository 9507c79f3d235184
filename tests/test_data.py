"""Data sets: what the description says is decoded, and files from elsewhere are checked and only read."""

import gzip
import hashlib
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from esgrad import menu
from esgrad.tasks import data
from esgrad.tasks.datasets import cifar10
from tests.damage import cut, flip_bit, refusal
from tests.strings import crops

ARGUMENTS = {
    "digit_strings": ["-2", "-3", "-2-mnist"],
    "digits": ["", "-2", "-9"],
    **{name: ["", "-2", "-7"] for name in ("fashion_mnist", "kmnist")},  # the stand-ins' classes are as frequent
}
WORDS = [name + end for name in menu.names("datasets") for end in ARGUMENTS.get(name, [""])]
IDX = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
HERE = {*IDX, "cifar10", *(f"{name}{end}" for name, ends in ARGUMENTS.items() for end in ends)}
BASE = 50  # of the numbers that the stand-ins' images carry, a digit a pixel
CIFAR_BATCH = 40  # images a batch of the stand-in for CIFAR-10
REAL = os.environ.get("ESGRAD_DATA_ROOT")


def number_images(count: int, first: int, shape: tuple[int, ...]) -> np.ndarray:
    """Blank images that carry their own number in their first three pixels."""
    images = np.zeros((count, *shape), np.uint8)
    numbers = np.arange(first, first + count)
    for place in range(3):
        images.reshape(count, -1)[:, place] = numbers // BASE**place % BASE
    return images


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_idx_stand_ins(folder: Path) -> dict[str, str]:
    """The four files of an MNIST whose images carry their number, and the MD5 of each."""
    folder.mkdir(parents=True)
    for part, first, count in (("train", 0, 60_000), ("t10k", 60_000, 10_000)):
        arrays = {"images-idx3": number_images(count, first, (28, 28)), "labels-idx1": np.arange(count) % 10}
        for kind, array in arrays.items():
            packed = gzip.compress(idx(array.astype(np.uint8)), compresslevel=1, mtime=0)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(packed)
    return {path.name: md5(path) for path in sorted(folder.iterdir())}


def write_cifar_stand_in(root: Path) -> dict[str, str]:
    """A small CIFAR-10 in its folder and its tar.gz, and the MD5 of each file."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for batch, name in enumerate([f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"]):
        images = number_images(CIFAR_BATCH, batch * CIFAR_BATCH, (3, 32, 32)).reshape(CIFAR_BATCH, -1)
        content = {"data": images, "labels": [n % 10 for n in range(CIFAR_BATCH)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with tarfile.open(root / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    return {path.name: md5(path) for path in [*folder.iterdir(), root / "cifar-10-python.tar.gz"]}


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in [root, *root.rglob("*")]}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A data_root with a stand-in for every file that torchvision would download, and the digests of all."""
    root = tmp_path_factory.mktemp("stand-ins")
    digests = write_idx_stand_ins(root / "MNIST" / "raw")
    for name in ("FashionMNIST", "KMNIST"):
        shutil.copytree(root / "MNIST", root / name)
    return root, digests | write_cifar_stand_in(root)


@pytest.fixture
def published(stand_ins, monkeypatch):
    """The stand-ins' folder, their digests in the place of torchvision's."""
    from torchvision import datasets

    root, digests = stand_ins
    for name in IDX.values():
        kind = getattr(datasets, name)
        monkeypatch.setattr(kind, "resources", [(file, digests[file]) for file, _ in kind.resources])
    for part in ("train_list", "test_list"):
        names = [name for name, _ in getattr(datasets.CIFAR10, part)]
        monkeypatch.setattr(datasets.CIFAR10, part, [[name, digests[name]] for name in names])
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", digests["batches.meta"])
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", digests[datasets.CIFAR10.filename])
    monkeypatch.setattr(cifar10, "COUNTS", (5 * CIFAR_BATCH, 0, CIFAR_BATCH))
    return root


@pytest.fixture
def mnist_root(published, tmp_path):
    """A data_root of one's own with the stand-in for MNIST."""
    shutil.copytree(published / "MNIST", tmp_path / "MNIST")
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """Nobody answers where torchvision downloads from."""
    with socket.socket() as deaf:  # bound, not listening: a connection is refused at once
        deaf.bind(("127.0.0.1", 0))
        point_mirrors_at(monkeypatch, deaf.getsockname()[1])
        yield


@pytest.fixture
def server(published, monkeypatch):
    """A mirror on this machine that serves the folder it returns."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(published / "MNIST" / "raw"))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        point_mirrors_at(monkeypatch, server.server_port)
        yield
        server.shutdown()
        thread.join()


def point_mirrors_at(monkeypatch, port: int) -> None:
    from torchvision import datasets

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in IDX.values():
        monkeypatch.setattr(getattr(datasets, name), "mirrors", [f"http://127.0.0.1:{port}/"])
    monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{port}/{datasets.CIFAR10.filename}")


# The menu


@pytest.mark.parametrize("word", WORDS)
def test_what_the_description_says_is_what_is_decoded(word, published, offline):
    description = data.describe(word)
    try:
        decoded = data.decode(word, published)
    except ValueError as refused:
        if word in HERE:
            raise
        pytest.skip(f"no stand-in: {refused}")  # a new file of the menu that has to be downloaded
    assert decoded.num_classes == description["num_classes"]
    assert tuple(decoded.images.shape[1:]) == description["shape"]
    assert decoded.counts == description["counts"]
    assert decoded.targets.unique().tolist() == list(range(decoded.num_classes))


def test_the_torchvision_sets_have_the_published_sizes():
    for word in IDX:
        assert data.describe(word) == {"num_classes": 10, "shape": (1, 28, 28), "counts": (60_000, 0, 10_000)}
    assert data.describe("cifar10") == {
        "num_classes": 10,
        "shape": (3, 32, 32),
        "counts": (50_000, 0, 10_000),
    }


def test_describing_every_data_set_imports_neither_torch_nor_numpy():
    code = "import sys; from esgrad.tasks import data; [data.describe(word) for word in sys.argv[1:]]"
    heavy = "{'torch', 'torchvision', 'numpy', 'sklearn'}"
    code += f"; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    subprocess.run([sys.executable, "-c", code, *WORDS], check=True)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("mnst", "Did you mean 'mnist'?"),
        ("fashion-mnist", "Did you mean 'fashion_mnist'?"),
        ("digits-1", "the first '1' classes cannot be had: expected a number from 2 to 10"),
        ("mnist-11", "the first '11' classes cannot be had"),
        ("kmnist-02", "the first '02' classes cannot be had"),
        ("digits-3-4", "not of the form 'digits[-<classes>]'"),
        ("cifar10-2", "not of the form 'cifar10'"),
        ("digit_strings", "'digit_strings-<length>[-<source>]'"),
        ("digit_strings-4", "expected 2 or 3 digits"),
        ("digit_strings-02", "expected 2 or 3 digits"),
        ("digit_strings-2-mnst", "Did you mean 'mnist'?"),
        ("digit_strings-2-kmnist", "Known: digits, mnist"),
        ("digit_strings-2-mnist-3", "not of the form"),
    ],
)
def test_a_word_that_no_data_set_answers_to_is_refused_with_what_would_do(word, answer):
    assert answer in refusal(data.describe, word)
    assert answer in refusal(data.decode, word, "nowhere")


def test_a_file_whose_description_is_wrong_is_refused(monkeypatch):
    wrong = data.describe("mnist")
    monkeypatch.setattr("esgrad.tasks.datasets.digits.description", lambda: wrong)
    assert "not what its description says" in refusal(data.decode, "digits", "nowhere")


@pytest.mark.parametrize("k", [2, 5, 10])
def test_the_first_classes_are_the_whole_set_s_images_of_these_in_the_same_order(k, digits):
    few = data.decode(f"digits-{k}", "nowhere")
    kept = digits.targets < k
    assert few.images.equal(digits.images[kept])
    assert few.targets.equal(digits.targets[kept])
    assert few.num_classes == k


def test_the_parts_of_the_first_classes_are_the_published_parts(published, offline):
    whole, few = data.decode("kmnist", published), data.decode("kmnist-3", published)
    assert few.counts == (18_000, 0, 3_000)
    for part, kept in zip((0, 2), (whole.targets[:60_000] < 3, whole.targets[60_000:] < 3), strict=True):
        assert few.images.split(few.counts)[part].equal(whole.images.split(whole.counts)[part][kept])


# Files from elsewhere


@pytest.mark.parametrize("word", [*IDX, "cifar10"])
def test_images_and_labels_arrive_in_file_order(word, published, offline):
    decoded = data.decode(word, published)
    numbers = decoded.images.flatten(1)[:, :3].long() @ torch.tensor([1, BASE, BASE**2])
    assert numbers.equal(torch.arange(len(numbers)))
    assert decoded.images.flatten(1)[:, 3:].max() == 0
    assert decoded.targets[-10:].tolist() == list(range(10))
    assert decoded.scale == 255


@pytest.mark.parametrize("word", ["mnist", "cifar10"])
def test_reading_changes_nothing_in_a_read_only_folder(word, published, offline, tmp_path):
    root = shutil.copytree(published, tmp_path / "root")
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    before = snapshot(root)
    data.decode(word, root)
    assert snapshot(root) == before
    for folder in folders:
        folder.chmod(0o755)


def test_unpacked_files_serve_as_well_as_packed_ones(mnist_root, offline):
    packed = data.decode("mnist", mnist_root)
    for path in (mnist_root / "MNIST" / "raw").glob("*images*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = data.decode("mnist", mnist_root)
    assert unpacked.images.equal(packed.images)
    assert unpacked.targets.equal(packed.targets)


@pytest.mark.parametrize("damage", [cut, partial(flip_bit, place=50), partial(Path.write_bytes, data=b"")])
def test_a_damaged_packed_file_is_named(damage, mnist_root, offline):
    path = mnist_root / "MNIST" / "raw" / f"{LABELS}.gz"
    damage(path)
    assert f"{path} is damaged or cut short" in refusal(data.decode, "mnist", mnist_root)


@pytest.mark.parametrize("damage", [cut, partial(flip_bit, place=3), partial(flip_bit, place=7)])
@pytest.mark.parametrize("file", [IMAGES, LABELS])
def test_an_unpacked_file_of_another_size_or_header_is_named(damage, file, mnist_root, offline):
    packed = mnist_root / "MNIST" / "raw" / f"{file}.gz"
    path = packed.with_suffix("")
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    damage(path)
    assert f"{path} is damaged" in refusal(data.decode, "mnist", mnist_root)


def test_an_unpacked_label_that_is_no_class_is_named(mnist_root, offline):
    packed = mnist_root / "MNIST" / "raw" / f"{LABELS}.gz"
    path = packed.with_suffix("")
    path.write_bytes(gzip.decompress(packed.read_bytes())[:-1] + b"\x0a")
    packed.unlink()
    assert f"{path} is damaged: a label is 10" in refusal(data.decode, "mnist", mnist_root)


@pytest.mark.parametrize("word", [*IDX, "cifar10", "digit_strings-2-mnist"])
def test_missing_files_are_named_with_their_place_and_nothing_is_left(word, published, offline, tmp_path):
    root = tmp_path / "new"
    answer = refusal(data.decode, word, root)
    for path in published.rglob("*.gz"):
        belongs = path.parts[-3] == IDX.get(word.split("-")[-1]) or (word == "cifar10" and path.suffixes[0] == ".tar")
        assert (str(root / path.relative_to(published)) in answer) == belongs
    assert "could not be downloaded" in answer
    assert socket.getdefaulttimeout() is None
    assert list(root.iterdir()) == []


def test_only_the_missing_file_is_asked_for(mnist_root, offline):
    path = mnist_root / "MNIST" / "raw" / f"{IMAGES}.gz"
    path.unlink()
    assert f"Missing: {path}. " in refusal(data.decode, "mnist", mnist_root)


def test_a_download_leaves_the_published_files_alone_in_their_place(server, published, tmp_path):
    downloaded = data.decode("mnist", tmp_path / "new")
    assert downloaded.images.equal(data.decode("mnist", published).images)
    files = [path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert sorted(files) == sorted(path.relative_to(published) for path in (published / "MNIST").rglob("*.gz"))


def test_a_download_of_other_bytes_is_refused_and_leaves_nothing(server, tmp_path, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "resources", [(file, "0" * 32) for file, _ in MNIST.resources])
    assert "corrupted" in refusal(data.decode, "mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cifar10_is_the_same_from_its_folder_and_from_its_archive(published, offline, tmp_path):
    shutil.copy(published / "cifar-10-python.tar.gz", tmp_path)
    before = snapshot(tmp_path)
    assert data.decode("cifar10", tmp_path).images.equal(data.decode("cifar10", published).images)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_damaged_batch_of_cifar10_is_named_and_not_unpickled(file, published, offline, tmp_path):
    root = shutil.copytree(published, tmp_path / "root")
    path = root / "cifar-10-batches-py" / file
    flip_bit(path, 20)
    assert f"{path} is damaged" in refusal(data.decode, "cifar10", root)


def test_a_damaged_archive_of_cifar10_is_named(published, offline, tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes((published / path.name).read_bytes()[:-1])
    assert f"{path} is damaged" in refusal(data.decode, "cifar10", tmp_path)


@pytest.mark.skipif(REAL is None, reason="ESGRAD_DATA_ROOT names no folder with the published files")
@pytest.mark.parametrize(
    ("word", "folder", "mean", "test_counts"),
    [
        ("mnist", "MNIST", [0.1307], [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
        ("fashion_mnist", "FashionMNIST", [0.2860], [1000] * 10),
        ("kmnist", "KMNIST", None, [1000] * 10),
        ("cifar10", "cifar-10", [0.4914, 0.4822, 0.4465], [1000] * 10),
    ],
)
def test_the_published_files_hold_the_published_numbers(word, folder, mean, test_counts, offline):
    if not list(Path(REAL).glob(f"{folder}*")):
        pytest.skip(f"ESGRAD_DATA_ROOT holds no {folder}")
    before = snapshot(Path(REAL))
    decoded = data.decode(word, REAL)
    train, _, test = decoded.counts
    assert decoded.targets[train:].bincount().tolist() == test_counts
    assert len(decoded.targets) == train + test
    if word == "mnist":
        train_counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    else:
        train_counts = [train // 10] * 10
    assert decoded.targets[:train].bincount().tolist() == train_counts
    if mean is not None:  # of the training pixels, as it is published to four digits
        found = decoded.images[:train].double().mean(dim=(0, 2, 3)) / 255
        assert found.tolist() == pytest.approx(mean, abs=5e-5)
    if word in IDX:
        assert data.decode(f"{word}-3", REAL).num_classes == 3, (
            "and the counts are as its description says, or it is refused"
        )
    assert snapshot(Path(REAL)) == before


def test_strings_of_mnist_keep_its_own_test_images(published, offline):
    decoded = data.decode("digit_strings-2-mnist", published)
    bounds = [(0, 50_000), (50_000, 60_000), (60_000, 70_000)]
    for part, (low, high) in enumerate(bounds):
        images, digits = crops(decoded, part)
        numbers = images[:, :3].long() @ torch.tensor([1, BASE, BASE**2])
        assert low <= numbers.min() < numbers.max() < high
        assert digits.equal((numbers - (60_000 if part == 2 else 0)) % 10)
