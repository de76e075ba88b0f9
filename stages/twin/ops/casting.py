"""Cast and CastLike: exact forward, identity gradient where an integer type lies in between."""

from __future__ import annotations

import torch
from onnx import TensorProto
from torch import Tensor

from ..backward import straight_through
from ..node import Node
from ..registry import Kernel, operator
from ..types import DTYPES, FLOATS, FLOATS8, RANGES

_WIDEST = {TensorProto.INT64: (-(2**63), 2**63 - 1), TensorProto.UINT64: (0, 2**64 - 1)}


def _wraps(source: int, target: int) -> bool:
    """Whether a value of the integer type `source` may not fit `target`."""
    limits = {**RANGES, **_WIDEST}
    if source not in limits:
        return False
    return limits[source][0] < limits[target][0] or limits[source][1] > limits[target][1]


def _to_integer(node: Node, target: int) -> Kernel:
    dtype = node.dtype(target)
    low, high = {**RANGES, **_WIDEST}[target]
    span = high - low + 1
    source = node.elem_type(0)
    live = node.live(0)
    narrow = target in (TensorProto.INT4, TensorProto.UINT4, TensorProto.INT2, TensorProto.UINT2)
    wraps = narrow or _wraps(source, target)

    def wrap(x: Tensor) -> Tensor:
        return torch.remainder(x - low, span) + low

    def kernel(x: Tensor, *_: Tensor) -> Tensor:
        if live and x.is_floating_point():
            if source in FLOATS or source in FLOATS8:
                x = straight_through(x, torch.trunc)
            return straight_through(x, wrap) if wraps else x
        return wrap(x.to(torch.int64)).to(dtype) if narrow else x.to(dtype)

    return kernel


def _to_float(node: Node, target: int) -> Kernel:
    dtype = node.dtype(target)
    # In a twin made double, a value declared float32 arrives as float64, and is not to lose its digits here.
    narrow = node.elem_type(0) != TensorProto.DOUBLE

    def kernel(x: Tensor, *_: Tensor) -> Tensor:
        return x if narrow and x.dtype == torch.float64 else x.to(dtype)

    return kernel


def _to_float8(node: Node, target: int) -> Kernel:
    dtype = FLOATS8[target]
    node.require(bool(node.int("saturate", 1)), "saturate=0 is not implemented")

    def rounded(x: Tensor) -> Tensor:
        largest = torch.finfo(dtype).max
        return x.clamp(-largest, largest).to(dtype).to(x.dtype)

    return lambda x, *_: straight_through(x if x.dtype == torch.float64 else x.to(torch.float32), rounded)


def _cast(node: Node, target: int) -> Kernel:
    node.require(target in DTYPES or target in FLOATS8, "the target type is not implemented")
    node.require(node.elem_type(0) in (0, *DTYPES, *FLOATS8), "the source type is not implemented")
    if target in FLOATS8:
        return _to_float8(node, target)
    node.ignore("saturate", "round_mode")  # both concern 8-bit floats only
    if target in FLOATS:
        return _to_float(node, target)
    if target == TensorProto.BOOL:
        return lambda x, *_: x.to(torch.bool)
    return _to_integer(node, target)


@operator("Cast", since=6)
def cast(node: Node) -> Kernel:
    """The input in the type `to`; floats are truncated to integers."""
    return _cast(node, node.int("to", 0))


@operator("CastLike", since=15)
def cast_like(node: Node) -> Kernel:
    """The input in the type of the second input."""
    return _cast(node, node.elem_type(1))
