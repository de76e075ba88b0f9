"""Topological order of an ONNX graph's nodes, which some quantizers leave undone and ONNX's own checker wants."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import onnx

from ...core.onnx_walk import captured


def sort_nodes(graph: onnx.GraphProto) -> bool:
    """Put every node behind those that it reads from, in place; whether any had to be moved. A circle stays."""
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    read = {
        place: {makers[name] for name in (*node.input, *captured(node)) if name in makers} - {place}
        for place, node in enumerate(graph.node)
    }
    if all(earlier < place for place, others in read.items() for earlier in others):
        return False
    try:
        order = list(TopologicalSorter(read).static_order())
    except CycleError:
        return False
    nodes = [graph.node[place] for place in order]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return True
