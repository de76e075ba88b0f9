"""The engine protocol, held by every target that runs here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.stages.data import Dataset
from edgeproof.stages.twin import load_twin
from edgeproof.targets.base import EngineFile, Target, targets
from edgeproof.targets.errors import EdgeproofError, StageError, UsageError
from edgeproof.targets.onnxruntime import open_session
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

# What each calls itself when it refuses a graph.
RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


@pytest.fixture(params=RUNTIMES)
def target(request: pytest.FixtureRequest) -> Target:
    found = targets[request.param]
    state = found.available()
    if not state.available:
        pytest.skip(state.reason)
    return found


@pytest.fixture
def engine(target: Target, int8_onnx: Path):
    with target.load(EngineFile.of(target.name, int8_onnx)) as loaded:
        yield loaded


@pytest.mark.parametrize("count", [0, 1, 7, 33])
def test_any_number_of_images(engine, digits: Dataset, count: int):
    logits = engine(digits.test.images[:count])
    assert logits.shape == (count, 10)
    assert logits.dtype == np.float32


def test_fixed_batch_models_serve_any_number(target: Target, float_onnx: Path, digits: Dataset, tmp_path: Path):
    model = onnx.load(float_onnx)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    images = digits.test.images[:11]
    free = target.load(EngineFile.of(target.name, float_onnx))
    fixed = target.load(EngineFile.of(target.name, path))
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


def test_a_closed_engine_says_so(target: Target, int8_onnx: Path, digits: Dataset):
    loaded = target.load(EngineFile.of(target.name, int8_onnx))
    loaded.close()
    loaded.close()
    with pytest.raises(EdgeproofError, match="closed"):
        loaded(digits.test.images[:1])


def test_an_altered_file_is_refused(target: Target, int8_onnx: Path, tmp_path: Path):
    built = target.build(int8_onnx, tmp_path)
    built.path.write_bytes(built.path.read_bytes() + b"\0")
    with pytest.raises(StageError, match="altered"):
        target.load(built)


def test_a_graph_the_runtime_refuses(target: Target, float_onnx: Path, tmp_path: Path):
    model = onnx.load(float_onnx)
    model.graph.node[0].domain = "nobody.knows"
    model.opset_import.append(onnx.helper.make_opsetid("nobody.knows", 1))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(StageError, match=rf"{RUNTIMES[target.name]} refuses the model: .*nobody\.knows"):
        target.build(path, tmp_path / "engine")


def test_floats_are_computed_in_float32(target: Target, float_onnx: Path, digits: Dataset):
    """OpenVINO would take bfloat16 where the processor has it."""
    model = onnx.load(float_onnx)
    reference = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: digits.test.images[:16]})[0]
    found = target.load(EngineFile.of(target.name, float_onnx))(digits.test.images[:16])
    np.testing.assert_allclose(found, reference, atol=1e-4)


def test_quantized_answers_are_those_of_the_graph(target: Target, int8_onnx: Path, digits: Dataset):
    images = digits.test.images[:200]
    twin = load_twin(int8_onnx)
    expected = twin(torch.from_numpy(images)).detach().numpy()
    found = target.load(EngineFile.of(target.name, int8_onnx))(images)
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.98


def test_the_largest_sums_are_exact(tmp_path: Path):
    """Pairs of products of 255 and 127 do not fit 16 bits: the session must not take kernels that would lose them."""
    path = tmp_path / "sums.onnx"
    depth = 64
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "y_scale", "x_zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "y_scale", "x_zero"], ["y"]),
    ]
    constants = {
        "x_scale": np.float32(1 / 255),
        "x_zero": np.uint8(0),
        "w": np.full((depth, 8), 127, np.int8),
        "w_scale": np.float32(1 / 127),
        "w_zero": np.int8(0),
        "y_scale": np.float32(depth / 255),
    }
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", depth])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    (found,) = open_session(path, threads=1).run(None, {"x": np.ones((1, depth), np.float32)})
    np.testing.assert_allclose(found, np.full((1, 8), depth), rtol=1e-5)


def test_an_unknown_target_offers_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'onnxruntime'"):
        targets["onnxruntme"]
