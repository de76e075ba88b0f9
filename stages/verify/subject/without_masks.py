"""Mask-free stand-in (BPDA): a graph whose input-dependent masks let everything through.

The slope through a mask is that of what passed, and says nothing of what would pass a little further on; networks that
keep the k largest activations (Xiao, Zhong & Zheng, "Enhancing Adversarial Defense by k-Winners-Take-All", ICLR 2020,
arXiv 1905.10510) jump from mask to mask. Without them the graph is a function of its own, whose slopes a backward pass
may borrow (Athalye, Carlini & Wagner, ICML 2018, arXiv 1802.00420, section 4.1: BPDA).
"""

from __future__ import annotations

import onnx

from ....core.errors import ModelError
from ...twin import NoTwin, Twin

UNMASKED = "unmasked"
# What only says how large something is: a choice by that is the same for all images.
_SIZES = ("Shape", "Size")


def unmasked(model: onnx.ModelProto) -> Twin | None:
    """Return the twin of a graph without its masks, or None where it has none, or no twin.

    A mask is a Where between something and a constant, or a product with what was a bool, where the images have a say
    in the choice.

    Args:
        model: the graph, with its weights.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    live = {value.name for value in model.graph.input} - {value.name for value in model.graph.initializer}
    passing: dict[int, str] = {}
    for place, node in enumerate(model.graph.node):
        if not live.intersection(node.input) or node.op_type in _SIZES:
            continue
        live.update(node.output)
        kept = _kept(node, live, producers)
        if kept is not None:
            passing[place] = kept
    if not passing:
        return None
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for place, kept in passing.items():
        node = bare.graph.node[place]
        node.CopyFrom(onnx.helper.make_node("Identity", [kept], list(node.output), node.name))
    try:
        return Twin(bare)
    except (NoTwin, ModelError):
        return None


def _kept(node: onnx.NodeProto, live: set[str], producers: dict[str, onnx.NodeProto]) -> str | None:
    """What a node would let through if it were no mask; None where it is none."""
    if node.op_type == "Where" and node.input[0] in live:
        passing = [name for name in node.input[1:] if name in live]
        return passing[0] if len(passing) == 1 else None
    if node.op_type == "Mul":
        masks = [name for name in node.input if name in live and _was_bool(producers.get(name), producers)]
        others = [name for name in node.input if name in live and name not in masks]
        return others[0] if len(masks) == len(others) == 1 else None
    return None


def _was_bool(node: onnx.NodeProto | None, producers: dict[str, onnx.NodeProto]) -> bool:
    if node is None or node.op_type != "Cast":
        return False
    source = producers.get(node.input[0])
    return source is not None and source.op_type in _BOOLS


_BOOLS = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Not", "And", "Or", "Xor", "IsNaN", "IsInf"}
