"""Operands of convolutions and matrix products: where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .graph import ONNX_DOMAIN, Graph, attribute
from .quantizer import Quantizer

if TYPE_CHECKING:
    import onnx

#: Operators whose speed is the network's speed, and how many operands come before the bias.
WEIGHTED = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "MatMul": 2}


@dataclass(frozen=True, eq=False)
class Operand:
    """One operand of a convolution or a matrix product.

    Attributes:
        operator: who computes with it.
        role: `weight` and `bias` are known beforehand, `activation` is not.
        source: name of the tensor it is before operators that only move values.
        quantizer: the Q node of a weight that is stored in float before a Q/DQ pair.
        dequantizer: the DQ node it comes from; None where it is float.
        channel_axis: of a weight, the axis of the output channels as the DQ node sees it; None where not known.
        shape: of a weight or a bias, as the DQ node sees it; None where not known.
    """

    operator: onnx.NodeProto
    role: Literal["activation", "weight", "bias"]
    source: str
    quantizer: Quantizer | None
    dequantizer: Quantizer | None
    channel_axis: int | None
    shape: tuple[int, ...] | None


def read_operands(graph: Graph, quantizers: Mapping[str, Quantizer]) -> list[Operand]:
    """The operands of every convolution and matrix product, in the order of the graph."""
    return [
        operand
        for node in graph.nodes
        if node.op_type in WEIGHTED and node.domain in ONNX_DOMAIN
        for operand in _operands(graph, quantizers, node)
    ]


def _operands(graph: Graph, quantizers: Mapping[str, Quantizer], node: onnx.NodeProto) -> Iterator[Operand]:
    for index, name in enumerate(node.input):
        if not name or index > 2:
            continue
        source, moves = graph.source(name)
        dequantizer = quantizers.get(source)
        if dequantizer is not None and dequantizer.kind == "Q":
            dequantizer = None
        role = _role(graph, node, index, name)
        before = quantizers.get(graph.source(dequantizer.data)[0]) if dequantizer else None
        quantizer = before if before is not None and before.kind == "Q" else None
        stored = quantizer.data if quantizer else dequantizer.data if dequantizer else source
        shape = graph.shape(stored)
        axis = _channel_axis(node, index, shape, moves) if role == "weight" else None
        yield Operand(node, role, source, quantizer, dequantizer, axis, shape)


def _role(graph: Graph, node: onnx.NodeProto, index: int, name: str) -> Literal["activation", "weight", "bias"]:
    if index == 2:
        return "bias"
    return "weight" if graph.is_constant(name) else "activation"


def _channel_axis(
    node: onnx.NodeProto, index: int, shape: tuple[int, ...] | None, moves: list[onnx.NodeProto]
) -> int | None:
    """The axis of the output channels, before a weight was moved to the operator."""
    if shape is None or len(shape) < 2:
        return None
    if node.op_type == "Gemm":
        transposed = attribute(node, "transB" if index else "transA", 0)
        axis = int(bool(index) != bool(transposed))
    elif node.op_type == "MatMul":
        axis = len(shape) - 1 if index else len(shape) - 2
    else:
        axis = 0 if node.op_type == "Conv" else 1
    for move in moves:  # from the operator back to the DQ node
        if move.op_type == "Transpose":
            order = attribute(move, "perm", list(range(len(shape)))[::-1])
            if sorted(order) != list(range(len(shape))):
                return None
            axis = order[axis]
        elif move.op_type != "Identity":
            return None
    return axis
