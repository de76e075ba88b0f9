"""Misread graphs: those that the parser takes for others without a word, or crashes on, refused beforehand.

Each was given to the parser of TensorRT for RTX 1.7.1.116, which shares its source with TensorRT's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import StageError
from ...core.onnx_reader import read_onnx
from ...core.onnx_walk import nodes, tensors

if TYPE_CHECKING:
    import onnx

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_MEANS_UINT8 = (0, 2)  # of TensorProto.DataType: not given, and uint8
_OWN_DOMAINS = ("", "ai.onnx")
# In warnings of the parser: it reads another type or another number than the file holds, and goes on.
WARNINGS = ("UINT8 zero_point", "Defaulting to INT8", "will use INT8 instead", "outside the range of FLOAT was clamped")


def refuse_misread(path: Path, title: str) -> None:
    """Look for what the parser reads otherwise.

    Args:
        path: the ONNX file.
        title: the library's name, for messages.

    Raises:
        ModelError: it is no ONNX file.
        StageError: it would be misread; the message names the node and its operator.
    """
    model = read_onnx(path, checked=True)
    constants = {name: list(tensor.dims) for name, tensor in tensors(model)}
    for node in nodes(model):
        if node.op_type == "Constant":
            shapes = [list(entry.t.dims) for entry in node.attribute if entry.HasField("t")]
            constants[node.output[0]] = shapes[0] if shapes else []
    own = {(function.domain, function.name) for function in model.functions}

    def foreign(node: onnx.NodeProto) -> str | None:
        if node.domain in _OWN_DOMAINS or (node.domain, node.op_type) in own:
            return None
        if node.domain == "com.microsoft" and node.op_type in _QUANTIZERS:
            return None  # ONNX Runtime's of 4 bits, before ONNX had them: they mean the same
        return f"its domain is {node.domain!r}, and the parser would take it for ONNX's operator of that name"

    rules: tuple[Callable[[onnx.NodeProto], str | None], ...] = (
        foreign,
        _no_zero_point,
        lambda node: _computed(node, constants),
        lambda node: _many_scales(node, constants),
    )
    for node in nodes(model):
        for rule in rules:
            if problem := rule(node):
                name = node.name or (node.output[0] if node.output else "")
                raise StageError(f"{path}: {title} refuses the model: {node.op_type} {name!r}: {problem}")


def _no_zero_point(node: onnx.NodeProto) -> str | None:
    if node.op_type != "QuantizeLinear" or (len(node.input) > 2 and node.input[2]):
        return None
    if any(entry.name == "output_dtype" and entry.i not in _MEANS_UINT8 for entry in node.attribute):
        return None
    return "it has no zero point, so ONNX means uint8, and the parser would read int8; give it an int8 zero point of 0"


def _computed(node: onnx.NodeProto, constants: dict[str, list[int]]) -> str | None:
    if node.op_type not in _QUANTIZERS:
        return None
    computed = [name for name in node.input[1:] if name and name not in constants]
    return f"{computed[0]!r} is computed, scales and zero points must be constants" if computed else None


def _many_scales(node: onnx.NodeProto, constants: dict[str, list[int]]) -> str | None:
    if node.op_type != "QuantizeLinear" or node.input[0] in constants:
        return None
    scales = constants.get(node.input[1], [])
    if not any(size > 1 for size in scales):
        return None
    return f"it has scales {scales} for an activation, and only constants may have more than one (IDequantizeLayer)"
