"""Q/DQ pairs: whole, agreeing, and of some use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....targets.base import Scheme
from ..graph import label
from ..operand import WEIGHTED
from ..reading import Reading
from ..rule import rule

if TYPE_CHECKING:
    import onnx

# No runtime in the table computes these with integers between Q/DQ pairs.
# fmt: off
_FLOAT_ONLY = frozenset({
    "LayerNormalization", "RMSNormalization", "GroupNormalization", "InstanceNormalization", "Gelu", "Erf", "Exp",
    "Log", "Sqrt", "Pow", "Reciprocal", "Softplus", "Mish", "Elu", "Selu", "Celu", "Softsign", "Sin", "Cos", "Tan",
    "LogSoftmax",
})
# fmt: on


@rule("q-without-dq", "a quantizer whose result nothing dequantizes")
def q_without_dq(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Operators that only move values may stand in between; a quantized output of the graph is left alone."""
    for quantizer in reading.quantizers:
        if quantizer.kind != "Q":
            continue
        readers = list(reading.graph.users(quantizer.output))
        strangers = [label(node) for name, node in readers if node.op_type != "DequantizeLinear"]
        if strangers:
            yield quantizer.name, f"is read by {strangers[0]}, which is no DequantizeLinear; every Q needs its DQ"
        elif not readers and not _reaches_output(reading, quantizer.output):
            yield quantizer.name, "quantizes what nobody reads; remove it"


@rule("dq-without-q", "a dequantizer of an activation that nothing quantizes")
def dq_without_q(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """An integer input of the graph needs no quantizer."""
    for quantizer in reading.activations:
        source, _ = reading.graph.source(quantizer.data)
        maker = reading.graph.producer(source)
        if quantizer.kind == "DQ" and maker is not None:
            yield quantizer.name, f"dequantizes what {label(maker)} ({maker.op_type}) computes; every DQ needs its Q"


@rule("pair-mismatch", "a Q and its DQ with other parameters")
def pair_mismatch(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Such a pair rescales what passes; no runtime fuses it."""
    for quantizer in reading.quantizers:
        for dequantizer in reading.dequantizers_of(quantizer) if quantizer.kind == "Q" else ():
            if not dequantizer.agrees(quantizer):
                yield (
                    dequantizer.name,
                    f"has another type, scale or zero point than {quantizer.name}, which it reads; they must agree",
                )


@rule("requantization", "a DQ directly followed by a Q")
def requantization(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """With the same parameters they do nothing, with others they round a second time."""
    for quantizer in reading.quantizers:
        before = reading.quantizer(quantizer.data, "DQ") if quantizer.kind == "Q" else None
        if before is not None and quantizer.agrees(before):
            yield quantizer.name, f"undoes {before.name} with the same scale and zero point; remove both"
        elif before is not None:
            yield quantizer.name, f"rounds what {before.name} has dequantized a second time; quantize the tensor once"


@rule("quantized-twice", "a tensor with more than one Q")
def quantized_twice(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """One pair serves all who read a tensor; more of them split fusions."""
    first: dict[str, str] = {}
    for quantizer in reading.quantizers:
        if quantizer.kind == "Q" and first.setdefault(quantizer.data, quantizer.name) != quantizer.name:
            yield (
                quantizer.name,
                f"quantizes {quantizer.data}, as {first[quantizer.data]} does; one pair for all who read it is wanted",
            )


@rule("pair-between-floats", "a Q/DQ pair between operators that stay in float")
def pair_between_floats(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """It rounds, and nothing is faster for it."""
    graph = reading.graph
    for quantizer in reading.quantizers:
        if quantizer.kind != "Q" or quantizer.constant or _reaches_output(reading, quantizer.output):
            continue
        source, _ = graph.source(quantizer.data)
        maker = graph.producer(source)
        pairs = reading.dequantizers_of(quantizer)
        readers = [node for pair in pairs for _, node in graph.users(pair.output)]
        ends = any(_reaches_output(reading, pair.output) for pair in pairs)
        floating = readers and not ends and all(_stays_float(reading, node) for node in readers)
        if floating and (maker is None or _stays_float(reading, maker)):
            yield (
                quantizer.name,
                f"feeds only operators that stay in float ({label(readers[0])}) and comes from none that does not; "
                "remove the pair, or quantize the operator",
            )


def _stays_float(reading: Reading, node: onnx.NodeProto) -> bool:
    weighted = node.op_type in WEIGHTED and node.output[0] not in reading.integer_operators
    return weighted or node.op_type in _FLOAT_ONLY


def _reaches_output(reading: Reading, name: str) -> bool:
    """Whether a tensor is an output of the graph, moved or not."""
    return any(reading.graph.source(output)[0] == name or output == name for output in reading.graph.outputs)
