"""One defect for every rule: how to plant it, in whose scheme, and which node is at fault."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.stages.lint.graphs import (
    CHANNELS,
    CLASSES,
    change,
    drop,
    insert_before,
    node,
    pair_before,
    redirect,
    set_attribute,
    store,
    tensor,
)

Plant = Callable[[onnx.ModelProto], None]


def zero_point(name: str, value: int) -> Plant:
    return lambda model: change(model, f"{name}_zero", 0, first=value)


def zero_points(name: str, kind: type) -> Plant:
    return lambda model: store_all(model, f"{name}_zero", kind)


def store_all(model: onnx.ModelProto, name: str, kind: type) -> None:
    store(model, name, np.zeros(tensor(model, name).shape, kind))


def scale(name: str, value: float) -> Plant:
    return lambda model: change(model, f"{name}_scale", first=value)


def external(model: onnx.ModelProto) -> None:
    (entry,) = [entry for entry in model.graph.initializer if entry.name == "fc_bias"]
    entry.ClearField("raw_data")
    entry.data_location = TensorProto.EXTERNAL
    entry.external_data.add(key="location", value="weights/../../secrets.bin")


def cut(model: onnx.ModelProto) -> None:
    (entry,) = [entry for entry in model.graph.initializer if entry.name == "fc_bias"]
    entry.raw_data = entry.raw_data[:-1]


def mask(model: onnx.ModelProto) -> None:
    insert_before(model, "fc", "Add", store(model, "mask", np.full(1, -np.inf, np.float32)))


def unknown(model: onnx.ModelProto) -> None:
    insert_before(model, "relu", "Swish")  # ONNX has it from opset 24


def four_bits(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 20
    (entry,) = [entry for entry in model.graph.initializer if entry.name == "images_zero"]
    entry.CopyFrom(helper.make_tensor("images_zero", TensorProto.INT4, [], [0]))


def dynamic(model: onnx.ModelProto) -> None:
    insert_before(model, "images_Q", "Identity", called="same")
    reader = node(model, "images_Q")
    largest = helper.make_node("ReduceMax", ["images"], ["largest"], name="largest", keepdims=0)
    model.graph.node.insert(0, largest)
    redirect(model, "images_scale", "largest")
    assert reader.input[1] == "largest"


def foreign(model: onnx.ModelProto) -> None:
    insert_before(model, "relu", "MyRelu", domain="org.example")
    model.opset_import.append(helper.make_opsetid("org.example", 1))


def undefined(model: onnx.ModelProto) -> None:
    node(model, "relu").input[0] = "nowhere"


def unquantized(model: onnx.ModelProto) -> None:
    for entry in list(model.graph.node):
        if entry.op_type in ("QuantizeLinear", "DequantizeLinear") and entry.name != "logits_DQ":
            drop(model, entry.name)
    last = node(model, "logits_DQ")
    last.op_type = "Identity"
    del last.input[1:]
    for name in ("conv_weight", "fc_weight", "conv_bias", "fc_bias"):
        store(model, name, tensor(model, name).astype(np.float32))


def integer_operator(model: onnx.ModelProto) -> None:
    """`images_Q` feeds a ConvInteger beside the network."""
    model.graph.node.append(helper.make_node("ConvInteger", ["images_Q_out", "conv_weight"], ["sums"], name="integers"))


def per_channel(model: onnx.ModelProto) -> None:
    for part in ("scale", "zero"):
        store(model, f"images_{part}", np.repeat(tensor(model, f"images_{part}"), CHANNELS))


def unsigned_weight(model: onnx.ModelProto) -> None:
    store(model, "conv_weight", np.clip(tensor(model, "conv_weight"), 0, None).astype(np.uint8))
    store_all(model, "conv_weight_zero", np.uint8)


def per_tensor(model: onnx.ModelProto) -> None:
    for part in ("scale", "zero"):
        store(model, f"conv_weight_{part}", tensor(model, f"conv_weight_{part}")[0])


def float_bias(model: onnx.ModelProto) -> None:
    drop(model, "conv_bias_DQ")
    store(model, "conv_bias", np.ones(CHANNELS, np.float32))


def int32_bias(model: onnx.ModelProto) -> None:
    store(model, "fc_bias", np.ones(CLASSES, np.int32))
    store(model, "unit", np.float32(0.01))
    model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["fc_bias", "unit"], ["bias"], name="fc_bias_DQ"))
    node(model, "fc").input[2] = "bias"


def int8_bias(model: onnx.ModelProto) -> None:
    store(model, "conv_bias", np.ones(CHANNELS, np.int8))
    store_all(model, "conv_bias_zero", np.int8)


def without_dq(model: onnx.ModelProto) -> None:
    """The pair's DQ reads another Q, with the same parameters, so that the first is read by nobody."""
    insert_before(model, "images_DQ", "Identity", called="unused")
    drop(model, "unused")
    other = node(model, "images_Q")
    model.graph.node.insert(1, helper.make_node("QuantizeLinear", list(other.input), ["dead"], name="dead"))


def without_q(model: onnx.ModelProto) -> None:
    drop(model, "images_Q")
    insert_before(model, "images_DQ", "Cast", called="cast", to=TensorProto.UINT8)


def mismatch(model: onnx.ModelProto) -> None:
    node(model, "relu_DQ").input[1] = "images_scale"


def twice(model: onnx.ModelProto) -> None:
    """Each reader has a pair of its own: the Conv, and a second one."""
    for kind, data, name in (("QuantizeLinear", "images", "own_Q"), ("DequantizeLinear", "own_Q_out", "own_DQ")):
        made = helper.make_node(kind, [data, "images_scale", "images_zero"], [f"{name}_out"], name=name)
        model.graph.node.insert(list(model.graph.node).index(node(model, "relu")), made)
    insert_before(model, "relu", "Add", "own_DQ_out", called="add")


def between_floats(model: onnx.ModelProto) -> None:
    """The Conv's weight is float, and nothing else reads the image's pair."""
    store(model, "kernel", np.ones((CHANNELS, CHANNELS, 3, 3), np.float32))
    node(model, "conv").input[1] = "kernel"


def unfolded(model: onnx.ModelProto) -> None:
    names = [store(model, f"bn_{part}", np.ones(CHANNELS, np.float32)) for part in ("scale", "b", "mean", "var")]
    insert_before(model, "relu", "BatchNormalization", *names, called="bn")


def swallowed(model: onnx.ModelProto) -> None:
    drop(model, "relu")


def split(model: onnx.ModelProto) -> None:
    pair_before(model, "relu", like="relu", called="conv")


def unfused(model: onnx.ModelProto) -> None:
    change(model, "relu_zero", 0, first=100)


def float_output(model: onnx.ModelProto) -> None:
    drop(model, "relu_DQ", "relu_Q")


def float_operator(model: onnx.ModelProto) -> None:
    store(model, "matrix", np.ones((CLASSES, CHANNELS * 36), np.float32))
    node(model, "fc").input[1] = "matrix"


def blocks(sizes: tuple[int, ...], sign: int = 1) -> Plant:
    """The last layer's weight in blocks of 4 along its inputs, with scales of these sizes."""

    def plant(model: onnx.ModelProto) -> None:
        set_attribute(model, "fc_weight_DQ", "axis", 1)
        set_attribute(model, "fc_weight_DQ", "block_size", 4)
        node(model, "fc_weight_DQ").input[1] = store(model, "blocks", np.full(sizes, sign * 0.01, np.float32))
        if len(node(model, "fc_weight_DQ").input) > 2:
            node(model, "fc_weight_DQ").input[2] = store(model, "zeros", np.zeros(sizes, np.int8))

    return plant


def float8(model: onnx.ModelProto) -> None:
    zero = helper.make_tensor("zero8", TensorProto.FLOAT8E4M3FN, [], [0.0])
    model.graph.initializer.append(zero)
    for name in ("images_Q", "images_DQ"):
        node(model, name).input[2] = "zero8"


#: Rule, target, how to plant the defect, and the nodes that are to be named.
DEFECTS: list[tuple[str, str, Plant, str]] = [
    ("external-data", "onnxruntime", external, "fc_bias"),
    ("unreadable-constant", "onnxruntime", cut, "fc_bias"),
    ("not-a-number", "tensorrt", lambda model: change(model, "fc_bias", first=np.nan), "fc_bias"),
    ("not-a-number", "tensorrt", lambda model: change(model, "fc_weight", first=np.inf), "fc_weight"),
    ("infinite-constant", "onnxruntime", mask, "mask"),
    ("unknown-operator", "onnxruntime", unknown, "new"),
    ("unknown-operator", "onnxruntime", lambda model: set_attribute(model, "conv", "padding", 1), "conv"),
    ("unknown-operator", "onnxruntime", lambda model: insert_before(model, "relu", "Upsample"), "new"),
    ("unknown-operator", "onnxruntime", lambda model: node(model, "relu").input.append("images"), "relu"),
    ("quantizer-opset", "onnxruntime", four_bits, "images_Q images_DQ"),
    ("refused-operator", "tensorrt", lambda model: insert_before(model, "relu", "Det"), "new"),
    ("foreign-operator", "onnxruntime", foreign, "new"),
    ("undefined-tensor", "onnxruntime", undefined, "relu"),
    ("float-model", "onnxruntime", unquantized, ""),
    ("integer-operators", "onnxruntime", integer_operator, ""),
    ("float-operators", "onnxruntime", float_operator, ""),
    ("scale-value", "openvino", scale("images", 0.0), "images_Q"),
    ("scale-value", "openvino", scale("images", -0.1), "images_Q"),
    ("scale-value", "executorch", scale("conv_weight", 1e-40), "conv_weight_DQ"),
    ("scale-value", "onnxruntime", scale("relu", np.inf), "relu_Q"),
    ("scale-value", "tensorrt", scale("fc_weight", np.nan), "fc_weight_Q"),
    ("scale-count", "openvino", lambda model: set_attribute(model, "fc_weight_DQ", "axis", 1), "fc_weight_DQ"),
    ("scale-count", "openvino", lambda model: set_attribute(model, "fc_weight_DQ", "axis", 4), "fc_weight_DQ"),
    ("block-size", "openvino", blocks((CLASSES, CHANNELS * 8)), "fc_weight_DQ"),
    ("block-size", "onnxruntime", blocks((CHANNELS * 9, CLASSES)), "fc_weight_DQ"),
    ("float8-activation", "onnxruntime", float8, "images_Q"),
    ("float8-activation", "openvino", float8, "images_Q"),
    ("missing-zero-point", "tensorrt", lambda model: node(model, "images_Q").input.pop(), "images_Q"),
    ("missing-zero-point", "onnxruntime", lambda model: node(model, "images_Q").input.pop(), "images_Q"),
    ("dynamic-parameter", "tensorrt", dynamic, "images_Q"),
    ("activation-type", "tensorrt", zero_points("images", np.uint8), "images_Q"),
    ("activation-type", "arm", zero_points("logits", np.uint8), "logits_Q"),
    ("activation-zero-point", "tensorrt", zero_point("relu", 3), "relu_Q"),
    ("activation-per-channel", "tensorrt", per_channel, "images_Q"),
    ("weight-type", "openvino", unsigned_weight, "conv_weight_DQ"),
    ("weight-zero-point", "executorch", zero_point("conv_weight", 5), "conv_weight_DQ"),
    ("weight-per-tensor", "onnxruntime", per_tensor, "conv_weight_DQ"),
    ("weight-axis", "onnxruntime", lambda model: set_attribute(model, "conv_weight_DQ", "axis", 1), "conv_weight_DQ"),
    ("weight-axis", "openvino", lambda model: set_attribute(model, "conv_weight_DQ", "axis", 1), "conv_weight_DQ"),
    ("int32-bias", "tensorrt", int32_bias, "fc_bias_DQ"),
    ("int32-bias", "executorch", int32_bias, "fc_bias_DQ"),
    ("float-bias", "onnxruntime", float_bias, "conv"),
    ("bias-type", "onnxruntime", int8_bias, "conv_bias_DQ"),
    ("bias-scale", "onnxruntime", lambda model: change(model, "conv_bias_scale", 2), "conv_bias_DQ"),
    ("q-without-dq", "onnxruntime", without_dq, "dead"),
    ("q-without-dq", "onnxruntime", integer_operator, "images_Q"),
    ("dq-without-q", "onnxruntime", without_q, "images_DQ"),
    ("pair-mismatch", "onnxruntime", mismatch, "relu_DQ"),
    ("requantization", "onnxruntime", lambda model: pair_before(model, "flatten", like="relu"), "new_Q"),
    ("requantization", "onnxruntime", lambda model: pair_before(model, "flatten", like="images"), "new_Q"),
    ("quantized-twice", "onnxruntime", twice, "own_Q"),
    ("pair-between-floats", "onnxruntime", between_floats, "images_Q"),
    ("batch-normalization", "onnxruntime", unfolded, "bn"),
    ("swallowed-activation", "onnxruntime", swallowed, "relu_Q"),
    ("swallowed-activation", "arm", swallowed, "relu_Q"),
    ("split-activation", "tensorrt", split, "conv_Q"),
    ("unfused-activation", "onnxruntime", unfused, "relu"),
    ("float-output", "onnxruntime", float_output, "conv"),
]
