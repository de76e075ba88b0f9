"""External data are part of what a model is."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import ModelError, StageError
from edgeproof.core.model_file import digest_of, files_of
from edgeproof.stages.data import Dataset
from edgeproof.targets.base import EngineFile, targets


@pytest.fixture
def apart(float_onnx: Path, tmp_path: Path) -> Path:
    """The float model with its weights in a file of their own."""
    path = tmp_path / "apart" / "given.onnx"
    path.parent.mkdir()
    onnx.save(onnx.load(float_onnx), path, save_as_external_data=True, location="weights.bin", size_threshold=64)
    return path


def test_a_single_file_has_its_plain_digest(float_onnx: Path):
    assert files_of(float_onnx) == (float_onnx,)
    assert digest_of(float_onnx) == hashlib.sha256(float_onnx.read_bytes()).hexdigest()


def test_the_digest_covers_the_data_as_documented(apart: Path):
    assert [file.name for file in files_of(apart)] == ["given.onnx", "weights.bin"]
    listed = subprocess.run(
        ["sha256sum", "given.onnx", "weights.bin"], capture_output=True, check=True, cwd=apart.parent
    ).stdout
    assert digest_of(apart) == hashlib.sha256(listed).hexdigest()


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_altered_weights_are_an_altered_engine(target: str, apart: Path, float_onnx: Path, digits: Dataset):
    if not targets[target].available().available:
        pytest.skip(targets[target].available().reason)
    images = digits.test.images[:5]
    whole = targets[target].load(EngineFile.of(target, float_onnx))(images)
    engine = targets[target].build(apart, apart.parent / "engine")
    np.testing.assert_array_equal(targets[target].load(engine)(images), whole)
    weights = engine.path.parent / "weights.bin"
    weights.write_bytes(weights.read_bytes()[::-1])
    with pytest.raises(StageError, match="altered"):
        targets[target].load(engine)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("../secret", r"reads '\.\./secret', not a file of the model's folder"),
        ("/etc/passwd", r"reads '/etc/passwd', not a file of the model's folder"),
        ("gone.bin", r"reads 'gone\.bin', which is not there"),
        (".", r"reads '\.', which is not there"),
    ],
)
def test_data_outside_the_folder_are_not_opened(location: str, words: str, apart: Path):
    (apart.parent.parent / "secret").write_text("x")
    model = onnx.load(apart, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save(model, apart)
    with pytest.raises(ModelError, match=words):
        files_of(apart)


def test_an_openvino_model_is_its_weights_as_well(tmp_path: Path, float_onnx: Path):
    openvino = pytest.importorskip("openvino")
    xml = tmp_path / "model.xml"
    openvino.save_model(openvino.convert_model(float_onnx), xml, compress_to_fp16=False)
    engine = EngineFile.of("openvino", xml)
    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    with (
        targets["openvino"].load(engine) as own,
        targets["onnxruntime"].load(EngineFile.of("onnxruntime", float_onnx)) as other,
    ):
        assert own.signature.image_shape == (1, 8, 8)
        assert np.allclose(own(images), other(images), atol=1e-4)
    weights = xml.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-4] + b"1234")
    with pytest.raises(StageError, match="altered"):
        targets["openvino"].load(engine)
    weights.unlink()
    with pytest.raises(ModelError, match=r"its weights, model\.bin, are not there"):
        EngineFile.of("openvino", xml)
