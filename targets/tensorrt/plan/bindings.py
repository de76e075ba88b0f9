"""Plan bindings: what a deserialized plan takes and yields."""

from __future__ import annotations

from pathlib import Path

from ...signature import ModelSignature, Value, checked_signature
from ..api import CudaEngine

# Its names of element types, where they are not ONNX's.
_KINDS = {"HALF": "FLOAT16", "BF16": "BFLOAT16"}


def plan_signature(engine: CudaEngine, path: Path) -> ModelSignature:
    """Read the signature off a plan; `path` is for messages.

    Raises:
        ModelError: it is no image classifier.
    """
    values: dict[str, list[Value]] = {"INPUT": [], "OUTPUT": []}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = engine.get_tensor_dtype(name).name
        sizes = tuple("?" if size == -1 else int(size) for size in engine.get_tensor_shape(name))
        values[engine.get_tensor_mode(name).name].append(Value(name, _KINDS.get(kind, kind), sizes))
    return checked_signature(values["INPUT"], values["OUTPUT"], path)


def batch_range(engine: CudaEngine, signature: ModelSignature) -> tuple[int, int]:
    """The fewest and the most images that a plan takes at once, by its first profile."""
    if signature.batch is not None:
        return signature.batch, signature.batch
    least, _, most = engine.get_tensor_profile_shape(signature.input_name, 0)
    return int(least[0]), int(most[0])
