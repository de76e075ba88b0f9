"""The exported file: same function, same bytes, no trace of the machine that made it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import StageError
from edgeproof.stages.classifier import Classifier
from edgeproof.stages.data import Dataset
from edgeproof.stages.distill.training.selection import pgd_attack
from edgeproof.stages.export import MODEL, ExportConfig, export_onnx, export_student, measure_parity
from edgeproof.stages.threat import ThreatModel
from edgeproof.targets.onnxruntime.target import open_session
from edgeproof.targets.signature import read_signature


@pytest.fixture(scope="module")
def folder(student: Classifier, digits: Dataset, threat: ThreatModel, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export")
    export_student(student.load(), ExportConfig(), digits, threat, path, recipe_digest="sha256:0")
    return path


def test_torch_and_file_agree_on_clean_and_adversarial_images(folder, student, digits, threat):
    model, session = student.load(), open_session(folder / MODEL)
    x, y = torch.from_numpy(digits.test.images[:64]), torch.from_numpy(digits.test.labels[:64])
    for images in (x, pgd_attack(model, x, y, threat, steps=5, seed=3)):
        with torch.no_grad():
            expected = model(images).numpy()
        np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], expected, atol=1e-4)


def test_parity_is_recorded_with_the_smallest_tolerance_that_passes(folder: Path):
    parity = json.loads((folder / "parity.json").read_text())
    assert 0 < parity["smallest_tolerance_that_passes"] <= parity["tolerance"] == 1e-4
    worst = max(parity["clean_max_difference"], parity["adversarial_max_difference"])
    assert parity["smallest_tolerance_that_passes"] == pytest.approx(worst / parity["largest_logit"])


def test_a_file_of_another_model_is_noticed(folder: Path, student, digits, threat):
    other = student.load()
    with torch.no_grad():
        other[10].bias += 0.5
    parity = measure_parity(other, folder / MODEL, digits, threat)
    assert parity["smallest_tolerance_that_passes"] > 1e-3
    with pytest.raises(StageError, match=r"differ by .* relative to the largest logit, export\.tolerance is 1e-12"):
        export_student(student.load(), ExportConfig(tolerance=1e-12), digits, threat, folder, recipe_digest="sha256:0")


def test_the_file_tells_what_it_is(folder: Path, digits: Dataset, threat: ThreatModel):
    model = onnx.load(folder / MODEL)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["edgeproof.recipe_digest"] == "sha256:0"
    assert tuple(json.loads(properties["edgeproof.class_names"])) == digits.class_names
    assert json.loads(properties["edgeproof.threat_model"]) == threat.model_dump()
    assert next(o.version for o in model.opset_import if o.domain == "") >= 18
    assert read_signature(folder / MODEL).batch is None


def test_the_same_model_gives_the_same_bytes_and_no_path_leaks(student: Classifier, tmp_path: Path):
    for name in ("a.onnx", "b.onnx"):
        export_onnx(student.load(), student.image_shape, tmp_path / name, opset=18)
    content = (tmp_path / "a.onnx").read_bytes()
    assert content == (tmp_path / "b.onnx").read_bytes()
    for trace in (b".py", b"site-packages", str(Path.cwd()).encode()):
        assert trace not in content


def test_a_model_that_cannot_be_exported(tmp_path: Path):
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] if x.sum() > 0 else x.flatten(1)[:, :2]

    with pytest.raises(StageError, match="export: the model cannot be exported"):
        export_onnx(Branching(), (1, 2, 2), tmp_path / "m.onnx", opset=18)


def test_a_model_too_large_for_one_file_says_so_at_once(tmp_path: Path):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    model[1].weight = torch.nn.Parameter(torch.zeros(1).expand(2**29, 4))  # 8 GiB that take 4 bytes
    with pytest.raises(StageError, match=r"8\.0 GiB, and an ONNX file holds less than 2"):
        export_onnx(model, (1, 2, 2), tmp_path / "m.onnx", opset=18)
    assert not list(tmp_path.iterdir())
