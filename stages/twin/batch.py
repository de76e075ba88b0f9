"""Free batch size: graphs that were exported for batches of one size, made to compute any.

Exporters write the batch size of their example into Reshape and Concat nodes, also where they call the batch free. At
that size the changed graph computes what the graph computes; at others the twin is held against itself, part by part,
before it is trusted.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .inference import inferred_shapes

_PREFIX = "edgeproof/batch_"


def fixed_batch(model: onnx.ModelProto) -> int | None:
    """The batch size of a graph with one input of images and one output; None where it is free, or it is no such."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        return None
    sizes = inputs[0].type.tensor_type.shape.dim
    if len(sizes) < 2:
        return None
    fixed = sizes[0].HasField("dim_value") and sizes[0].dim_value > 0
    return sizes[0].dim_value if fixed else written_batch(model.graph)


def written_batch(graph: onnx.GraphProto) -> int | None:
    """1 where a graph of free batch says that it answers one row, or reshapes what it makes of the images to one."""
    rows = [output.type.tensor_type.shape.dim for output in graph.output]
    if any(sizes and sizes[0].dim_value == 1 for sizes in rows):
        return 1
    constants, live = _constants(graph), _live(graph)
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[0] in live and len(node.input) > 1:
            shape = constants.get(node.input[1], np.zeros(0))
            if len(shape) > 1 and shape[0] == 1:
                return 1
    return None


def freed(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """A copy whose nodes do not say the batch size, as far as that goes; at `batch` it computes the same.

    Args:
        model: with all of its weights.
        batch: its batch size.
    """
    model = _copy(model)
    graph = model.graph
    for value in graph.input:
        sizes = value.type.tensor_type.shape.dim
        if sizes and value.name not in {tensor.name for tensor in graph.initializer}:
            sizes[0].dim_value = batch
    constants = _constants(graph)
    sizes = _sizes(model)
    live = _live(graph)
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        if node.op_type == "Reshape" and len(node.input) > 1 and node.input[1] in constants:
            _free_reshape(graph, node, constants[node.input[1]], sizes.get(node.input[0]), batch)
        elif node.op_type == "Concat":
            _free_concat(graph, node, constants, live, batch)
        graph.node.append(node)
    return model


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Whole-number constants, which shapes are, and others that a Concat may join."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if _small(tensor)}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _small(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location != onnx.TensorProto.EXTERNAL and int(np.prod(tensor.dims, dtype=int)) < 2**16


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """The first dimension of every value that is known to have one."""
    graph = inferred_shapes(model)
    values = [*graph.value_info, *graph.input, *graph.output]
    shapes = {value.name: value.type.tensor_type.shape.dim for value in values}
    return {name: sizes[0].dim_value for name, sizes in shapes.items() if sizes}


def _live(graph: onnx.GraphProto) -> set[str]:
    """Values that depend on the images."""
    stored = {tensor.name for tensor in graph.initializer}
    live = {value.name for value in graph.input} - stored
    for node in graph.node:
        if any(name in live for name in node.input):
            live |= set(node.output)
    return live


def _free_reshape(
    graph: onnx.GraphProto, node: onnx.NodeProto, shape: np.ndarray, first: int | None, batch: int
) -> None:
    shape = shape.copy()
    if (
        shape.ndim != 1
        or len(shape) == 0
        or shape[0] < 1
        or any(each.name == "allowzero" and each.i for each in node.attribute)
    ):
        return
    if -1 not in shape:
        shape[0] = -1
    elif shape[0] == batch == first:
        shape[0] = 0
    else:
        return
    node.input[1] = _stored(graph, shape)


def _free_concat(
    graph: onnx.GraphProto, node: onnx.NodeProto, constants: dict[str, np.ndarray], live: set[str], batch: int
) -> None:
    """Repeat what does not depend on the images, such as a class token, for each of them."""
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    images = next((name for name in node.input if name in live), None)
    if images is None or axis == 0:
        return
    for place, name in enumerate(node.input):
        constant = constants.get(name)
        if (
            name in live
            or constant is None
            or constant.ndim < 2
            or constant.shape[0] != batch
            or axis == -constant.ndim
        ):
            continue
        if (constant != constant[:1]).any():  # not the same for all of a batch
            continue
        label = f"{_PREFIX}{len(graph.node)}_{place}"
        shape, count, target, repeated = (f"{label}/{part}" for part in ("shape", "count", "target", "repeated"))
        first, rest = _stored(graph, np.array([0], np.int64)), _stored(graph, np.array(constant.shape[1:], np.int64))
        row = _stored(graph, np.ascontiguousarray(constant[:1]))
        graph.node.extend(
            [
                helper.make_node("Shape", [images], [shape]),
                helper.make_node("Gather", [shape, first], [count]),
                helper.make_node("Concat", [count, rest], [target], axis=0),
                helper.make_node("Expand", [row, target], [repeated]),
            ]
        )
        node.input[place] = repeated


def _stored(graph: onnx.GraphProto, value: np.ndarray) -> str:
    name = f"{_PREFIX}{len(graph.initializer)}"
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name
