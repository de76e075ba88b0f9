"""ONNX traversal: nodes and tensors of a model, subgraphs and functions included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node: of the graph, of its subgraphs, and of local functions."""
    yield from _inside(model.graph.node)
    for function in model.functions:
        yield from _inside(function.node)


def tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every stored tensor and its name; one in an attribute goes by the name of what its node computes."""
    yield from ((tensor.name, tensor) for tensor in model.graph.initializer)
    for node in nodes(model):
        for entry in node.attribute:
            owned = [entry.t] if entry.HasField("t") else []
            yield from ((tensor.name or next(iter(node.output), ""), tensor) for tensor in [*owned, *entry.tensors])
        yield from ((tensor.name, tensor) for graph in _subgraphs(node) for tensor in graph.initializer)


def captured(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node's subgraphs read; some may be their own."""
    for inner in _inside([node]):
        if inner is not node:
            yield from inner.input
    yield from (output.name for graph in _subgraphs(node) for output in graph.output)


def _inside(outer: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in outer:
        yield node
        for graph in _subgraphs(node):
            yield from _inside(graph.node)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for entry in node.attribute:
        yield from [entry.g] if entry.HasField("g") else entry.graphs
