"""Inner logits: those inside a graph, where something between them and its answer hides them from an attack.

A softmax, a huge factor, a rounding or an arg max behind the last layer leaves most labels as they are and takes the
gradients away, or their sizes; a table of stored answers takes the examples away. The last layer's own output has them.
One more layer behind all that, an identity, say, makes another layer the last: values of as many numbers as there are
classes are therefore looked for in the whole graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ....core.errors import ModelError
from ....targets.base import Images, Logits
from ...adapt.logits import NEVER
from ...twin import NoTwin, Twin
from ...twin.inference import inferred_shapes

# What ends in logits.
_LAYERS = {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"),
    *("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"),
    *("FusedConv", "FusedGemm", "FusedMatMul"),
}
# What squashes logits, one by one or a row at a time, and leaves the largest the largest.
_SQUASHES = {"Softmax", "LogSoftmax", "Sigmoid", "Tanh", "Softplus", "Softsign"}
# What may stand behind it and hides nothing.
_PLAIN = {
    *("QuantizeLinear", "DequantizeLinear", "Add", "Identity", "Dropout"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
    *("GlobalAveragePool", "AveragePool", "ReduceMean"),
}
_PROBES = 64
# Labels on noise that the inner logits must share with the answer: what stands right behind the last layer is hardly
# anything else, what a layer in the midst of the graph answers may be.
_AGREEMENT, _DEEP_AGREEMENT = 0.5, 0.95


def inner_logits(
    model: onnx.ModelProto, predict: Callable[[Images], Logits], image_shape: tuple[int, int, int], classes: int
) -> nn.Module | None:
    """Return the twin of a graph up to its last layer, or None where nothing hides that layer.

    Where the answer has one class more, as that to labels has for what is none of them, it is never the largest.

    Args:
        model: the graph, with its weights.
        predict: the engine's forward, images to logits, which the inner logits must agree with on random images.
        image_shape: channels, height, width.
        classes: number of classes.
    """
    behind = list(_behind_the_last_layer(model))
    deep = [name for name in _of_as_many_numbers(model, classes) if name not in behind]
    if not behind and not deep:
        return None
    images = np.random.default_rng(0).uniform(size=(_PROBES, *image_shape)).astype(np.float32)
    labels = predict(images).argmax(1)
    best: tuple[float, nn.Module] | None = None
    for name in (*deep, *behind, None):
        if best is not None and best[0] == 1.0:
            break  # no other agrees more, and each is a twin to make
        twin = _unsquashed(model) if name is None else _twin_of(model, name)
        found = None if twin is None else _answer(twin, images)
        if twin is None or found is None or found.shape[1] not in (classes, classes - 1):
            continue
        agreement = float((found.argmax(1) == labels).mean())
        least = _DEEP_AGREEMENT if name in deep else _AGREEMENT
        if agreement >= least and (best is None or agreement > best[0]):
            best = agreement, twin if found.shape[1] == classes else _OneMore(twin)
    return None if best is None else best[1]


class _OneMore(nn.Module):
    """A model's logits, and behind them that of a class that it does not know."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Images `[N, C, H, W]` to logits `[N, K + 1]`."""
        return nn.functional.pad(self.model(x), (0, 1), value=NEVER)


def differentiable(model: nn.Module, image_shape: tuple[int, int, int]) -> bool:
    """Whether a gradient of the model's answer reaches the images."""
    x = torch.full((2, *image_shape), 0.5, requires_grad=True)
    with torch.enable_grad():
        return bool(model(x).requires_grad)


def _behind_the_last_layer(model: onnx.ModelProto) -> Iterator[str]:
    """Names of the values between the last layers and the answer, deepest first; none where only plain nodes do."""
    tail = _tail(model)
    if all(node.op_type in _LAYERS | _PLAIN or _is_float_cast(node) for node in tail.values()):
        return
    outputs = {output.name for output in model.graph.output}
    order = {name: place for place, node in enumerate(model.graph.node) for name in node.output}
    yield from sorted((name for name in tail if name not in outputs), key=lambda name: order[name])


def _tail(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The nodes from the answer back to the last layers, these with them, each by the name of its value."""
    producers = {name: node for node in model.graph.node for name in node.output if name}
    waiting, tail = [output.name for output in model.graph.output], {}
    while waiting:
        name = waiting.pop(0)
        node = producers.get(name)
        if name in tail or node is None:
            continue
        tail[name] = node
        if node.op_type not in _LAYERS:
            waiting += node.input
    return tail


def _of_as_many_numbers(model: onnx.ModelProto, classes: int) -> Iterator[str]:
    """Names of what layers before the last one answer with one number a class, in the order of the graph."""
    sizes = {
        value.name: math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
        for value in inferred_shapes(model).value_info
    }
    tail = _tail(model)
    for node in model.graph.node:
        if node.op_type in _LAYERS and node.output[0] not in tail and sizes.get(node.output[0]) == classes:
            yield node.output[0]


def _is_float_cast(node: onnx.NodeProto) -> bool:
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
    return node.op_type == "Cast" and any(entry.name == "to" and entry.i in kinds for entry in node.attribute)


def _twin_of(model: onnx.ModelProto, name: str) -> Twin | None:
    """The twin of what computes one value, as one row an image, float32; None where it cannot be made."""
    part = _copy(model)
    row, single = f"{name}/row", f"{name}/float32"
    part.graph.node.append(onnx.helper.make_node("Flatten", [name], [row]))
    part.graph.node.append(onnx.helper.make_node("Cast", [row], [single], to=onnx.TensorProto.FLOAT))
    del part.graph.output[:]
    part.graph.output.append(onnx.helper.make_tensor_value_info(single, onnx.TensorProto.FLOAT, None))
    needed, kept = {single}, []
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
    except (NoTwin, ModelError):
        return None


def _unsquashed(model: onnx.ModelProto) -> Twin | None:
    """The twin of the answer without what squashes it: where its classes are put into another order behind that."""
    part, tail = _copy(model), _tail(model)
    squashes = [node for node in part.graph.node if node.op_type in _SQUASHES and node.output[0] in tail]
    for node in squashes:
        node.CopyFrom(onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]]))
    try:
        return Twin(part) if squashes else None
    except (NoTwin, ModelError):
        return None


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    part = onnx.ModelProto()
    part.CopyFrom(model)
    return part


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
    yield from (output.name for output in graph.output)


def _answer(twin: Twin, images: Images) -> Logits | None:
    """What the twin says, if these are float rows whose gradient reaches the images."""
    try:
        if not differentiable(twin, images.shape[1:]):
            return None
        found = twin(torch.from_numpy(images)).detach()
    except (ModelError, RuntimeError, AttributeError):
        return None
    if not found.is_floating_point() or found.ndim != 2 or len(found) != len(images) or not found.isfinite().all():
        return None
    return found.float().numpy()
