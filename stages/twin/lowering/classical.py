"""Linear models and their scalers, as skl2onnx writes them (ai.onnx.ml operator specification)."""

from __future__ import annotations

import torch
from onnx import TensorProto

from ..node import Node, Value
from .standard import Standard, lowered

ML = "ai.onnx.ml"


def _floats(to: Standard, node: Node, name: str) -> Value | None:
    numbers = node.floats(name)
    return None if numbers is None else to.constant(torch.tensor(numbers))


def _as_float(to: Standard, node: Node) -> Value:
    value = node.needed(0)
    return value if value.elem_type == TensorProto.FLOAT else to.op("Cast", value, to=TensorProto.FLOAT)


@lowered("Scaler", domain=ML)
def scaler(node: Node, to: Standard) -> Value:
    """(x - offset) scale."""
    value = _as_float(to, node)
    offset, scale = _floats(to, node, "offset"), _floats(to, node, "scale")
    value = value if offset is None else to.op("Sub", value, offset)
    return value if scale is None else to.op("Mul", value, scale)


@lowered("Normalizer", domain=ML)
def normalizer(node: Node, to: Standard) -> Value:
    """Rows divided by their norm."""
    norm = node.string("norm", "MAX", among=("L1", "L2"))
    return to.op("LpNormalization", _as_float(to, node), axis=-1, p=int(norm[1]))


@lowered("LinearClassifier", domain=ML)
def linear_classifier(node: Node, to: Standard) -> list[Value]:
    """The label with the largest score, and the scores of all classes."""
    labels = node.ints("classlabels_ints")
    node.require(labels is not None, "labels that are strings are not implemented")
    transform = node.string("post_transform", "NONE", among=("NONE", "LOGISTIC", "SOFTMAX"))
    node.ignore("multi_class")
    weights, biases = torch.tensor(node.floats("coefficients", [])), _floats(to, node, "intercepts")
    rows = len(labels or [])
    complete = rows > 2 if biases is None else len(node.floats("intercepts", [])) == rows
    node.require(complete and weights.numel() % rows == 0, "fewer scores than classes are not implemented")
    scores = to.op("Gemm", _as_float(to, node), to.constant(weights.reshape(rows, -1)), biases, transB=1)
    best = to.op("ArgMax", scores, axis=-1, keepdims=0)
    label = to.op("Gather", to.constant(torch.tensor(labels), TensorProto.INT64), best)
    if transform != "NONE":
        scores = to.op("Sigmoid" if transform == "LOGISTIC" else "Softmax", scores)
    return [label, scores]
