"""Quantized operators of ONNX Runtime as dequantize, compute, quantize (onnxruntime/docs/ContribOperators.md)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..backward import straight_through
from ..node import Node, Value
from ..registry import MICROSOFT
from .standard import Standard, lowered

# The order of the axes in ONNX Runtime's form with the channels last, and back.
_LAST_TO_FIRST, _FIRST_TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def _dequantized(node: Node, to: Standard, index: int, axis: int = 1) -> Value:
    """The floats of a quantized input, which its scale and zero point stand behind."""
    return to.op("DequantizeLinear", *(node.input(place) for place in range(index, index + 3)), axis=axis)


def _quantized(node: Node, to: Standard, value: Value, index: int, scale: Value | None = None) -> Value:
    """`value` on the grid of the scale at `index`, or of another one, and the zero point behind that."""
    elem_type = node.elem_type(index + 1) or node.elem_type(0)
    return to.op("QuantizeLinear", value, scale or node.input(index), node.input(index + 1), output_dtype=elem_type)


@lowered("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def of_two(node: Node, to: Standard) -> Value:
    """Sum or product."""
    operands = _dequantized(node, to, 0), _dequantized(node, to, 3)
    return _quantized(node, to, to.op(node.op_type.removeprefix("QLinear"), *operands), 6)


@lowered("QLinearLeakyRelu", "QLinearSigmoid", domain=MICROSOFT)
def of_one(node: Node, to: Standard) -> Value:
    """Activation."""
    value = to.op(node.op_type.removeprefix("QLinear"), _dequantized(node, to, 0), **node.others())
    return _quantized(node, to, value, 3)


@lowered("QLinearSoftmax", domain=MICROSOFT)
def softmax(node: Node, to: Standard) -> Value:
    """Softmax, which knows by an attribute of which opset it was.

    ONNX Runtime multiplies by a whole number of steps, cut off: 254 for a scale of 1 / 255 (qlinear_softmax.cc).
    """
    opset = node.int("opset", 13)
    value = to.op("Softmax", _dequantized(node, to, 0), opset=opset, **node.others())
    steps = to.op("Floor", to.op("Reciprocal", node.input(3)))
    return _quantized(node, to, value, 3, scale=to.op("Reciprocal", steps))


@lowered("QLinearReduceMean", domain=MICROSOFT)
def reduce_mean(node: Node, to: Standard) -> Value:
    """Mean over axes."""
    return _quantized(node, to, to.op("ReduceMean", _dequantized(node, to, 0), opset=13, **node.others()), 3)


@lowered("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MICROSOFT)
def pool(node: Node, to: Standard) -> Value:
    """Mean of windows, or of all pixels."""
    last = bool(node.int("channels_last", 0))
    value = _dequantized(node, to, 0)
    value = to.op("Transpose", value, perm=_LAST_TO_FIRST) if last else value
    value = to.op(node.op_type.removeprefix("QLinear"), value, **node.others())
    value = to.op("Transpose", value, perm=_FIRST_TO_LAST) if last else value
    return _quantized(node, to, value, 3)


@lowered("QLinearConcat", domain=MICROSOFT)
def concat(node: Node, to: Standard) -> Value:
    """Tensors with grids of their own, one behind another."""
    parts = [_dequantized(node, to, index) for index in range(2, len(node.inputs), 3)]
    return _quantized(node, to, to.op("Concat", *parts, **node.others()), 0)


@lowered("QLinearWhere", domain=MICROSOFT)
def where(node: Node, to: Standard) -> Value:
    """One or the other."""
    return _quantized(node, to, to.op("Where", node.input(0), _dequantized(node, to, 1), _dequantized(node, to, 4)), 7)


@lowered("QLinearConv", domain=MICROSOFT)
def conv(node: Node, to: Standard) -> Value:
    """ONNX's own QLinearConv, of which the channels may lie last."""
    if not node.int("channels_last", 0):
        return to.op("QLinearConv", *node.inputs, **node.others())
    first = to.op("Transpose", node.input(0), perm=_LAST_TO_FIRST)
    return to.op("Transpose", to.op("QLinearConv", first, *node.inputs[1:], **node.others()), perm=_FIRST_TO_LAST)


@lowered("NhwcMaxPool", domain=MICROSOFT)
def max_pool(node: Node, to: Standard) -> Value:
    """MaxPool of quantized tensors with the channels last."""
    first = to.op("Transpose", node.input(0), perm=_LAST_TO_FIRST)
    return to.op("Transpose", to.op("MaxPool", first, **node.others()), perm=_FIRST_TO_LAST)


@lowered("QGemm", domain=MICROSOFT)
def gemm(node: Node, to: Standard) -> Value:
    """alpha A' B' + C, where C is int32 in units of alpha, A's and B's scale; floats where there is no output scale."""
    alpha = node.float("alpha", 1.0)
    transposed = bool(node.int("transB", 0))
    factors = _dequantized(node, to, 0), _dequantized(node, to, 3, axis=0 if transposed else 1)
    bias = None
    if node.has(6):
        unit = to.op("Mul", to.op("Mul", node.input(1), node.input(4)), to.number(alpha))
        bias = to.op("DequantizeLinear", node.input(6), unit, axis=-1)
    attributes = {"alpha": alpha, "transA": node.int("transA", 0), "transB": int(transposed)}
    value = to.op("Gemm", *factors, bias, **attributes)
    return _quantized(node, to, value, 7) if node.has(7) else value


@lowered("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(node: Node, to: Standard) -> Value:
    """Product of quantized matrices, in floats."""
    left, right = (
        to.op("DequantizeLinear", node.input(index), node.input(index + 2), node.input(index + 4), axis=-1)
        for index in (0, 1)
    )
    product = to.op("MatMul", left, right)
    return to.op("Add", product, node.input(6)) if node.has(6) else product


@lowered("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(node: Node, to: Standard) -> Value:
    """Product of a matrix quantized over its own range with a quantized one, in floats."""
    dynamic = to.ops("DynamicQuantizeLinear", node.input(0), outputs=3)
    left = to.op("DequantizeLinear", *dynamic)
    right = to.op("DequantizeLinear", *(node.input(index) for index in (1, 2, 3)), axis=-1)
    product = to.op("MatMul", left, right)
    return to.op("Add", product, node.input(4)) if node.has(4) else product


@lowered("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(node: Node, to: Standard) -> Value:
    """Product with constant weights of 2, 4 or 8 bits, in blocks along the inner axis with a scale each.

    At an `accuracy_level` of 4 the left factor is rounded to 8 bits block by block, as ONNX Runtime does on x86 (MLAS,
    sqnbitgemm; tried: not with zero points that are floats, with 2 bits from blocks of 32 on).
    """
    bits, block = node.int("bits", 4), node.int("block_size", 0)
    inner, outer = node.int("K", 0), node.int("N", 0)
    coarse = node.int("accuracy_level", 0) == 4 and block >= (32 if bits == 2 else 16)
    node.require(bits in (2, 4, 8) and block > 0, f"{bits} bits in blocks of {block} are not implemented")
    node.require(not node.int("weight_prepacked", 0), "weight_prepacked is not implemented")
    node.require(not node.has(4), "g_idx is not implemented")
    packed, scales, zeros = (node.constant(index) for index in (1, 2, 3))
    node.require(
        packed is not None and scales is not None and (zeros is not None or not node.has(3)), "its weights are computed"
    )
    assert packed is not None
    assert scales is not None
    blocks = -(-inner // block)
    weights = _unpacked(packed, bits).reshape(outer, blocks, block).to(scales.dtype)
    if zeros is None:
        zero_points = torch.full((), 2.0 ** (bits - 1), dtype=scales.dtype)
    else:
        whole = zeros if zeros.is_floating_point() else _unpacked(zeros.reshape(outer, -1), bits)
        zero_points = whole.reshape(outer, -1)[:, :blocks, None].to(scales.dtype)
    weights = (weights - zero_points) * scales.reshape(outer, blocks, 1)
    matrix = weights.reshape(outer, -1)[:, :inner].t().contiguous()
    left = node.needed(0)
    if coarse and (zeros is None or not zeros.is_floating_point()):
        left = to.call(lambda x: straight_through(x, lambda y: _in_blocks(y, block)), left)
    product = to.op("MatMul", left, to.constant(matrix, node.elem_type(2)))
    return to.op("Add", product, node.input(5)) if node.has(5) else product


def _in_blocks(x: torch.Tensor, block: int) -> torch.Tensor:
    """Signed 8-bit steps of the largest magnitude in every block of the last axis."""
    width = x.shape[-1]
    blocks = F.pad(x, (0, -width % block)).unflatten(-1, (-1, block))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    steps = torch.round(blocks * torch.where(scale == 0, 0, 1 / scale))
    return (steps * scale).flatten(-2)[..., :width]


def _unpacked(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """The numbers in bytes, the lowest bits first, along the last axis."""
    shifts = torch.arange(0, 8, bits)
    return ((packed.to(torch.int32)[..., None] >> shifts) & (2**bits - 1)).flatten(-2)
