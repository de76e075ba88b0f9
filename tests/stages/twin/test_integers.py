"""The program that ships: real integers between real quantizers, and still the graph's own answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeproof.core.errors import StageError
from edgeproof.stages.data import Dataset
from edgeproof.stages.torch_program import TorchProgram
from edgeproof.stages.twin import UnsupportedOperator
from edgeproof.targets import torch_program
from edgeproof.targets.schemes import SCHEMES
from onnx import TensorProto, helper

from tests.stages.twin.graphs import model, run_onnxruntime


def nodes(exported: torch.export.ExportedProgram, name: str) -> list[torch.fx.Node]:
    return [node for node in exported.graph.nodes if name in str(node.target)]


def test_it_answers_as_the_file_does(int8_onnx: Path, digits: Dataset):
    """uint8 activations, int32 biases, weights per channel."""
    images = digits.test.images[:200]
    (expected,) = run_onnxruntime(onnx.load(int8_onnx), images)
    found = TorchProgram(onnx.load(int8_onnx))(torch.from_numpy(images)).numpy()
    step = np.unique(np.abs(np.diff(np.unique(expected)))).min()  # of the last quantizer
    assert np.abs(found - expected).max() <= 1.01 * step  # torch multiplies by the inverse of the scale
    assert (found == expected).mean() > 0.99


def test_weights_stay_integers_and_biases_become_floats(int8_onnx: Path):
    program = TorchProgram(onnx.load(int8_onnx))
    exported = torch.export.export(program, (torch.zeros(2, 1, 8, 8),))
    weights = [node.args[0].meta["val"] for node in nodes(exported, "dequantize_per_channel")]
    assert [tuple(weight.shape) for weight in weights] == [(8, 1, 3, 3), (10, 96), (16, 8, 3, 3), (24, 16, 3, 3)]
    assert {weight.dtype for weight in weights} == {torch.int8}
    for layer in (*nodes(exported, "conv2d.default"), *nodes(exported, "linear.default")):
        assert layer.args[2].meta["val"].dtype == torch.float32
        assert "dequantize" in layer.args[0].name


@pytest.mark.parametrize("elem_type", [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.INT16])
def test_every_grid_is_onnxs(elem_type: int):
    low, high = {TensorProto.INT4: (-8, 7), TensorProto.UINT8: (0, 255)}.get(elem_type, (-(2**15), 2**15 - 1))
    proto = model(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        inputs={"x": ["n"]},
        initializers={"scale": np.float32(0.5), "zero": helper.make_tensor("zero", elem_type, [], [3])},
        opset=21,
    )
    x = np.linspace(2.0 * low, 2.0 * high, 1001, dtype=np.float32)
    (expected,) = run_onnxruntime(proto, x)
    np.testing.assert_array_equal(TorchProgram(proto)(torch.from_numpy(x)).numpy(), expected)


def test_a_computed_scale_is_refused_by_the_nodes_name(tmp_path: Path):
    proto = model(
        [
            helper.make_node("ReduceMax", ["x"], ["scale"], keepdims=0),
            helper.make_node("QuantizeLinear", ["x", "scale"], ["q"], name="quantizer"),
            helper.make_node("DequantizeLinear", ["q", "scale"], ["y"]),
        ],
        inputs={"x": ["n", 1, 8, 8]},
    )
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    with pytest.raises(StageError, match=r"Some runtime refuses .*node 'quantizer' \(QuantizeLinear.*is computed"):
        torch_program.torch_program(path, SCHEMES["onnxruntime"], "Some runtime")


def test_what_the_scheme_refuses_is_named(int8_onnx: Path):
    with pytest.raises(StageError, match=r"would misread the model: images_QuantizeLinear: .*int8 is wanted"):
        torch_program.torch_program(int8_onnx, SCHEMES["executorch"], "ExecuTorch")


def test_what_torch_has_no_integers_for_is_refused():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    values = {"s": np.float32(1), "z": helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], [0.0])}
    with pytest.raises(UnsupportedOperator, match="8-bit floats"):
        TorchProgram(model(nodes, inputs={"x": ["n"]}, initializers=values, opset=19))
    nodes[1:] = [
        helper.make_node("QLinearMatMul", ["q", "s", "z", "w", "s", "z", "s", "z"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["y"]),
    ]
    values = {"s": np.float32(1), "z": np.uint8(0), "w": np.ones((2, 3), np.uint8)}
    with pytest.raises(UnsupportedOperator, match="Q/DQ form"):
        TorchProgram(model(nodes, inputs={"x": ["n", 2]}, initializers=values, opset=19))
