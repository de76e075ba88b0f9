"""A convolution between Q/DQ pairs, as TensorRT takes it, and with one departure each, as it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

ZERO = np.int8(0)


def quantized_conv(
    *,
    scale: ArrayLike = 0.05,
    zero_point: ArrayLike | None = ZERO,
    weight_zero_point: np.integer = ZERO,
    int32_bias: bool = False,
    computed_scale: bool = False,
    opset: int = 18,
) -> onnx.ModelProto:
    """Images `[N, 3, 8, 8]` → Q/DQ → Conv of 8 filters → mean → logits `[N, 8]`.

    Args:
        scale: of the activation.
        zero_point: of the activation, with its type; None leaves the input out.
        weight_zero_point: of every filter; its type is the weights'.
        int32_bias: store the bias as int32 behind a DequantizeLinear.
        computed_scale: compute the activation's scale from the images.
        opset: the operator set.
    """
    kind = weight_zero_point.dtype
    constants: dict[str, np.ndarray] = {
        "w": np.random.default_rng(0).integers(0, 100, (8, 3, 3, 3)).astype(kind),
        "w_scale": np.full(8, 0.01, np.float32),
        "w_zero": np.full(8, weight_zero_point, kind),
    }
    nodes: list[onnx.NodeProto] = []
    if computed_scale:
        nodes.append(helper.make_node("ReduceMax", ["images"], ["x_scale"], name="largest", keepdims=0))
    else:
        constants["x_scale"] = np.asarray(scale, np.float32)
    parameters = ["x_scale"]
    if zero_point is not None:
        constants["x_zero"] = np.asarray(zero_point)
        parameters.append("x_zero")
    nodes += [
        helper.make_node("QuantizeLinear", ["images", *parameters], ["xq"], name="quantize_images"),
        helper.make_node("DequantizeLinear", ["xq", *parameters], ["x"], name="dequantize_images"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], name="dequantize_weights", axis=0),
    ]
    if int32_bias:
        constants |= {"b": np.arange(8, dtype=np.int32), "b_scale": np.full(8, 0.0005, np.float32)}
        nodes.append(helper.make_node("DequantizeLinear", ["b", "b_scale"], ["bias"], name="dequantize_bias", axis=0))
    else:
        constants["bias"] = np.zeros(8, np.float32)
    nodes += [
        helper.make_node("Conv", ["x", "wd", "bias"], ["y"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["y"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flatten"),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized_conv",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path
