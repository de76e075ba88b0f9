"""Three walks of a first hour: an empty folder, an installed edgeproof, and the commands that stand in the documents.

They are typed as a user types them, in a shell, with no folder of this repository on any path. EDGEPROOF_WALK_BIN names
the folder of programs of another environment, such as one into which nothing but the wheel was installed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.stages.data import Dataset, Split
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.linear_model import LogisticRegression

from tests.e2e.docs_blocks import ROOT, Block, blocks
from tests.e2e.docs_runner import SETS, SMALL_VERIFY
from tests.e2e.vendor import as_vendors_ship
from tests.plain_runtime import answers_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAMS = Path(os.environ.get("EDGEPROOF_WALK_BIN", Path(sys.executable).parent))
# What makes a command small stands behind the page's own options.
SMALLER = {
    "build": [*SETS, "--set", "teacher.train.epochs=3", "--set", "distill.epochs=3", "--workers", "1"],
    "verify": ["--no-curve", "--workers", "1"]
    + [part for each in (*SMALL_VERIFY, "verify.attacks=[apgd-ce, square]") for part in ("--set", each)],
}


@dataclass
class Walk:
    """What a user types in a folder.

    Attributes:
        folder: the folder; empty but for what the user has.
        samples: how many test images `verify` attacks.
        typed: the commands so far.
    """

    folder: Path
    samples: int = 60
    typed: list[str] = field(default_factory=list)

    def follow(self, found: Sequence[Block], codes: Sequence[int]) -> list[subprocess.CompletedProcess[str]]:
        """Write the files of some blocks and type their commands, which end with these exit codes, one each."""
        done: list[subprocess.CompletedProcess[str]] = []
        for block in found:
            if block.title:
                (self.folder / block.title).write_text(block.text)
            elif block.reason:  # what is shown and not typed has none
                done += [self.type(command) for command in block.commands()]
        told = [(each.returncode, each.args, each.stderr[-2000:]) for each in done]
        assert [each.returncode for each in done] == list(codes), told
        assert not any("Traceback" in each.stdout + each.stderr for each in done), told
        return done

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """Type a command line."""
        self.typed.append(command)
        words = shlex.split(command)
        more = SMALLER.get(words[1], []) if words[0] == "edgeproof" else []
        if "verify" in words:
            more = [*more, "--samples", str(self.samples)]
        settings = {"user.name": "a", "user.email": "a@b.c"}.items()
        who = {f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(settings)}
        who |= {f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(settings)}
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
        path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", " ".join([command, *map(shlex.quote, more)])],
            cwd=self.folder,
            env={**kept, "PATH": path, "OMP_NUM_THREADS": "1", "GIT_CONFIG_COUNT": str(len(settings)), **who},
            capture_output=True,
            text=True,
            check=False,
            timeout=800,
        )

    def report(self, run: str) -> dict:
        """A finished run's report."""
        return json.loads((self.folder / run / "report.json").read_text())


def section(page: str, heading: str) -> list[Block]:
    """The blocks below a heading, up to the next one."""
    path = ROOT / "docs" / page
    lines = path.read_text().splitlines()
    begin = lines.index(heading) + 1
    end = next((at for at in range(begin, len(lines)) if re.match("#{2,} ", lines[at])), len(lines)) + 1
    found = [block for block in blocks(path) if begin < block.line < end]
    assert found, f"{page}: nothing below {heading}"
    return found


def photos(folder: Path, split: Split, *, scale: int = 1) -> Path:
    """PNG files of grey images, a folder for each class."""
    for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        place = folder / str(label) / f"{number:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(np.kron(image[0], np.ones((scale, scale))) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(place)
    return folder


def test_an_own_network_and_photos_to_a_verified_openvino_engine(digits: Dataset, tmp_path: Path):
    openvino = pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    walk = Walk(tmp_path)
    photos(tmp_path / "photos", digits.train.take(slice(0, 600)), scale=2)
    assert len(list(tmp_path.rglob("*.png"))) == 600
    looked, targets, planned, built, _, _ = walk.follow(section("build.md", "## Your own network and images"), (0,) * 6)
    assert "student: shopnet:ShopNet: 10,026 parameters" in looked.stdout
    assert re.search("openvino.*yes", targets.stdout)
    assert "nothing was written" in planned.stdout
    assert "photos: MEASURED" in built.stdout

    report = walk.report("runs/photos")
    teacher, student, engine = report["subjects"]
    assert (teacher["name"], student["name"], engine["name"]) == ("teacher", "student", "openvino")
    assert report["threat_model"] == {"norm": "Linf", "eps": 0.1}  # as grey images usually are
    assert engine["precision"] == "int8"
    assert report["dataset"]["name"] == "imagefolder"
    # OpenVINO itself, asked about the adversarial images: what fell, falls.
    compiled = openvino.Core().compile_model(str(tmp_path / "runs" / "photos" / engine["path"]), "CPU")
    for picture in sorted((tmp_path / "fallen").glob("*-adversarial.png")):
        row = int(picture.name.split("-")[0])
        label = next(line.split(",")[1] for line in listing(tmp_path / "fallen") if int(line.split(",")[0]) == row)
        image = np.asarray(Image.open(picture), np.float32)[None, None] / np.float32(255)
        (logits,) = compiled(image).values()
        assert np.asarray(logits).argmax() != int(label)
    assert (tmp_path / "photos.tar").is_file()


def listing(folder: Path) -> list[str]:
    return (folder / "images.csv").read_text().splitlines()[1:]


def test_a_vendors_file_and_a_folder_of_test_images_to_a_proof(digits: Dataset, float_onnx: Path, tmp_path: Path):
    walk = Walk(tmp_path)
    photos(tmp_path / "photos", digits.test.take(slice(0, 300)))
    as_vendors_ship(float_onnx, tmp_path / "vendor.onnx")
    found = section("prove.md", "### A vendor's file and a folder of test images")
    first, verified, *_ = walk.follow(found, (4, 0, 0, 0, 0))
    assert re.search("looks-unnormalised: .* --normalize half", " ".join(first.stdout.split()))
    assert "verify-vendor: MEASURED" in verified.stdout

    report = walk.report("runs/verify-vendor")
    (engine,) = report["subjects"]
    assert engine["adapter"] == ["mean 0.5", "std 0.5", "layout NHWC"]
    pack = np.load(tmp_path / "runs/verify-vendor/adversarial/onnxruntime.npz")
    columns = np.load(tmp_path / "runs/verify-vendor/verification/onnxruntime.npz")
    # ONNX Runtime itself, asked as the vendor says: channels last, (x - 0.5) / 0.5.
    answers = answers_of(tmp_path / "vendor.onnx", (pack["adversarial"].transpose(0, 2, 3, 1) - 0.5) / 0.5)
    broken = {int(row) for row in pack["index"][answers.argmax(1) != pack["label"]]}
    wrong = {int(row) for row in columns["index"][~columns["clean_correct"]]}
    assert engine["robust_accuracy"] == pytest.approx(1 - len(broken | wrong) / engine["samples"])
    assert np.abs(pack["adversarial"] - pack["clean"]).max() <= 0.1 + 1e-6
    assert (tmp_path / "evidence" / "evidence.json").is_file()


def plain_classifier(digits: Dataset, path: Path) -> None:
    """Clean accuracy, and none against an attacker: a linear model of clean images."""
    train = digits.train
    fitted = LogisticRegression(max_iter=300).fit(train.images.reshape(len(train), -1), train.labels)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        [
            numpy_helper.from_array(fitted.coef_.T.astype(np.float32), "weight"),
            numpy_helper.from_array(fitted.intercept_.astype(np.float32), "bias"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def test_a_gate_in_a_new_repository_stops_a_planted_regression(digits: Dataset, float_onnx: Path, tmp_path: Path):
    walk = Walk(tmp_path, samples=150)  # on fewer than a hundred no loss of three points is excluded
    assert walk.type("git init --quiet").returncode == 0
    shutil.copy(float_onnx, tmp_path / "model.onnx")
    first, second = [each for each in section("ci.md", "### A file that somebody else exports") if each.reason]
    walk.follow([first], (0, 0, 0, 0))
    assert walk.type("git show --stat HEAD").stdout.count("baselines/model.json") == 1
    before = np.load(tmp_path / "runs/verify-model/verification/onnxruntime.npz")
    before = {name: before[name] for name in before.files}

    # Of the same file nothing is red.
    (same,) = walk.follow([Block("", 0, "sh", "", second.text.splitlines()[-1], "typed")], (0,))
    assert "PASS" in same.stdout

    plain_classifier(digits, tmp_path / "model.onnx")
    unasked = walk.type(first.text.splitlines()[0])
    assert (unasked.returncode, "replace it with --force" in unasked.stderr) == (2, True)
    verified, red = walk.follow([second], (0, 1))
    assert "clean_accuracy" in verified.stdout
    after = np.load(tmp_path / "runs/verify-model/verification/onnxruntime.npz")
    assert np.array_equal(before["index"], after["index"])
    routes = [name for name in after.files if name not in ("index", "label", "clean_correct", "robust_8bit")]
    was, now = (np.all([each[name] for name in routes if name in each], axis=0) for each in (before, dict(after)))
    lost, gained = int((was & ~now).sum()), int((now & ~was).sum())
    assert lost > 20
    said = " ".join(red.stdout.split())
    assert f"{lost} samples lost, {gained} gained of 150" in said
    assert re.search(r"robust_accuracy >= baseline: fail\. onnxruntime: robust accuracy lost", said)
