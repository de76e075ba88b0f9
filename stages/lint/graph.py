"""Graph view for lint rules: who makes a tensor, who uses it, and what is known of it beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.onnx_walk import captured

if TYPE_CHECKING:
    import onnx

#: Names of ONNX's own operator domain.
ONNX_DOMAIN = ("", "ai.onnx")
#: Operators that move values and compute none; the first input is what they move.
# fmt: off
MOVES = frozenset({
    "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "MaxPool", "Slice", "Gather", "Pad",
    "Split", "Expand", "DepthToSpace", "SpaceToDepth", "Dropout",
})
# fmt: on
# A node of these without an input is no use to any rule but the one that says so.
_NEED_INPUT = MOVES | {"Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "Clip", "BatchNormalization"}
_NEED_INPUT |= {"QuantizeLinear", "DequantizeLinear"}
_RANDOM = frozenset(
    ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"]
)


class Graph:
    """The main graph of a model, local functions inlined.

    Args:
        model: any model; it is not changed.

    Attributes:
        model: the model, functions inlined.
        opset: version of ONNX's own operators, 0 where the model names none.
        nodes: in the file's order; broken ones are left out.
        inputs: names of the inputs that are no initializers.
        outputs: names of the outputs.
        constants: every tensor that the file stores in the main graph, by name.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        if model.functions:
            import onnx.inliner

            with suppress(RuntimeError, ValueError):  # broken ones stay as they are
                model = onnx.inliner.inline_local_functions(model)
        self.model = model
        self.opset = next((entry.version for entry in model.opset_import if entry.domain in ONNX_DOMAIN), 0)
        self.nodes = [
            node for node in model.graph.node if node.output and (node.input or node.op_type not in _NEED_INPUT)
        ]
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.constants |= {node.output[0]: tensor for node, tensor in _constant_nodes(self.nodes)}
        self.inputs = {entry.name for entry in model.graph.input} - set(self.constants)
        self.outputs = {entry.name for entry in model.graph.output}
        self._producers = {name: node for node in self.nodes for name in node.output if name}
        self._consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys([*node.input, *captured(node)]):
                self._consumers.setdefault(name, []).append(node)
        self._foregone = self._known_beforehand()
        described = [*model.graph.input, *model.graph.value_info, *model.graph.output]
        self._types = {entry.name: entry.type.tensor_type.elem_type for entry in described}
        self._values: dict[str, np.ndarray | None] = {}

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that computes a tensor."""
        return self._producers.get(name)

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor."""
        return self._consumers.get(name, [])

    def is_constant(self, name: str) -> bool:
        """Whether a tensor depends on no input, stored or computed."""
        return name in self._foregone

    def value(self, name: str) -> np.ndarray | None:
        """A stored tensor's value; None where it is computed, not loaded or not readable."""
        name = self._named_before(name)
        if name not in self._values:
            self._values[name] = read_tensor(self.constants[name]) if name in self.constants else None
        return self._values[name]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A stored tensor's shape."""
        stored = self.constants.get(self._named_before(name))
        return None if stored is None else tuple(stored.dims)

    def elem_type(self, name: str) -> int:
        """A tensor's element type as far as the file says it, else 0."""
        stored = self.constants.get(self._named_before(name))
        return stored.data_type if stored is not None else self._types.get(name, 0)

    def source(self, name: str) -> tuple[str, list[onnx.NodeProto]]:
        """Follow a tensor back over operators that only move values; the moves come last one first."""
        moves: list[onnx.NodeProto] = []
        while (node := self.producer(name)) is not None and node.op_type in MOVES and len(moves) < len(self.nodes):
            moves.append(node)
            name = node.input[0]
        return name, moves

    def users(self, name: str) -> Iterator[tuple[str, onnx.NodeProto]]:
        """Follow a tensor forward over operators that only move values: who reads it, and under which name."""
        waiting, seen = [name], {name}
        while waiting:
            current = waiting.pop()
            for node in self.consumers(current):
                if node.op_type not in MOVES or node.input[0] != current:
                    yield current, node
                    continue
                waiting += [moved for moved in node.output if moved and moved not in seen]
                seen |= set(node.output)

    def _named_before(self, name: str) -> str:
        """A tensor's name before it went through Identity nodes."""
        for _ in self.nodes:
            node = self.producer(name)
            if node is None or node.op_type != "Identity":
                break
            name = node.input[0]
        return name

    def _known_beforehand(self) -> set[str]:
        known = set(self.constants)
        for node in self.nodes:
            names = {name for name in node.input if name}
            if node.op_type == "Constant" or (names and names <= known and node.op_type not in _RANDOM):
                known |= set(node.output)
        return known


def label(node: onnx.NodeProto) -> str:
    """A node's name, or what it computes where it has none."""
    return node.name or next((name for name in node.output if name), node.op_type)


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """A node's attribute; the default also where it is of another kind than the default."""
    import onnx

    value = next((onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)
    return value if isinstance(value, type(default)) else default


def type_name(elem_type: int) -> str:
    """An element type as schemes call it: `uint8`, `int8`, ...; empty where it is not known."""
    import onnx

    known = elem_type and elem_type in onnx.TensorProto.DataType.values()
    return onnx.TensorProto.DataType.Name(elem_type).lower() if known else ""


def read_tensor(tensor: onnx.TensorProto) -> np.ndarray | None:
    """A tensor's value; None where it lies in a file that was not loaded, or is broken."""
    import onnx

    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError):  # fewer or more bytes than the shape asks for
        return None


def _constant_nodes(nodes: list[onnx.NodeProto]) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    import onnx

    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for node in nodes:
        if node.op_type != "Constant" or node.domain not in ONNX_DOMAIN:
            continue
        for entry in node.attribute:
            value = onnx.helper.get_attribute_value(entry)
            if entry.name == "value":
                yield node, value
            elif entry.name in kinds:
                yield node, onnx.numpy_helper.from_array(np.array(value, kinds[entry.name]))
