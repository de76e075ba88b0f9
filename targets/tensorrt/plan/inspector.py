"""Engine inspector: which layers of a plan run in int8.

Its JSON has two forms. A tensor's element type stands in `Format/Datatype` up to TensorRT 10, in words (`Thirty-two
wide channel vectorized row major Int8 format`; a single word where code was generated), and in `Datatype` from 11 on
("Migrating IEngineInspector Usage from TensorRT 10.x to 11.x"). The rest is alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ....core.errors import StageError
from ....core.onnx_reader import read_onnx

if TYPE_CHECKING:
    import onnx

Precision = Literal["int8", "float", "unknown"]

# "channel % 4 == 0" and the like hold no such word; UInt8 is one word, so it is not taken for Int8.
_TYPE = re.compile(r"\b(u?int8|int32|int64|int4|fp32|float|fp16|half|bf16|bfloat16|fp8|fp4|bool)\b", re.IGNORECASE)
_ONNX_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
# What moves or converts numbers and computes nothing.
_MOVES = {"reformat", "noop", "constant", "shuffle", "quantize", "dequantize", "cast", "signal", "wait"}
# Regions that are compiled as a whole; what they hold inside is not told.
_REGIONS = ("foreignnode", "myelin")
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Layer:
    """One layer of a plan.

    Attributes:
        name: its name.
        kind: its type, as in `CaskConvolution`.
        nodes: the ONNX nodes that it does.
        inputs: element types of its inputs, in lower case; None where none is told.
        weights: element type of its weights, likewise.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[str | None, ...]
    weights: str | None

    @property
    def computes(self) -> bool:
        """Whether it does more than move or convert numbers."""
        return self.kind.lower() not in _MOVES

    @property
    def precision(self) -> Precision:
        """int8 only where its first input is, and its weights as far as they are told: a float kernel may read int8."""
        if self.kind.lower().startswith(_REGIONS) or not self.inputs or self.inputs[0] is None:
            return "unknown"
        return "int8" if self.inputs[0] == "int8" and self.weights in (None, "int8") else "float"


def read_layers(text: str) -> list[Layer]:
    """Read the inspector's JSON, of either form.

    Raises:
        StageError: it is something else, or the plan was built without `ProfilingVerbosity.DETAILED`.
    """
    try:
        layers = json.loads(text)["Layers"]
        if any(isinstance(layer, str) for layer in layers):
            raise StageError("the plan holds no more of its layers than their names; build it with details")
        return [_layer(layer) for layer in layers]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(f"not what the engine inspector of TensorRT 10 or 11 says ({error!r})") from None


def precisions(layers: Iterable[Layer], nodes: Iterable[str]) -> dict[str, Precision]:
    """How each ONNX node is computed; `unknown` where it is not told, or no layer names the node."""
    every = [layer for layer in layers if layer.computes]
    return {node: _worst({layer.precision for layer in every if node in layer.nodes}) for node in nodes}


def quantized_operators(model: Path) -> list[str]:
    """Names of the convolutions and matrix products of an ONNX file whose operands are all quantized.

    Raises:
        ModelError: it is no ONNX file.
    """
    graph = read_onnx(model, checked=True).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}

    def quantized(node: onnx.NodeProto) -> bool:
        return node.op_type in _WEIGHTED and all(name in dequantized for name in node.input[:2])

    return [node.name for node in graph.node if quantized(node)]


def _worst(found: set[Precision]) -> Precision:
    """Of several layers that a node became, the one that is least int8."""
    if "float" in found:
        return "float"
    return "int8" if found == {"int8"} else "unknown"


def _layer(about: Mapping[str, Any]) -> Layer:
    weights = about.get("Weights")
    return Layer(
        about["Name"],
        about["LayerType"],
        # Where there is no metadata the names of fused nodes are in the layer's own.
        tuple(_ONNX_NODE.findall(about.get("Metadata") or "")) or tuple(re.split(r" \+ | \|\| ", about["Name"])),
        tuple(_element_type(tensor) for tensor in about.get("Inputs", ())),
        _word(weights.get("Type")) if isinstance(weights, Mapping) else None,
    )


def _element_type(tensor: Mapping[str, Any]) -> str | None:
    return _word(next((tensor[key] for key in ("Datatype", "DataType", "Format/Datatype") if key in tensor), None))


def _word(text: str | None) -> str | None:
    found = _TYPE.search(text or "")
    return found.group(1).lower() if found else None
