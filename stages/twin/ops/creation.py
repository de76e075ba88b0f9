"""Tensor creation, out of nothing or out of a shape."""

from __future__ import annotations

import torch
from onnx import TensorProto
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from ..types import ints


@operator("Constant", since=1)
def constant(node: Node) -> Kernel:
    """The value in the attribute."""
    value = node.tensor("value")
    if value is None:
        for found, dtype in (
            (node.int("value_int", None), torch.int64),
            (node.ints("value_ints"), torch.int64),
            (node.float("value_float", None), torch.float32),
            (node.floats("value_floats"), torch.float32),
        ):
            if found is not None:
                value = torch.tensor(found, dtype=dtype)
    if value is None:
        raise node.unsupported("a constant that is a string or a sparse tensor is not implemented")
    result = value
    return lambda: result


@operator("ConstantOfShape", since=9)
def constant_of_shape(node: Node) -> Kernel:
    """One value, over and over."""
    value = node.tensor("value")
    fill = torch.zeros(1) if value is None else value
    return lambda shape: fill.to(shape.device).reshape(()).repeat(ints(shape))


@operator("Range", since=11)
def arange(node: Node) -> Kernel:
    """From start, by steps of delta, to before limit."""
    node.ignore("stash_type")  # computed in at least the precision it asks for

    def kernel(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        low, high, step = (value.reshape(()).item() for value in (start, limit, delta))
        return torch.arange(low, high, step, dtype=start.dtype, device=start.device)

    # A limit below the start means an empty range, which torch refuses.
    def guarded(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        empty = bool((limit <= start) if delta > 0 else (limit >= start))
        return start.new_empty(0) if empty else kernel(start, limit, delta)

    return guarded


@operator("EyeLike", since=9, differentiable=False)
def eye_like(node: Node) -> Kernel:
    """Ones on a diagonal, in the shape of the input."""
    offset = node.int("k", 0)
    dtype = node.dtype(node.int("dtype", 0) or node.elem_type(0) or TensorProto.FLOAT)

    def kernel(x: Tensor) -> Tensor:
        rows, columns = x.shape
        row = torch.arange(rows, device=x.device)[:, None]
        return (row + offset == torch.arange(columns, device=x.device)).to(dtype)

    return kernel
