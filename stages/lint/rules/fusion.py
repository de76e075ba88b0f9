"""What should be one kernel: an operator with its BatchNorm, its activation and its quantizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ....targets.base import Scheme
from ..graph import attribute, label
from ..operand import WEIGHTED
from ..quantizer import Quantizer, numbers
from ..reading import Reading
from ..rule import rule

if TYPE_CHECKING:
    import onnx

_ACTIVATIONS = ("Relu", "Clip")
_FUSING = (*WEIGHTED, "Add")


@rule("batch-normalization", "BatchNormalization behind a convolution")
def batch_normalization(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """A quantized one keeps a pass over memory, and rounds once more than the folded network."""
    for node in reading.graph.nodes:
        before = _operator_before(reading, node.input[0]) if node.op_type == "BatchNormalization" else None
        if before is not None and before.op_type in WEIGHTED:
            yield label(node), f"is not folded into {label(before)}; fold it before the model is calibrated"


@rule("swallowed-activation", "a Relu that lives in a quantizer's lower clip alone")
def swallowed_activation(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Whoever needs gradients, or another quantizer, cannot see that there was one."""
    for node, quantizer in _quantized(reading) if scheme.keep_activations else ():
        if quantizer.range is None or quantizer.range[0] < 0 or _never_negative(reading, node):
            continue
        pairs = reading.dequantizers_of(quantizer)
        readers = [reader for pair in pairs for reader in _readers(reading, pair)]
        # Logits without a negative one among them are an accident of calibration.
        last = any(pair.output in reading.graph.outputs for pair in pairs)
        if not last and not any(reader.op_type in _ACTIVATIONS for reader in readers):
            yield (
                quantizer.name,
                f"cuts off what is negative behind a {node.op_type}, a Relu that the graph does not show; "
                "keep the Relu when quantizing",
            )


@rule("split-activation", "a Q/DQ pair between an operator and its activation")
def split_activation(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """TensorRT, "Explicit Quantization": quantize behind the activation; ExecuTorch: gemm_configs.py."""
    for node, quantizer in _quantized(reading) if scheme.epilogue == "fused" else ():
        readers = [reader for pair in reading.dequantizers_of(quantizer) for reader in _readers(reading, pair)]
        activation = next((reader for reader in readers if reader.op_type in _ACTIVATIONS), None)
        if activation is not None:
            yield (
                quantizer.name,
                f"stands between a {node.op_type} and its {activation.op_type}, which then are two kernels; "
                f"quantize behind the {activation.op_type} only",
            )


@rule("unfused-activation", "an activation between an operator and a quantizer that does not replace it")
def unfused_activation(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """ONNX Runtime then runs the operator in float (qdq_util.cc, IsClipMadeRedundantByQ; tried)."""
    graph = reading.graph
    for node in graph.nodes if scheme.epilogue == "redundant" else ():
        readers = graph.consumers(node.output[0]) if node.output else []
        if not node.output or node.output[0] not in reading.integer_operators or len(readers) != 1:
            continue
        activation = readers[0]
        behind = [reading.quantizer(one.output[0], "Q") for one in graph.consumers(activation.output[0])]
        if activation.op_type not in _ACTIVATIONS or len(behind) != 1 or behind[0] is None:
            continue
        if not _redundant(reading, activation, behind[0]):
            yield (
                label(activation),
                f"stands between a {node.op_type} and a quantizer that does not clip as much, so that it "
                "runs in float; use an asymmetric quantizer, or put a Q/DQ pair before it",
            )


@rule("float-output", "quantized convolutions whose output is not quantized")
def float_output(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """ONNX Runtime (CheckQDQNodes; tried) and XNNPACK (_get_output_deps) take a convolution only between DQ and Q."""
    for node in reading.graph.nodes if scheme.quantized_outputs else ():
        if node.op_type != "Conv" or node.output[0] not in reading.integer_operators:
            continue
        name = node.output[0]
        readers = reading.graph.consumers(name)
        if len(readers) == 1 and readers[0].op_type in _ACTIVATIONS:
            name = readers[0].output[0]
        users = list(reading.graph.users(name))
        if not users or any(user.op_type != "QuantizeLinear" for _, user in users) or name in reading.graph.outputs:
            yield label(node), "runs in float, because its output is not quantized; put a Q/DQ pair behind it"


def _quantized(reading: Reading) -> Iterator[tuple[onnx.NodeProto, Quantizer]]:
    """Operators that can take in an activation, with the quantizers directly behind them."""
    for quantizer in reading.activations:
        node = reading.graph.producer(quantizer.data)
        if quantizer.kind == "Q" and node is not None and node.op_type in _FUSING:
            yield node, quantizer


def _readers(reading: Reading, pair: Quantizer) -> list[onnx.NodeProto]:
    return [node for _, node in reading.graph.users(pair.output)]


def _operator_before(reading: Reading, name: str) -> onnx.NodeProto | None:
    """Who computes a tensor, Q/DQ pairs and moves aside."""
    graph = reading.graph
    for _ in graph.nodes:
        name, _ = graph.source(name)
        node = graph.producer(name)
        if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            return node
        name = node.input[0]
    return None


def _never_negative(reading: Reading, node: onnx.NodeProto) -> bool:
    """Whether an Add's terms cannot sum up to less than 0, or cannot be known: 1 + erf(x) has no Relu behind it."""
    if node.op_type != "Add":
        return False
    lowest = [_lowest(reading, name) for name in node.input]
    return any(bound is None for bound in lowest) or sum(bound for bound in lowest if bound is not None) >= 0


def _lowest(reading: Reading, name: str) -> float | None:
    """The smallest value that a stored or a quantized tensor can have."""
    graph = reading.graph
    pair = reading.quantizer(graph.source(name)[0], "DQ")
    values = numbers(graph.value(name if pair is None else pair.data), np.float64)
    if values is None:
        return pair.range[0] if pair is not None and pair.range is not None else None
    if pair is None:
        return float(values.min())
    scale, zero = pair.scale, pair.zero_point
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return float(scale.item()) * (float(values.min()) - int(zero.item()))


def _redundant(reading: Reading, activation: onnx.NodeProto, quantizer: Quantizer) -> bool:
    """Whether a quantizer cuts off at least what a Relu or Clip before it does; unknown counts as yes."""
    if quantizer.range is None or quantizer.scale is None:
        return quantizer.constant_parameters
    low, high = quantizer.range
    if activation.op_type == "Relu":
        return low >= 0
    lowest, highest = (_bound(reading, activation, index) for index in (1, 2))
    half = abs(float(quantizer.scale.item())) / 2
    return (lowest is None or low >= lowest - half) and (highest is None or high <= highest + half)


def _bound(reading: Reading, clip: onnx.NodeProto, index: int) -> float | None:
    """A Clip's lower (1) or upper (2) bound, from its input or, below opset 11, its attribute; None without one."""
    if len(clip.input) > index and clip.input[index]:
        value = numbers(reading.graph.value(clip.input[index]), np.float64)
        return float(value.item()) if value is not None and value.size == 1 else None
    bound = attribute(clip, ("min", "max")[index - 1], float("nan"))
    return None if np.isnan(bound) else bound
