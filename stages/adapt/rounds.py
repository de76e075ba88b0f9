"""8-bit input of an ONNX graph: whether all that it reads of its images are whole multiples of 1/255."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from ...core.onnx_walk import captured
from ..eight_bit import STEPS
from .notes import note, noted

_KEY, _EIGHT_BIT = "images", "8-bit"
_OWN = ("", "ai.onnx")
_MOVES = {"Transpose", "Gather", "Reshape", "Identity"}


def note_eight_bits(model: onnx.ModelProto) -> None:
    """Say in the model that it was made around one whose input is of 8 bits."""
    note(model, _KEY, _EIGHT_BIT)


def reads_eight_bits(model: onnx.ModelProto) -> bool:
    """Whether the graph was made around one of 8-bit input: noted, and that it does round to multiples of 1/255.

    One of float input that rounds by itself is another thing: a change too small for 8 bits may move it a whole step,
    so that its attacker keeps all of the ball.
    """
    if noted(model, _KEY) != _EIGHT_BIT:
        return False
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in stored]
    outputs = {output.name for output in graph.output}
    if len(inputs) != 1:
        return False
    (name,), steps = inputs, [("Mul", STEPS), ("Add", 0.5)]
    for _ in graph.node:
        readers = [node for node in graph.node if name in (*node.input, *captured(node))]
        if name in outputs or len(readers) != 1 or readers[0].domain not in _OWN or readers[0].input[:1] != [name]:
            return False
        (node,) = readers
        if node.op_type == "Floor" and not steps:
            return True
        if steps and node.op_type == steps[0][0] and _is(stored, node, steps[0][1]):
            steps.pop(0)
        elif node.op_type not in _MOVES:
            return False
        name = node.output[0]
    return False


def _is(stored: dict[str, onnx.TensorProto], node: onnx.NodeProto, value: float) -> bool:
    """Whether the second input of a node is this number."""
    tensor = stored.get(node.input[1])
    if tensor is None or tensor.dims or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return False
    return float(numpy_helper.to_array(tensor)) == value
