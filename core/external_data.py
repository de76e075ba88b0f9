"""ONNX external data, found without onnx: a device may have only the runtime."""

from __future__ import annotations

from mmap import mmap

from .wire import fields

# Where tensors may stand, by field number; `onnx.proto3` is the source.
PARTS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
_KEY, _VALUE = 1, 2


def locations(model: bytes | mmap) -> set[str]:
    """Every location of external data in a serialized model; a field that is given twice counts both times.

    Raises:
        ValueError: it is no ONNX model, or truncated.
    """
    if not model:
        raise ValueError("it is empty")
    found: set[str] = set()
    pending = [("ModelProto", memoryview(model))]  # no recursion: the file decides how deep it goes
    while pending:
        kind, message = pending.pop()
        if kind == "StringStringEntryProto":
            found |= _location(message)
            continue
        for number, value in fields(message):
            part = PARTS[kind].get(number)
            if part is not None and isinstance(value, memoryview):
                pending.append((part, value))
    return found


def _location(entry: memoryview) -> set[str]:
    texts = [(number, bytes(value)) for number, value in fields(entry) if isinstance(value, memoryview)]
    if (_KEY, b"location") not in texts:
        return set()
    return {value.decode() for number, value in texts if number == _VALUE} or {""}
