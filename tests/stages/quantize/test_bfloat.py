"""bfloat16: typed throughout, but where an operator does not have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import StageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.quantize import QuantizeConfig, quantize_student
from edgeproof.stages.quantize.bfloat import to_bfloat16
from edgeproof.stages.threat import ThreatModel
from edgeproof.stages.twin import load_twin
from edgeproof.targets.base import EngineFile, targets
from onnx import TensorProto, helper, numpy_helper

THREAT = ThreatModel.model_validate({"norm": "Linf", "eps": 0.1})


@pytest.fixture
def half(float_onnx: Path, digits: Dataset, tmp_path: Path) -> Path:
    scheme = targets["onnxruntime"].scheme
    quantize_student(float_onnx, QuantizeConfig(precision="bf16"), scheme, digits, THREAT, tmp_path)
    return tmp_path / "model.onnx"


def test_weights_and_activations_are_bfloat16_images_and_logits_are_not(half: Path, float_onnx: Path):
    graph = onnx.load(half).graph
    floats = {t.data_type for t in graph.initializer} & {TensorProto.FLOAT, TensorProto.BFLOAT16}
    assert floats == {TensorProto.BFLOAT16}
    assert {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)} == {TensorProto.FLOAT}
    assert [node.op_type for node in graph.node].count("Cast") == 2
    weights = sum(np.prod(t.dims) for t in onnx.load(float_onnx).graph.initializer if t.data_type == TensorProto.FLOAT)
    assert float_onnx.stat().st_size - half.stat().st_size == pytest.approx(2 * weights, rel=0.05)


def test_it_moves_the_logits_no_more_than_torch_in_bfloat16_does(half: Path, float_onnx: Path, digits: Dataset):
    images = torch.from_numpy(digits.test.images[:200])
    exact = load_twin(float_onnx)(images)
    with torch.autocast("cpu", torch.bfloat16):
        torchs = load_twin(float_onnx)(images)
    found = load_twin(half)(images)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 3 * (torchs - exact).abs().max()


def test_an_engine_agrees_with_its_twin(half: Path, digits: Dataset):
    target = targets["openvino"]
    if not target.available().available:
        pytest.skip(target.available().reason)
    images = digits.test.images[:300]
    found = target.load(EngineFile.of("openvino", half))(images)
    twin = load_twin(half)(torch.from_numpy(images)).numpy(force=True)
    assert (found.argmax(1) == twin.argmax(1)).mean() >= 0.99


def test_onnx_runtime_says_that_it_has_none(half: Path):
    with pytest.raises(StageError, match="NOT_IMPLEMENTED"):
        targets["onnxruntime"].load(EngineFile.of("onnxruntime", half))


def test_an_operator_without_bfloat16_stays_in_float32(tmp_path: Path):
    """Celu has float32 alone; the weight between both worlds keeps all its digits where it can."""
    weight = np.float32(1.2345678)
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["product"]),
        helper.make_node("Celu", ["product"], ["curved"], alpha=0.5),
        helper.make_node("Celu", ["w"], ["same"], alpha=1.0),
        helper.make_node("Add", ["curved", "curved"], ["twice"]),
        helper.make_node("Concat", ["twice", "same"], ["y"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [numpy_helper.from_array(weight.reshape(1), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "f.onnx")
    to_bfloat16(tmp_path / "f.onnx", tmp_path / "b.onnx")
    graph = onnx.load(tmp_path / "b.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kinds == {"w": TensorProto.FLOAT, "w_bf16": TensorProto.BFLOAT16}
    x = torch.tensor([-1.0, 0.5, 2.0])
    product = (x.bfloat16() * torch.tensor(weight).bfloat16()).float()
    curved = torch.nn.functional.celu(product, 0.5).bfloat16()
    expected = torch.cat([(curved + curved).float(), torch.tensor([weight]).bfloat16().float()])
    assert torch.equal(load_twin(tmp_path / "b.onnx")(x), expected)
