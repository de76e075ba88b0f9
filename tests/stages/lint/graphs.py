"""A small quantized network in any scheme, in which there is nothing to find, and tools to spoil it with."""

from __future__ import annotations

import numpy as np
import onnx
from edgeproof.targets.base import Scheme
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 4  # of the image and of the convolution, so that scales fit along either axis
CLASSES = 3
_TYPES = {"uint8": np.uint8, "int8": np.int8}


class Builder:
    """Nodes and initializers in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def store(self, name: str, values: np.ndarray) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def pair(self, name: str, data: str, scale: float, zero: int, kind: str) -> str:
        """A Q/DQ pair of an activation: nodes `<name>_Q` and `<name>_DQ`."""
        parameters = [
            self.store(f"{name}_scale", np.float32(scale)),
            self.store(f"{name}_zero", _TYPES[kind](zero)),
        ]
        quantized = self.node("QuantizeLinear", [data, *parameters], f"{name}_Q")
        return self.node("DequantizeLinear", [quantized, *parameters], f"{name}_DQ")

    def weight(self, name: str, values: np.ndarray, paired: bool) -> tuple[str, np.ndarray]:
        """Per output channel, axis 0: node `<name>_DQ`, before it `<name>_Q` when paired; and the scales."""
        scale = (np.abs(values).reshape(len(values), -1).max(1) / 127).astype(np.float32)
        parameters = [self.store(f"{name}_scale", scale), self.store(f"{name}_zero", np.zeros(len(values), np.int8))]
        if paired:
            data = self.node("QuantizeLinear", [self.store(name, values), *parameters], f"{name}_Q", axis=0)
        else:
            shape = (-1, *[1] * (values.ndim - 1))
            data = self.store(name, np.round(values / scale.reshape(shape)).astype(np.int8))
        return self.node("DequantizeLinear", [data, *parameters], f"{name}_DQ", axis=0), scale

    def bias(self, name: str, values: np.ndarray, unit: np.ndarray, quantized: bool) -> str:
        """Stored in float, or as int32 behind `<name>_DQ`."""
        if not quantized:
            return self.store(name, values)
        parameters = [self.store(f"{name}_scale", unit), self.store(f"{name}_zero", np.zeros(len(unit), np.int32))]
        data = self.store(name, np.round(values / unit).astype(np.int32))
        return self.node("DequantizeLinear", [data, *parameters], f"{name}_DQ", axis=0)


def network(scheme: Scheme, opset: int = 21) -> onnx.ModelProto:
    """Image → Conv → Relu → Flatten → Gemm → logits, quantized as a scheme wants it."""
    build, rng = Builder(), np.random.default_rng(0)
    lowest = {"uint8": 0, "int8": -128}[scheme.activation]
    zero, kind = 0 if scheme.activation_symmetric else lowest, scheme.activation
    pixels = build.pair("images", "images", 1 / 255, zero, kind)
    kernel = rng.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    kernel *= np.arange(1, CHANNELS + 1, dtype=np.float32).reshape(-1, 1, 1, 1)
    weight, scale = build.weight("conv_weight", kernel, scheme.weight_qdq_pair)
    unit = scale * np.float32(1 / 255)
    bias = build.bias("conv_bias", rng.normal(size=CHANNELS).astype(np.float32), unit, scheme.quantize_bias)
    conv = build.node("Conv", [pixels, weight, bias], "conv", pads=[1, 1, 1, 1])
    relu = build.pair("relu", build.node("Relu", [conv], "relu"), 0.1, zero, kind)
    flat = build.node("Flatten", [relu], "flatten")
    matrix = rng.normal(size=(CLASSES, CHANNELS * 36)).astype(np.float32)
    weight, scale = build.weight("fc_weight", matrix, scheme.weight_qdq_pair)
    unit = scale * np.float32(0.1)
    bias = build.bias("fc_bias", rng.normal(size=CLASSES).astype(np.float32), unit, scheme.quantize_bias)
    product = build.node("Gemm", [flat, weight, bias], "fc", transB=1)
    logits = build.pair("logits", product, 1.0, 0 if scheme.activation_symmetric else lowest + 100, kind)
    build.nodes[-1].output[0] = "logits"
    assert logits == "logits_DQ_out"
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", CHANNELS, 6, 6])
    answers = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(build.nodes, "network", [images], [answers], build.tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node of a name."""
    return next(entry for entry in model.graph.node if entry.name == name)


def tensor(model: onnx.ModelProto, name: str) -> np.ndarray:
    """The stored values of a name."""
    return numpy_helper.to_array(next(entry for entry in model.graph.initializer if entry.name == name))


def store(model: onnx.ModelProto, name: str, values: np.ndarray) -> str:
    """Store values, in place of those of the same name."""
    for entry in [entry for entry in model.graph.initializer if entry.name == name]:
        model.graph.initializer.remove(entry)
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def change(model: onnx.ModelProto, name: str, factor: float = 1.0, *, first: float | None = None) -> None:
    """Multiply stored values, or replace the first of them."""
    values = (tensor(model, name) * factor).astype(tensor(model, name).dtype)
    values = np.array(values)  # also of a scalar
    if first is not None:
        values.reshape(-1)[0] = first
    store(model, name, values)


def set_attribute(model: onnx.ModelProto, name: str, key: str, value) -> None:
    """Set a node's attribute."""
    target = node(model, name)
    for entry in [entry for entry in target.attribute if entry.name == key]:
        target.attribute.remove(entry)
    target.attribute.append(helper.make_attribute(key, value))


def drop(model: onnx.ModelProto, *names: str) -> None:
    """Remove nodes; who read the output of one reads its first input."""
    for name in names:
        gone = node(model, name)
        model.graph.node.remove(gone)
        redirect(model, gone.output[0], gone.input[0])


def redirect(model: onnx.ModelProto, old: str, new: str) -> None:
    """Let everybody read another tensor."""
    for reader in model.graph.node:
        for index, name in enumerate(reader.input):
            if name == old:
                reader.input[index] = new


def insert_before(model: onnx.ModelProto, name: str, kind: str, *more: str, called: str = "new", **attributes) -> None:
    """Put a node in front of a node's first input."""
    reader = node(model, name)
    new = helper.make_node(kind, [reader.input[0], *more], [f"{called}_out"], name=called, **attributes)
    reader.input[0] = f"{called}_out"
    model.graph.node.insert(list(model.graph.node).index(reader), new)


def pair_before(model: onnx.ModelProto, name: str, like: str, called: str = "new") -> None:
    """Put a Q/DQ pair with another pair's parameters in front of a node's first input."""
    for kind in ("Q", "DQ"):
        parameters = list(node(model, f"{like}_{kind}").input[1:])
        operator = {"Q": "QuantizeLinear", "DQ": "DequantizeLinear"}[kind]
        insert_before(model, name, operator, *parameters, called=f"{called}_{kind}")
