"""Graphs that TensorRT refuses or misreads: the user is told the node, the operator, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgeproof.core.errors import ModelError, StageError
from edgeproof.targets.base import Target, targets
from edgeproof.targets.tensorrt.library import rtx_library
from edgeproof.targets.tensorrt.log import listening, logger_of
from edgeproof.targets.tensorrt.misread_scales import refuse_misread
from edgeproof.targets.tensorrt.network import typed_network
from onnx import TensorProto, helper, numpy_helper

from tests.targets.tensorrt.quantized_conv import quantized_conv, saved

REFUSED = "TensorRT for RTX refuses the model: "


@pytest.fixture
def rtx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    target = targets["tensorrt_rtx"]
    if not target.available().builds:
        pytest.skip(target.available().reason)
    monkeypatch.setenv("EDGEPROOF_PLAN_KEY", str(tmp_path / "plan.key"))
    return target


def foreign_domain() -> onnx.ModelProto:
    model = quantized_conv()
    conv = next(node for node in model.graph.node if node.name == "conv")
    conv.domain = "nobody.knows"
    model.opset_import.append(helper.make_opsetid("nobody.knows", 1))
    return model


def quantizers_of_onnx_runtime() -> onnx.ModelProto:
    model = quantized_conv()
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def dynamically_quantized() -> onnx.ModelProto:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["images"], ["q", "scale", "zero"], name="quantize_images"),
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten"),
    ]
    return of_images(nodes)


def clamped() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["images"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["wide", "huge"], ["product"], name="product"),
        helper.make_node("Cast", ["product"], ["narrow"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["narrow"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    return of_images(nodes, huge=np.float64(1e300))


def halves_and_floats() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["images"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["half"], ["full"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["full", "images"], ["product"], name="product"),
        helper.make_node("GlobalAveragePool", ["product"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    return of_images(nodes)


def of_images(nodes: list[onnx.NodeProto], **constants: np.generic) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


# What is wrong, and the parser's own words, with node and operator.
BY_THE_PARSER: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "int32 bias": (
        lambda: quantized_conv(int32_bias=True),
        r"DequantizeLinear 'dequantize_bias': .*input has type Int32 but must have type .*Int8.*\(INVALID_NODE\)",
    ),
    "zero point 3": (
        lambda: quantized_conv(zero_point=np.int8(3)),
        "QuantizeLinear 'quantize_images': .*Non-zero zero point is not supported",
    ),
    "uint8, zero point 128": (
        lambda: quantized_conv(zero_point=np.uint8(128)),
        "QuantizeLinear 'quantize_images': .*Non-zero zero point is not supported",
    ),
    "zero point of the weights": (
        lambda: quantized_conv(weight_zero_point=np.int8(2)),
        "DequantizeLinear 'dequantize_weights': .*Non-zero zero point is not supported",
    ),
    "uint8 weights": (
        lambda: quantized_conv(weight_zero_point=np.uint8(0)),
        "DequantizeLinear 'dequantize_weights': .*unsupported input type of UINT8",
    ),
    "int16": (
        lambda: quantized_conv(zero_point=np.int16(0), opset=21),
        "the file: .*Failed to import initializer: x_zero",
    ),
    "scale 0": (lambda: quantized_conv(scale=0), "QuantizeLinear 'quantize_images': .*must all be positive"),
    "negative scale": (lambda: quantized_conv(scale=-1), "QuantizeLinear 'quantize_images': .*must all be positive"),
    "dynamic quantization": (
        dynamically_quantized,
        r"DynamicQuantizeLinear 'quantize_images': .*\(UNSUPPORTED_NODE\)",
    ),
    "uint8, zero point 0": (
        lambda: quantized_conv(zero_point=np.uint8(0)),
        "its parser would compute something else: .*Defaulting to INT8",
    ),
    "a constant that float32 cannot hold": (clamped, "its parser would compute something else: .*was clamped"),
}

# What the parser reads otherwise without a word, or crashes on.
BY_US: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "no zero point": (
        lambda: quantized_conv(zero_point=None),
        "QuantizeLinear 'quantize_images': it has no zero point, so ONNX means uint8",
    ),
    "computed scale": (
        lambda: quantized_conv(computed_scale=True),
        "QuantizeLinear 'quantize_images': 'x_scale' is computed",
    ),
    "a scale per channel of an activation": (
        lambda: quantized_conv(scale=[0.1, 0.2, 0.3], zero_point=np.zeros(3, np.int8)),
        r"QuantizeLinear 'quantize_images': it has scales \[3\] for an activation",
    ),
    "an operator of somebody else's": (foreign_domain, "Conv 'conv': its domain is 'nobody.knows'"),
}


@pytest.mark.parametrize("case", BY_THE_PARSER)
def test_the_parser_says_what_it_refuses(case: str, rtx: Target, tmp_path: Path):
    make, says = BY_THE_PARSER[case]
    with pytest.raises(StageError, match=REFUSED + says) as refusal:
        rtx.build(saved(make(), tmp_path / "model.onnx"), tmp_path / "engine")
    assert "\n" not in str(refusal.value)
    assert "cudaError" not in str(refusal.value), "that there is no GPU is no fault of the graph"
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("case", BY_US)
def test_what_the_parser_would_misread_never_reaches_it(case: str, tmp_path: Path):
    make, says = BY_US[case]
    with pytest.raises(StageError, match=REFUSED + says):
        refuse_misread(saved(make(), tmp_path / "model.onnx"), "TensorRT for RTX")


@pytest.mark.parametrize("case", [case for case in BY_US if case != "computed scale"])
def test_the_parser_would_indeed_misread_them(case: str, rtx: Target, tmp_path: Path):
    """The day it refuses one of them itself, the rule can go. A computed scale ends the process, so it is not shown."""
    library = rtx_library()
    path = saved(BY_US[case][0](), tmp_path / "model.onnx")
    with listening(library) as lines:
        builder = library.api.Builder(logger_of(library))
        network = typed_network(library.api, builder)
        assert library.api.OnnxParser(network, logger_of(library)).parse_from_file(str(path))
        assert [line for line in lines if line.severity in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("make", [quantized_conv, quantizers_of_onnx_runtime, halves_and_floats])
def test_legal_graphs_pass(make: Callable[[], onnx.ModelProto], rtx: Target, tmp_path: Path):
    path = saved(make(), tmp_path / "model.onnx")
    refuse_misread(path, "TensorRT for RTX")
    assert rtx.build(path, tmp_path / "engine").path.is_file()


def test_no_onnx_file(rtx: Target, tmp_path: Path):
    path = saved(quantized_conv(), tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="truncated"):
        rtx.build(path, tmp_path / "engine")
