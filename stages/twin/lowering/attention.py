"""Fused attention, as ONNX Runtime's transformer optimiser writes it (onnxruntime/docs/ContribOperators.md)."""

from __future__ import annotations

from typing import Any

import torch
from onnx import TensorProto

from ..node import Node, Value
from ..registry import MICROSOFT
from .standard import Standard, lowered


def _attributes(node: Node) -> dict[str, Any]:
    """Attributes of the standard Attention; the fill of masks is left out, as there are none."""
    node.ignore("mask_filter_value")
    heads = node.int("num_heads", None)
    node.require(heads is not None, "num_heads is missing")
    scale = node.float("scale", 0.0)
    causal = node.int("unidirectional", 0)
    return {"q_num_heads": heads, "kv_num_heads": heads, "is_causal": causal, "scale": scale or None}


def _parts(node: Node, to: Standard, value: Value, sizes: list[int] | None, axis: int = -1) -> list[Value]:
    """Queries, keys and values that lie one behind another along an axis."""
    if sizes is None:
        return to.ops("Split", value, outputs=3, axis=axis, num_outputs=3)
    node.require(len(sizes) == 3, "qkv_hidden_sizes are not three")
    return to.ops("Split", value, to.constant(torch.tensor(sizes), TensorProto.INT64), outputs=3, axis=axis)


@lowered("Attention", domain=MICROSOFT)
def attention(node: Node, to: Standard) -> Value:
    """Self-attention with the projection of queries, keys and values inside."""
    node.require(not any(node.has(index) for index in (3, 4, 6)), "masks and caches are not implemented")
    node.require(not node.int("do_rotary", 0), "do_rotary is not implemented")
    sizes = node.ints("qkv_hidden_sizes")
    projected = to.op("MatMul", node.input(0), node.input(1))
    if node.has(2):
        projected = to.op("Add", projected, node.input(2))
    return to.op("Attention", *_parts(node, to, projected, sizes), node.input(5), **_attributes(node))


@lowered("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(node: Node, to: Standard) -> Value:
    """Attention of queries to keys and values of three axes each, with a bias for all of them."""
    node.require(node.has(1) and node.has(2), "packed queries, keys and values are not implemented")
    node.require(not any(node.has(index) for index in (4, 6, 7, 8, 9)), "masks and caches are not implemented")
    projected = [node.input(index) for index in range(3)]
    if node.has(3):
        biases = _parts(node, to, node.needed(3), None, axis=0)
        projected = [to.op("Add", value, bias) for value, bias in zip(projected, biases, strict=True)]
    return to.op("Attention", *projected, node.input(5), **_attributes(node))
