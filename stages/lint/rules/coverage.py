"""How much of the model is quantized at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ....targets.base import Scheme
from ..graph import label
from ..operand import WEIGHTED
from ..reading import Reading
from ..rule import rule

#: Operators that compute with integers themselves, instead of between Q/DQ pairs.
# fmt: off
INTEGER_OPERATORS = frozenset({
    "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QGemm", "QLinearAdd",
    "QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearConcat", "QLinearSigmoid",
    "QLinearLeakyRelu", "QLinearSoftmax", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
})
# fmt: on
_SHOWN = 8


@rule("float-model", "a model that is not quantized", quantized_only=False)
def float_model(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Say once what every other rule would say of every node."""
    if not reading.quantizers and not any(node.op_type in INTEGER_OPERATORS for node in reading.graph.nodes):
        yield "", f"has no Q/DQ pairs, so that it runs in float; quantize it for {scheme.name}"


@rule("integer-operators", "integer operators in place of Q/DQ pairs", quantized_only=False)
def integer_operators(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Look for ONNX Runtime's QOperator format and for dynamic quantization."""
    found = [node for node in reading.graph.nodes if node.op_type in INTEGER_OPERATORS]
    if found:
        kinds = _some(dict.fromkeys(node.op_type for node in found))
        yield (
            "",
            f"computes with {len(found)} integer operators ({kinds}) where float operators between Q/DQ pairs are "
            "wanted; quantize in QDQ format",
        )


@rule("float-operators", "convolutions and matrix products that stay in float")
def float_operators(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """List them in one finding."""
    every = [node for node in reading.graph.nodes if node.op_type in WEIGHTED and node.output]
    floating = [node for node in every if node.output[0] not in reading.integer_operators]
    if floating:
        missing = {id(node): _missing(reading, node.output[0]) for node in floating}
        names = _some(f"{label(node)} ({missing[id(node)]})" for node in floating)
        yield (
            "",
            f"{len(floating)} of {len(every)} convolutions and matrix products stay in float: {names}; "
            "quantize both operands of each",
        )


def _missing(reading: Reading, output: str) -> str:
    """Which operands are not quantized."""
    operands = [operand for operand in reading.operands if operand.operator.output[0] == output]
    return " and ".join(
        f"{operand.role} in float" for operand in operands if operand.role != "bias" and operand.dequantizer is None
    )


def _some(names: Iterable[str]) -> str:
    """The first few, and how many more."""
    every = list(names)
    more = len(every) - _SHOWN
    return ", ".join(every[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
