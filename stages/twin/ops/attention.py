"""Scaled dot-product attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator


def _heads(x: Tensor, count: int | None) -> Tensor:
    """[batch, sequence, heads * size] as [batch, heads, sequence, size]; four axes stay as they are."""
    if x.dim() == 4 or count is None:
        return x
    return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def _bias(mask: Tensor | None, scores: Tensor, causal: bool) -> Tensor | None:
    """What is added to the scores: 0 or the mask's own value where a query may look, else -inf."""
    bias = None
    if mask is not None:
        missing = scores.shape[-1] - mask.shape[-1]
        bias = mask
        if mask.dtype == torch.bool:
            bias = torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -math.inf)
        if missing:  # a mask shorter than the keys hides the rest of them
            bias = torch.nn.functional.pad(bias, (0, missing), value=-math.inf)
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        hidden = torch.zeros_like(future, dtype=scores.dtype).masked_fill(future, -math.inf)
        bias = hidden if bias is None else bias + hidden
    return bias


@operator("Attention", since=23)
def attention(node: Node) -> Kernel:
    """Attention of queries to keys and values, of three or four axes, masked or causal; no key-value cache."""
    node.require(not any(node.has(index) for index in (4, 5, 6)), "a key-value cache is not implemented")
    node.require(not any(node.has_output(index) for index in (1, 2, 3)), "only the first output is implemented")
    causal, softcap = bool(node.int("is_causal", 0)), node.float("softcap", 0.0)
    query_heads, key_heads = node.int("q_num_heads", None), node.int("kv_num_heads", None)
    given_scale = node.float("scale", None)
    node.ignore("qk_matmul_output_mode")
    precision = node.int("softmax_precision", 0)
    soft_type = node.dtype(precision) if precision else None

    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        three_axes = q.dim() == 3
        q, k, v = _heads(q, query_heads), _heads(k, key_heads), _heads(v, key_heads)
        groups = q.shape[1] // k.shape[1]
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        root = math.sqrt(given_scale if given_scale is not None else 1 / math.sqrt(q.shape[-1]))
        scores = (q * root) @ (k * root).transpose(-1, -2)
        if softcap > 0:
            scores = torch.tanh(scores / softcap) * softcap
        bias = _bias(mask, scores, causal)
        alone = None
        if bias is not None:
            alone = torch.isneginf(bias).all(-1, keepdim=True)  # a query with nothing to look at yields 0, not NaN
            scores = scores + bias.masked_fill(alone, 0)
        weights = torch.softmax(scores, -1, dtype=soft_type).to(q.dtype)
        if alone is not None:
            weights = weights.masked_fill(alone, 0)
        result = weights @ v
        return result.transpose(1, 2).flatten(2) if three_axes else result

    return kernel
