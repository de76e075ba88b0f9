"""QuantizeLinear and DequantizeLinear nodes with their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from .graph import Graph, attribute, label, type_name

if TYPE_CHECKING:
    import onnx

_KINDS: dict[str, Literal["Q", "DQ"]] = {"QuantizeLinear": "Q", "DequantizeLinear": "DQ"}
#: Of element types by their ONNX number: uint8, int8, uint16, int16, int32, uint4, int4.
_LOWEST = {2: 0, 3: -128, 4: 0, 5: -32768, 6: -(2**31), 21: 0, 22: -8}
_HIGHEST = {2: 255, 3: 127, 4: 65535, 5: 32767, 6: 2**31 - 1, 21: 15, 22: 7}


@dataclass(frozen=True, eq=False)
class Quantizer:
    """One Q or DQ node.

    Attributes:
        node: the node.
        kind: `Q` or `DQ`.
        elem_type: ONNX number of the integer type, 0 where the file does not say it.
        scale: its value where it is stored in the file, else None.
        zero_point: its value; a single 0 where the node has none, None where it is not stored.
        given_zero_point: whether the node names a zero point.
        constant_parameters: whether scale and zero point depend on no input.
        constant: whether what it quantizes depends on no input: a weight, a bias.
    """

    node: onnx.NodeProto
    kind: Literal["Q", "DQ"]
    elem_type: int
    scale: np.ndarray | None
    zero_point: np.ndarray | None
    given_zero_point: bool
    constant_parameters: bool
    constant: bool

    @property
    def data(self) -> str:
        """Name of what it quantizes or dequantizes."""
        return self.node.input[0]

    @property
    def output(self) -> str:
        """Name of the result."""
        return self.node.output[0]

    @property
    def name(self) -> str:
        """The node's name."""
        return label(self.node)

    @property
    def type_name(self) -> str:
        """The integer type as schemes call it: `uint8`, `int8`, ...; empty where it is not known."""
        return type_name(self.elem_type)

    @property
    def axis(self) -> int:
        """The axis that scales run along; it may be negative."""
        return attribute(self.node, "axis", 1)

    @property
    def blocked(self) -> bool:
        """Whether there is a scale per block of values."""
        return bool(attribute(self.node, "block_size", 0))

    @property
    def scales(self) -> int:
        """How many scales there are; 1 where that is not known."""
        return 1 if self.scale is None else self.scale.size

    @property
    def shifted(self) -> bool:
        """Whether a zero point is known not to be 0."""
        return self.zero_point is not None and bool(self.zero_point.any())

    @cached_property
    def range(self) -> tuple[float, float] | None:
        """The smallest and the largest value it can represent; None where that is not one known pair."""
        if self.scale is None or self.zero_point is None or self.scale.size != 1 or self.zero_point.size != 1:
            return None
        if self.elem_type not in _LOWEST:
            return None
        scale, zero = float(self.scale.item()), int(self.zero_point.item())
        return scale * (_LOWEST[self.elem_type] - zero), scale * (_HIGHEST[self.elem_type] - zero)

    def agrees(self, other: Quantizer) -> bool:
        """Whether another one has the same type, scale and zero point, as far as can be known."""
        if self.elem_type != other.elem_type:
            return False
        if list(self.node.input[1:]) == list(other.node.input[1:]):
            return True
        pairs = ((self.scale, other.scale), (self.zero_point, other.zero_point))
        return all(mine is not None and theirs is not None and np.array_equal(mine, theirs) for mine, theirs in pairs)


def read_quantizers(graph: Graph) -> dict[str, Quantizer]:
    """Every Q and DQ node of a graph, of ONNX's domain or of Microsoft's, by the name of its output."""
    found: dict[str, Quantizer] = {}
    for node in graph.nodes:
        if node.op_type in _KINDS and len(node.input) > 1 and node.output:
            found[node.output[0]] = _read(graph, node, found)
    return found


def _read(graph: Graph, node: onnx.NodeProto, before: dict[str, Quantizer]) -> Quantizer:
    kind = _KINDS[node.op_type]
    zero = node.input[2] if len(node.input) > 2 else ""
    elem_type = graph.elem_type(zero) if zero else 0
    if not elem_type and kind == "Q":
        elem_type = attribute(node, "output_dtype", 0) or 2  # ONNX: uint8 where nothing else is said
    elif not elem_type:
        origin = before.get(graph.source(node.input[0])[0])
        elem_type = graph.elem_type(node.input[0]) or (origin.elem_type if origin else 0)
    return Quantizer(
        node=node,
        kind=kind,
        elem_type=elem_type,
        scale=numbers(graph.value(node.input[1]), np.float32),
        zero_point=numbers(graph.value(zero) if zero else np.zeros(()), np.int64),
        given_zero_point=bool(zero),
        constant_parameters=graph.is_constant(node.input[1]) and (not zero or graph.is_constant(zero)),
        constant=graph.is_constant(node.input[0]),
    )


def numbers(values: np.ndarray | None, kind: type[np.generic]) -> np.ndarray | None:
    """Values in a type that numpy computes with; None where they are no numbers, or none at all."""
    try:
        return values.astype(kind) if values is not None and values.size else None
    except (ValueError, TypeError):
        return None
