"""Data sets from the command line: where they are looked for, and what bad ones get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edgeproof.stages.export import export_onnx
from PIL import Image
from torch import nn

from tests.e2e.conftest import ENV, NO_CURVE, QUICK, ROOT, SMALL, edgeproof

pytestmark = pytest.mark.slow

DIGITS = ROOT / "examples" / "digits.yaml"

OWN_DATA = """\
from pathlib import Path
from edgeproof.stages.data import divide
from my_reader import read

FOLDER = Path(__file__).parent / "digits"

def load(config):
    images, labels = read(FOLDER)
    return divide("mine", [str(digit) for digit in range(10)], images, labels, config, sources=[FOLDER])

def wrong(config):
    return read(FOLDER)
"""
OWN_READER = """\
import numpy as np
from PIL import Image

def read(folder):
    paths = sorted(folder.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(path))[None] for path in paths])
    return images, [int(path.parent.name) for path in paths]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a user's own data set in it, and no net."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for row, (image, label) in enumerate(zip(digits.images[:1500], digits.target, strict=False)):
        path = tmp_path / "digits" / str(label) / f"{row:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9375).astype(np.uint8)).save(path)
    (tmp_path / "my_data.py").write_text(OWN_DATA)
    (tmp_path / "my_reader.py").write_text(OWN_READER)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setitem(ENV, name, "http://127.0.0.1:9")
    monkeypatch.setitem(ENV, "no_proxy", "")
    monkeypatch.setitem(ENV, "EDGEPROOF_DATA", "")
    return tmp_path


def refused(here: Path, code: int, *arguments: str | Path) -> str:
    """The one line on stderr of a command that must fail and write nothing."""
    before = sorted(here.rglob("*"))
    done = edgeproof(*arguments, cwd=here)
    assert (done.code, done.out) == (code, ""), done.err
    (line,) = done.err.splitlines()
    assert [path for path in sorted(here.rglob("*")) if "__pycache__" not in path.parts] == before
    return line.removeprefix("edgeproof: ")


def test_every_way_in_which_data_can_be_wrong(here: Path):
    build = ("build", DIGITS, "--out", "run", "--set")
    assert refused(here, 2, *build, "data.dataset=my_dat:load").endswith(
        "data.dataset: dataset 'my_dat:load': the module my_dat does not import: No module named 'my_dat'; "
        f"there is none installed, nor beside the recipe, in {DIGITS.parent}, nor in the working directory"
    )
    assert refused(here, 3, *build, "data.dataset=my_data:wrong") == (
        "dataset 'my_data:wrong': must return an edgeproof.stages.data.Dataset, returned a tuple"
    )
    assert refused(here, 2, *build, "data.dataset=imagefolder", "--data-root", "nowhere").startswith(
        f"data root {here / 'nowhere'}: no such folder"
    )
    assert refused(here, 3, *build, "data.dataset=cifar10", "--data-root", ".").startswith(
        f"dataset 'cifar10': cifar-10-batches-py/data_batch_1 is not in {here} "
        "(name a folder that holds it by --data-root or EDGEPROOF_DATA), and the download failed: "
    )
    broken = here / "digits" / "3" / "0003.png"
    broken.write_bytes(broken.read_bytes()[:50])
    for command in ("build", "teacher"):
        line = refused(here, 2, command, *build[1:], "data.dataset=imagefolder", "--data-root", "digits")
        assert line.startswith(f"{broken}: cannot be read as an image (")


def test_verify_takes_a_data_root_and_an_image_size(here: Path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 6, 10))
    torch.manual_seed(0)
    export_onnx(network.eval(), (3, 6, 6), here / "model.onnx", opset=18)
    asked = ("verify", "model.onnx", "--dataset", "imagefolder", "--eps", "0.1", "--data-root", "digits")
    assert refused(here, 2, *asked) == (
        "model.onnx: its images are [batch, 3, 6, 6], those of the data set [N, 3, 8, 8]; "
        "read the image files with --image-size 6x6"
    )
    assert refused(here, 2, *asked, "--image-size", "6by6").endswith("or HEIGHTxWIDTH such as 48x64, got '6by6'")
    more = ("--image-size", "6x6", "--samples", "10", "--workers", "1", "--out", "proof")
    done = edgeproof(*asked, *more, cwd=here)
    assert done.code in (0, 4), done.err
    assert (here / "proof" / "report.json").is_file()


def test_a_finished_build_notices_changes_of_the_users_code_and_data(here: Path):
    sets = [
        part for override in [*SMALL, *QUICK, NO_CURVE, "data.dataset=my_data:load"] for part in ("--set", override)
    ]
    build = ("build", DIGITS, "--out", "run", "--workers", "1", *sets)
    first = edgeproof(*build, cwd=here)
    assert first.code == 0, first.err
    assert edgeproof(*build, cwd=here).out == first.out

    reader = here / "my_reader.py"
    reader.write_text(OWN_READER + "raise RuntimeError('read again')\n")
    assert "read again" in edgeproof(*build, cwd=here).err
    reader.write_text(OWN_READER)
    assert edgeproof(*build, cwd=here).code == 0

    (here / "digits" / "3" / "0003.png").write_bytes(b"changed")
    assert "UnidentifiedImageError" in edgeproof(*build, cwd=here).err


def test_a_folder_is_named_by_its_path_and_read_grey(here: Path):
    """Followed by nothing but the messages, from a refusal to a verdict on all images of a folder of classes."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8, 10))
    torch.manual_seed(0)
    export_onnx(network.eval(), (1, 8, 8), here / "model.onnx", opset=18)
    asked = ("verify", "model.onnx", "--dataset", "digits/", "--eps", "0.1")
    assert refused(here, 2, *asked) == (
        "model.onnx: its images are [batch, 1, 8, 8], those of the data set [N, 3, 8, 8]; "
        "read the image files with --grey"
    )
    assert refused(here, 2, *asked, "--data-root", ".") == (
        "--data-root: digits/ says already where it lies; leave it out"
    )
    done = edgeproof(*asked, "--grey", "--samples", "10", "--workers", "1", "--out", "proof", cwd=here)
    assert done.code in (0, 4), done.err
    assert "its 1500 images are all test images" in done.err
