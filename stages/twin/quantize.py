"""QuantizeLinear and DequantizeLinear (ONNX operator specification, opsets 10 to 25; also com.microsoft's)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from onnx import TensorProto
from torch import Tensor

from .backward import BackwardMode, ZeroPoint, fake_quantize, quantize
from .node import Node
from .registry import MICROSOFT, operator
from .types import FLOATS, FLOATS8, RANGES, type_name

#: Brings a scale or zero point into a shape that broadcasts against the tensor it belongs to.
Fit = Callable[[Tensor, Tensor], Tensor]


def granularity(axis: int, block: int) -> Fit:
    """How scales lie over a tensor: one, one per index of `axis`, or one per `block` elements along it."""

    def fit(parameter: Tensor, x: Tensor) -> Tensor:
        if parameter.numel() == 1 and not block:
            return parameter.reshape(())
        if block:
            whole = parameter.repeat_interleave(block, dim=axis)
            return whole.narrow(axis, 0, x.shape[axis])  # the last block may be cut short
        shape = [1] * x.dim()
        shape[axis] = -1
        return parameter.reshape(shape)

    return fit


def integer_limits(node: Node, elem_type: int) -> tuple[int, int]:
    """(qmin, qmax) of the quantized type; refuses floats."""
    if elem_type not in RANGES:
        raise node.unsupported(f"quantization to {type_name(elem_type)} is not implemented")
    return RANGES[elem_type]


def _limits(node: Node, elem_type: int) -> tuple[float, float]:
    """(qmin, qmax) of the quantized type, 8-bit floats included."""
    if elem_type not in FLOATS8:
        return integer_limits(node, elem_type)
    largest = torch.finfo(FLOATS8[elem_type]).max
    return -largest, largest


def _one_number(zero_point: Tensor | None) -> int | None:
    """The zero point as an int where it is known at construction and everywhere the same."""
    if zero_point is None:
        return 0
    values = set(zero_point.reshape(-1).tolist())
    return int(values.pop()) if len(values) == 1 else None


def zero_point_reader(node: Node, index: int, fit: Fit) -> Callable[[Tensor | None, Tensor], ZeroPoint]:
    """Reads the zero point at input `index`: an int where it can be."""
    known = _one_number(node.constant(index)) if node.constant(index) is not None or not node.has(index) else None
    if known is not None:
        return lambda _, x: known
    return lambda tensor, x: 0 if tensor is None else fit(tensor, x).to(x.dtype)


@dataclass(frozen=True)
class Quantizer:
    """Kernel of QuantizeLinear.

    Attributes:
        positive: whether its input is never below zero.
        float8: the torch type of what it writes, where that is no integer.
    """

    fit: Fit
    read_zero_point: Callable[[Tensor | None, Tensor], ZeroPoint]
    limits: tuple[float, float]
    layout: tuple[int, int]
    positive: bool = False
    float8: torch.dtype | None = None

    def mode(self, backward: BackwardMode) -> BackwardMode:
        """The backward mode, or a cheaper one of the same gradient: without x < 0 the ReLU's is the identity's."""
        return "identity" if self.positive and backward == "relu" else backward

    def __call__(self, x: Tensor, scale: Tensor, zero_point: Tensor | None = None, *, backward: BackwardMode) -> Tensor:
        """Quantize."""
        if not x.is_floating_point():
            x = x.to(scale.dtype)
        zero = self.read_zero_point(zero_point, x)
        return quantize(x, self.fit(scale, x), zero, limits=self.limits, mode=self.mode(backward), float8=self.float8)

    def paired(self, x: Tensor, scale: Tensor, zero_point: Tensor | None = None, *, backward: BackwardMode) -> Tensor:
        """Quantize and dequantize at one go."""
        if not x.is_floating_point():
            x = x.to(scale.dtype)
        zero = self.read_zero_point(zero_point, x)
        return fake_quantize(
            x, self.fit(scale, x), zero, limits=self.limits, mode=self.mode(backward), float8=self.float8
        )


@dataclass(frozen=True)
class Dequantizer:
    """Kernel of DequantizeLinear."""

    fit: Fit
    read_zero_point: Callable[[Tensor | None, Tensor], ZeroPoint]
    layout: tuple[int, int]
    output: torch.dtype | None

    def __call__(self, q: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        """Dequantize."""
        if not q.is_floating_point():  # int32 biases: an exact difference, rounded to the scale's type at the end
            q = q.to(torch.int64)
        difference = q - self.read_zero_point(zero_point, q)
        result = difference.to(torch.promote_types(difference.dtype, scale.dtype)) * self.fit(scale, q)
        return result if self.output is None else result.to(self.output)

    def undoes(self, quantizer: Quantizer) -> bool:
        """Whether it takes back what `quantizer` does, provided that scale and zero point are the same."""
        return self.layout == quantizer.layout and self.output is None


def _layout(node: Node) -> tuple[int, int]:
    return node.int("axis", 1), node.int("block_size", 0)


@operator("QuantizeLinear", since=10, moded=True)
@operator("QuantizeLinear", since=1, domain=MICROSOFT, moded=True)
def quantize_linear(node: Node) -> Quantizer:
    """``clip(round(x / scale) + zero_point)``, halves to even; to 8-bit floats ``round(clip(x / scale))``."""
    elem_type = node.elem_type(2) or node.int("output_dtype", 0) or TensorProto.UINT8
    node.ignore("output_dtype")  # a zero point fixes the type
    limits, float8 = _limits(node, elem_type), FLOATS8.get(elem_type)
    node.require(bool(node.int("saturate", 1)) or float8 is None, "saturate=0 is not implemented")
    precision = node.int("precision", 0)
    node.require(precision in (0, node.elem_type(1)), "a precision other than the scale's is not implemented")
    layout = _layout(node)
    fit = granularity(*layout)
    positive = node.inputs[0] is not None and node.inputs[0].positive
    return Quantizer(fit, zero_point_reader(node, 2, fit), limits, layout, positive, float8)


@operator("DequantizeLinear", since=10)
@operator("DequantizeLinear", since=1, domain=MICROSOFT)
def dequantize_linear(node: Node) -> Dequantizer:
    """``(q - zero_point) * scale``."""
    _limits(node, node.elem_type(0) or TensorProto.UINT8)
    output_type = node.int("output_dtype", 0)
    node.require(output_type in (0, *FLOATS), f"output type {type_name(output_type)} is not implemented")
    layout = _layout(node)
    fit = granularity(*layout)
    same = output_type in (0, node.elem_type(1))
    return Dequantizer(fit, zero_point_reader(node, 2, fit), layout, None if same else FLOATS[output_type])
