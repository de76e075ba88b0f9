"""Files that are missing, corrupt, packed or to be downloaded."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from edgeproof.core.errors import EdgeproofError, StageError, UsageError
from edgeproof.stages.data import DataConfig, Dataset, load_dataset
from torchvision import datasets as torchvision

from tests.stages.data.synthetic import TRAIN, WRITERS, pack_cifar, pack_zip


def load(name: str, root: Path, **keys: object) -> Dataset:
    return load_dataset(DataConfig.model_validate({"dataset": name, "root": root, **keys}))


def refused(kind: type[EdgeproofError], name: str, root: Path, **keys: object) -> str:
    """The one line that loading ends with."""
    with pytest.raises(kind) as caught:
        load(name, root, **keys)
    assert "\n" not in str(caught.value)
    assert type(caught.value) is kind
    return str(caught.value)


def files_of(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which a server of our own offers it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte.gz"),
        ("fashion_mnist", "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("cifar100", "cifar-100-python/train"),
        ("svhn", "train_32x32.mat"),
        ("gtsrb", "gtsrb/GTSRB/Training"),
        ("eurosat", "eurosat/2750"),
    ],
)
def test_missing_and_no_net(name: str, part: str, root: Path):
    message = refused(StageError, name, root)
    assert message.startswith(
        f"dataset {name!r}: {part} is not in {root} (name a folder that holds it by --data-root or EDGEPROOF_DATA), "
        "and the download failed: "
    )
    assert "no net in tests" in message
    assert files_of(root) == set()


def test_missing_without_a_named_root(tmp_path: Path):
    with pytest.raises(StageError, match=r"is not in .*/home/\.cache/edgeproof/data \(name a folder"):
        load_dataset(DataConfig(dataset="cifar10"))


def test_a_root_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    gone = tmp_path / "gone"
    assert refused(UsageError, "mnist", gone).startswith(f"data root {gone}: no such folder")
    monkeypatch.setenv("EDGEPROOF_DATA", str(gone))
    with pytest.raises(UsageError, match=f"EDGEPROOF_DATA {gone}: no such folder"):
        load_dataset(DataConfig(dataset="mnist"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte.gz"),
        ("fashion_mnist", "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
        ("cifar10", "cifar-10-batches-py/data_batch_3"),
        ("cifar10", "cifar-10-batches-py/batches.meta"),
        ("cifar100", "cifar-100-python/test"),
        ("svhn", "test_32x32.mat"),
    ],
)
def test_a_half_written_file_is_named(name: str, file: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS[name](root, monkeypatch)
    content = (root / file).read_bytes()
    (root / file).write_bytes(content[: len(content) // 2])
    assert refused(UsageError, name, root) == (
        f"dataset {name!r}: {root / file}: is corrupt or half-written, not the published file; "
        "delete it to have it downloaded again"
    )
    assert (root / file).read_bytes() == content[: len(content) // 2]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda content: content[:-9], "is cut off or corrupt: its header says 47040 values, and 47031 follow"),
        (lambda content: content[:7], "is cut off or corrupt"),
        (lambda content: b"", "is no IDX file of bytes in 3 dimensions"),
        (lambda content: b"\0\0\x08\x01" + content[4:], "is no IDX file of bytes in 3 dimensions"),
    ],
)
def test_a_broken_unpacked_idx_file(spoil, words: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS["mnist"](root, monkeypatch, zipped=False)
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(spoil(path.read_bytes()))
    assert words in refused(UsageError, "mnist", root)
    assert str(path) in refused(UsageError, "mnist", root)


def test_labels_of_other_images(root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS["mnist"](root, monkeypatch, zipped=False)
    raw = root / "MNIST" / "raw"
    shutil.copy(raw / "t10k-labels-idx1-ubyte", raw / "train-labels-idx1-ubyte")
    assert "train-labels-idx1-ubyte: holds 20 labels for the 60 images" in refused(UsageError, "mnist", root)


@pytest.mark.parametrize(
    ("name", "gone", "words"),
    [
        ("gtsrb", "gtsrb/GTSRB/Training/00007/00000_00022.ppm", "holds 128 images and not the published 129"),
        ("gtsrb", "gtsrb/GTSRB/Final_Test/Images/00003.ppm", "00003.ppm: cannot be read as an image"),
        ("eurosat", "eurosat/2750/class 3/image_20.png", "holds 59 images and not the published 60"),
    ],
)
def test_a_folder_unpacked_in_part(name: str, gone: str, words: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS[name](root, monkeypatch)
    (root / gone).unlink()
    assert words in refused(UsageError, name, root)


@pytest.mark.parametrize("content", ["", "Filename;Width\n00000.ppm;32\n", "Filename;ClassId\n00000.ppm;five\n"])
def test_a_broken_table_of_test_labels(content: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS["gtsrb"](root, monkeypatch)
    (root / "gtsrb" / "GT-final_test.csv").write_text(content)
    assert "GT-final_test" in refused(UsageError, "gtsrb", root) or content == ""
    assert "published 20" in refused(UsageError, "gtsrb", root) or content != ""


def test_an_archive_that_lies_there_is_unpacked(root: Path, monkeypatch: pytest.MonkeyPatch):
    original = WRITERS["cifar10"](root, monkeypatch)
    expected = load("cifar10", root).digest
    archive = pack_cifar(root, monkeypatch)
    assert load("cifar10", root).digest == expected
    assert len(original.labels) == TRAIN
    assert (root / "cifar-10-batches-py" / "data_batch_5").is_file()
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []
    archive.unlink()
    assert load("cifar10", root).digest == expected  # nothing is unpacked twice


def test_a_half_written_archive_is_named(root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS["cifar10"](root, monkeypatch)
    archive = pack_cifar(root, monkeypatch)
    archive.write_bytes(archive.read_bytes()[:-100])
    assert refused(UsageError, "cifar10", root).startswith(f"dataset 'cifar10': {archive}: is corrupt or half-written")
    (root / "eurosat").mkdir()
    (root / "eurosat" / "EuroSAT.zip").write_bytes(b"PK\3\4 and no more")
    assert "EuroSAT.zip: is corrupt or half-written" in refused(UsageError, "eurosat", root)


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_a_read_only_folder_is_left_alone(name: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    """Packed files in a folder that nobody may write to; the superuser could."""
    WRITERS[name](root, monkeypatch)
    expected = load(name, root).digest
    if name == "cifar10":
        pack_cifar(root, monkeypatch)
    before = files_of(root)
    root.chmod(0o555)
    try:
        data = load(name, root)
        message = refused(StageError, "cifar100", root)
    finally:
        root.chmod(0o755)
    assert data.digest == expected
    assert files_of(root) == before
    assert all(source.is_file() for source in data.sources)
    assert message.endswith("and the folder is read-only, so nothing is downloaded")


def test_a_real_download(root: Path, served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, address = served
    WRITERS["mnist"](tmp_path / "published", monkeypatch)
    for path in (tmp_path / "published" / "MNIST" / "raw").iterdir():
        shutil.copy(path, folder)
    monkeypatch.setattr(torchvision.MNIST, "mirrors", [address])
    data = load("mnist", root)
    assert data.digest == load("mnist", tmp_path / "published").digest
    assert "MNIST/raw/t10k-labels-idx1-ubyte.gz" in files_of(root)
    assert not [name for name in files_of(root) if name.startswith(".download")]
    shutil.rmtree(folder)
    assert load("mnist", root).digest == data.digest  # nothing is downloaded twice


def test_a_broken_download_leaves_nothing(
    root: Path, served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, address = served
    WRITERS["svhn"](tmp_path / "published", monkeypatch)
    for path in (tmp_path / "published").iterdir():
        shutil.copy(path, folder)
    whole = (folder / "test_32x32.mat").read_bytes()
    (folder / "test_32x32.mat").write_bytes(whole[:-50])
    listed = {split: [address + file, file, md5] for split, (_, file, md5) in torchvision.SVHN.split_list.items()}
    monkeypatch.setattr(torchvision.SVHN, "split_list", listed)
    assert "and the download failed: File not found or corrupted." in refused(StageError, "svhn", root)
    assert files_of(root) == set()
    (folder / "test_32x32.mat").write_bytes(whole)
    assert len(load("svhn", root).train) == TRAIN - 10


def test_only_what_is_missing_is_added(
    root: Path, served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, address = served
    WRITERS["cifar10"](root, monkeypatch)
    expected = load("cifar10", root).digest
    shutil.copytree(root / "cifar-10-batches-py", tmp_path / "kept")
    archive = pack_cifar(root, monkeypatch)
    archive.rename(folder / archive.name)
    shutil.copytree(tmp_path / "kept", root / "cifar-10-batches-py")
    (root / "cifar-10-batches-py" / "data_batch_2").unlink()
    monkeypatch.setattr(torchvision.CIFAR10, "url", address + archive.name)
    kept = (root / "cifar-10-batches-py" / "data_batch_1").stat().st_mtime_ns
    assert load("cifar10", root).digest == expected
    assert (root / "cifar-10-batches-py" / "data_batch_1").stat().st_mtime_ns == kept


@pytest.mark.parametrize("name", ["eurosat", "gtsrb"])
def test_downloads_whose_addresses_torchvision_keeps_to_itself(
    name: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its own fetch-and-unpack is replaced by unpacking what we packed, in torchvision's layout."""
    published = tmp_path / "published"
    WRITERS[name](published, monkeypatch)
    keys = {"validation": 43} if name == "gtsrb" else {}
    pack_zip(published / "eurosat" / "2750" if name == "eurosat" else published / "gtsrb" / "GTSRB", tmp_path / "a.zip")

    def unpack(url: str, download_root: str, **_: object) -> None:
        shutil.unpack_archive(tmp_path / "a.zip", download_root)
        if name == "gtsrb":
            shutil.copy(published / "gtsrb" / "GT-final_test.csv", download_root)

    monkeypatch.setattr(f"torchvision.datasets.{name}.download_and_extract_archive", unpack)
    assert load(name, root, **keys).digest == load(name, published, **keys).digest
    assert np.all([part.is_relative_to(root) and part.exists() for part in load(name, root, **keys).sources])


def test_images_that_were_unpacked_elsewhere_are_decoded_while_they_are_there(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    published = tmp_path / "published"
    WRITERS["eurosat"](published, monkeypatch)
    (root / "eurosat").mkdir()
    pack_zip(published / "eurosat" / "2750", root / "eurosat" / "EuroSAT.zip")
    root.chmod(0o555)
    monkeypatch.setattr(
        "torchvision.datasets.eurosat.download_and_extract_archive",
        lambda url, download_root, **_: shutil.unpack_archive(Path(download_root) / "EuroSAT.zip", download_root),
    )
    config = DataConfig.model_validate({"dataset": "eurosat", "root": root})
    expected = load("eurosat", published)
    for found in (load("eurosat", root), load_dataset(config, tests_only=True)):
        assert np.array_equal(found.test.images[:3], expected.test.images[:3])
        assert found.digest == expected.digest


def test_another_size_for_gtsrb(root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS["gtsrb"](root, monkeypatch)
    assert load("gtsrb", root, validation=43, image_size=16).image_shape == (3, 16, 16)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn"])
def test_sets_of_one_size_are_not_resized(name: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    WRITERS[name](root, monkeypatch)
    assert "are not resized, got 64" in refused(UsageError, name, root, image_size=64)
