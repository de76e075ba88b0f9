"""8-bit input of an ONNX graph: whether all that it reads of its images are whole multiples of 1/255."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from ..eight_bit import STEPS

_MOVES = {"Transpose", "Gather", "Reshape", "Identity"}


def reads_eight_bits(model: onnx.ModelProto) -> bool:
    """Whether the graph multiplies its images by 255 and rounds them half up before anything else, as adapters do.

    What the graph does is looked at, not what the file says of itself.
    """
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in stored]
    if len(inputs) != 1:
        return False
    (name,), scaled, shifted = inputs, False, False
    while name not in {output.name for output in graph.output}:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or readers[0].input[0] != name:
            return False
        (node,) = readers
        if node.op_type == "Mul" and not scaled:
            scaled = _is(stored, node, STEPS)
            fine = scaled
        elif node.op_type == "Add" and scaled and not shifted:
            shifted = _is(stored, node, 0.5)
            fine = shifted
        elif node.op_type == "Floor":
            return scaled and shifted
        else:
            fine = node.op_type in _MOVES
        if not fine:
            return False
        name = node.output[0]
    return False


def _is(stored: dict[str, onnx.TensorProto], node: onnx.NodeProto, value: float) -> bool:
    """Whether the second input of a node is this number."""
    tensor = stored.get(node.input[1])
    return tensor is not None and not tensor.dims and float(np.ravel(numpy_helper.to_array(tensor))[0]) == value
