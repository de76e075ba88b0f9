"""QOperator form: operators on quantized tensors as such, with the quantizer's gradient rule.

They are computed in float64, where sums of products of 8-bit numbers are exact.
"""

from __future__ import annotations

import torch
from onnx import TensorProto
from torch import Tensor

from ..backward import BackwardMode, quantize
from ..node import Node
from ..quantize import integer_limits
from ..registry import Kernel, operator
from .convolution import convolve, kernel_rank
from .windows import read_window


def _centred(q: Tensor, zero_point: Tensor | None, axis: int | None = None) -> Tensor:
    """``q - zero_point`` in float64; a zero point with several values lies along `axis`."""
    if zero_point is None:
        return q.double()
    if zero_point.numel() == 1:
        zero_point = zero_point.reshape(())
    elif axis is not None and zero_point.dim() == 1:
        shape = [1] * q.dim()
        shape[axis] = -1
        zero_point = zero_point.reshape(shape)
    return q.double() - zero_point.double()


def _carried(result: Tensor, like: Tensor) -> Tensor:
    """A whole-number result: a float tensor where its input carries a gradient, else int32."""
    return result.to(like.dtype) if like.is_floating_point() else result.to(torch.int32)


@operator("MatMulInteger", since=10)
def matmul_integer(node: Node) -> Kernel:
    """Product of (a - a_zero_point) and (b - b_zero_point); a's per row, b's per column."""

    def kernel(a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
        product = _centred(a, a_zero, -2 if a.dim() > 1 else None) @ _centred(b, b_zero, -1)
        return _carried(product, a)

    return kernel


@operator("ConvInteger", since=10)
def conv_integer(node: Node) -> Kernel:
    """Convolution of (x - x_zero_point) with (w - w_zero_point); the padding is x_zero_point."""
    window, groups = read_window(node, kernel_rank(node)), node.int("group", 1)

    def kernel(x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None) -> Tensor:
        return _carried(convolve(_centred(x, x_zero), _centred(w, w_zero, 0), None, window, groups), x)

    return kernel


def _along(parameter: Tensor, axis: int, rank: int) -> Tensor:
    if parameter.numel() == 1:
        return parameter.reshape(())
    if parameter.dim() > 1:
        return parameter
    shape = [1] * rank
    shape[axis] = -1
    return parameter.reshape(shape)


def _requantize(
    total: Tensor,
    factor: Tensor,
    zero_point: Tensor,
    limits: tuple[int, int],
    mode: BackwardMode,
    like: Tensor,
) -> Tensor:
    """Whole numbers in units of ``1 / factor``, rounded to the output's grid."""
    dtype = like.dtype if like.is_floating_point() else torch.float32
    scaled = total.to(dtype) * factor.to(dtype)
    one = torch.ones((), dtype=dtype, device=total.device)
    zero = int(zero_point) if zero_point.numel() == 1 else zero_point.to(dtype)
    return quantize(scaled, one, zero, limits=limits, mode=mode)


@operator("QLinearMatMul", since=10, moded=True)
def qlinear_matmul(node: Node) -> Kernel:
    """Quantized product of quantized matrices."""
    limits = integer_limits(node, node.elem_type(7))

    def kernel(  # noqa: PLR0917 (the operator's own inputs)
        a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor, y_scale: Tensor,
        y_zero: Tensor, *, backward: BackwardMode,
    ) -> Tensor:  # fmt: skip
        total = _centred(a, a_zero, -2) @ _centred(b, b_zero, -1)
        factor = _along(a_scale, -2, a.dim()) * _along(b_scale, -1, b.dim()) / y_scale
        return _requantize(total, factor, y_zero, limits, backward, a)

    return kernel


@operator("QLinearConv", since=10, moded=True)
def qlinear_conv(node: Node) -> Kernel:
    """Quantized convolution of a quantized tensor; the bias is int32 in units of x_scale * w_scale."""
    window, groups = read_window(node, kernel_rank(node, weight=3)), node.int("group", 1)
    limits = integer_limits(node, node.elem_type(7))

    def kernel(  # noqa: PLR0917 (the operator's own inputs)
        x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero: Tensor, y_scale: Tensor,
        y_zero: Tensor, bias: Tensor | None = None, *, backward: BackwardMode,
    ) -> Tensor:  # fmt: skip
        offset = None if bias is None else bias.double()
        total = convolve(_centred(x, x_zero), _centred(w, w_zero, 0), offset, window, groups)
        factor = x_scale * _along(w_scale, 1, total.dim()) / y_scale
        return _requantize(total, factor, y_zero, limits, backward, x)

    return kernel


@operator("DynamicQuantizeLinear", since=11, moded=True)
def dynamic_quantize_linear(node: Node) -> Kernel:
    """Quantization to uint8 over the range of the input itself, 0 included; also scale and zero point.

    The scale is taken as given: no gradient flows through the choice of the range.
    """
    limits = integer_limits(node, TensorProto.UINT8)

    def kernel(x: Tensor, *, backward: BackwardMode) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
            scale = (high - low) / 255
            scale = torch.where(scale == 0, torch.ones_like(scale), scale)
            zero = torch.round((0 - low / scale).clamp(0, 255))
        return quantize(x, scale, int(zero), limits=limits, mode=backward), scale, zero.to(torch.uint8)

    return kernel
