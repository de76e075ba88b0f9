"""The engine protocol, held by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.stages.data import Dataset
from edgeproof.targets.base import EngineFile, targets
from edgeproof.targets.errors import EdgeproofError, StageError, UsageError


@pytest.fixture
def engine(int8_engine: EngineFile):
    with targets["onnxruntime"].load(int8_engine) as loaded:
        yield loaded


@pytest.mark.parametrize("count", [0, 1, 7, 33])
def test_any_number_of_images(engine, digits: Dataset, count: int):
    logits = engine(digits.test.images[:count])
    assert logits.shape == (count, 10)
    assert logits.dtype == np.float32


def test_fixed_batch_models_serve_any_number(float_onnx: Path, digits: Dataset, tmp_path: Path):
    model = onnx.load(float_onnx)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    images = digits.test.images[:11]
    free = targets["onnxruntime"].load(EngineFile.of("onnxruntime", float_onnx))
    fixed = targets["onnxruntime"].load(EngineFile.of("onnxruntime", path))
    assert fixed.signature.batch == 4
    np.testing.assert_allclose(fixed(images), free(images), atol=1e-5)


def test_answers_do_not_depend_on_neighbours(engine, digits: Dataset):
    images = digits.test.images[:40]
    together = engine(images)
    assert np.array_equal(engine(images[::-1].copy())[::-1], together)
    assert np.array_equal(np.concatenate([engine(images[i : i + 1]) for i in range(40)]), together)


def test_every_call_returns_its_own_array(engine, digits: Dataset):
    first = engine(digits.test.images[:3])
    kept = first.copy()
    first[:] = -np.inf  # Square Attack writes into what it gets
    assert np.array_equal(engine(digits.test.images[:3]), kept)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 1, 8, 8)), np.zeros((2, 3, 8, 8), np.float32), np.zeros((1, 8, 8), np.float32), [[0.0]]]
)
def test_wrong_arrays_are_refused(engine, images):
    with pytest.raises(EdgeproofError, match="the engine takes"):
        engine(images)


def test_a_closed_engine_says_so(int8_engine: EngineFile, digits: Dataset):
    loaded = targets["onnxruntime"].load(int8_engine)
    loaded.close()
    loaded.close()
    with pytest.raises(EdgeproofError, match="closed"):
        loaded(digits.test.images[:1])


def test_an_altered_file_is_refused(int8_onnx: Path, tmp_path: Path):
    built = targets["onnxruntime"].build(int8_onnx, tmp_path)
    built.path.write_bytes(built.path.read_bytes() + b"\0")
    with pytest.raises(StageError, match="altered"):
        targets["onnxruntime"].load(built)


def test_a_graph_the_runtime_refuses(float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    model.graph.node[0].domain = "nobody.knows"
    model.opset_import.append(onnx.helper.make_opsetid("nobody.knows", 1))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(StageError, match=r"ONNX Runtime refuses the model: .*nobody\.knows"):
        targets["onnxruntime"].build(path, tmp_path / "engine")


def test_an_unknown_target_offers_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        targets["onnxruntme"]
