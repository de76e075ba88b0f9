"""The logits inside a graph, where something stands between them and its answer that an attack may stumble over.

A softmax, a huge factor, a rounding or an arg max behind the last layer leaves most labels as they are and takes the
gradients away, or their sizes; a table of stored answers takes the examples away. The last layer's own output has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from ...targets.base import Images, Logits
from ...targets.errors import ModelError
from ..twin import Twin, UnsupportedOperator, load_graph

# What ends in logits.
_LAYERS = {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"),
    *("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"),
    *("FusedConv", "FusedGemm", "FusedMatMul"),
}
# What may stand behind it and hides nothing.
_PLAIN = {
    *("QuantizeLinear", "DequantizeLinear", "Add", "Identity", "Dropout"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
    *("GlobalAveragePool", "AveragePool", "ReduceMean"),
}
_PROBES = 64
# Labels on noise that the inner logits must share with the answer.
_AGREEMENT = 0.5


def inner_logits(
    path: Path, predict: Callable[[Images], Logits], image_shape: tuple[int, int, int], classes: int
) -> Twin | None:
    """Return the twin of a graph up to its last layer, or None where nothing hides that layer.

    Args:
        path: the ONNX file.
        predict: the engine's forward, images to logits, which the inner logits must agree with on random images.
        image_shape: channels, height, width.
        classes: number of classes.
    """
    model = load_graph(path)
    names = list(_behind_the_last_layer(model))
    if not names:
        return None
    images = np.random.default_rng(0).uniform(size=(_PROBES, *image_shape)).astype(np.float32)
    labels = predict(images).argmax(1)
    best: tuple[float, Twin] | None = None
    for name in names:
        twin = _twin_of(model, name)
        found = None if twin is None else _answer(twin, images, classes)
        if twin is None or found is None:
            continue
        agreement = float((found.argmax(1) == labels).mean())
        if agreement >= _AGREEMENT and (best is None or agreement > best[0]):
            best = agreement, twin
    return None if best is None else best[1]


def differentiable(model: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether a gradient of the model's answer reaches the images."""
    x = torch.full((2, *image_shape), 0.5, requires_grad=True)
    with torch.enable_grad():
        return bool(model(x).requires_grad)


def _behind_the_last_layer(model: onnx.ModelProto) -> Iterator[str]:
    """Names of the values between the last layers and the answer, deepest first; none where only plain nodes do."""
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output if name}
    waiting, tail, hides = [output.name for output in graph.output], [], False
    seen: set[str] = set()
    while waiting:
        name = waiting.pop(0)
        node = producers.get(name)
        if name in seen or node is None:
            continue
        seen.add(name)
        tail.append(name)
        if node.op_type in _LAYERS:
            continue
        hides = hides or not (node.op_type in _PLAIN or _is_float_cast(node))
        waiting += node.input
    outputs = {output.name for output in graph.output}
    if not hides:
        return
    order = {name: place for place, node in enumerate(graph.node) for name in node.output}
    yield from sorted((name for name in tail if name not in outputs), key=lambda name: order[name])


def _is_float_cast(node: onnx.NodeProto) -> bool:
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
    return node.op_type == "Cast" and any(entry.name == "to" and entry.i in kinds for entry in node.attribute)


def _twin_of(model: onnx.ModelProto, name: str) -> Twin | None:
    """The twin of what computes one value; None where it cannot be made."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.output[:]
    part.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    needed, kept = {name}, []
    for node in reversed(part.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            needed.update(value for entry in node.attribute if entry.HasField("g") for value in _read(entry.g))
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del part.graph.node[:]
    part.graph.node.extend(kept)
    try:
        return Twin(part)
    except (UnsupportedOperator, ModelError):
        return None


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
    yield from (output.name for output in graph.output)


def _answer(twin: Twin, images: Images, classes: int) -> Logits | None:
    """What the twin says, if these are float logits whose gradient reaches the images."""
    try:
        if not differentiable(twin, images.shape[1:]):
            return None
        found = twin(torch.from_numpy(images)).detach()
    except (ModelError, RuntimeError, AttributeError):
        return None
    if not found.is_floating_point() or found.shape != (len(images), classes) or not torch.isfinite(found).all():
        return None
    return found.float().numpy()
