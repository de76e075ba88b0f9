"""Model signature: one image batch in, one row of logits per image out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ModelError
from ..core.onnx_reader import read_onnx

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class ModelSignature:
    """Names and shapes of an image classifier; `batch` is None where the batch size is free."""

    input_name: str
    output_name: str
    image_shape: tuple[int, int, int]
    classes: int
    batch: int | None


@dataclass(frozen=True)
class Value:
    """An input or an output of a model.

    Attributes:
        name: its name.
        kind: its element type, as ONNX calls it (`FLOAT`).
        dimensions: every dimension as a number, or as the name (or "?") of a free one.
    """

    name: str
    kind: str
    dimensions: tuple[int | str, ...]


def readable() -> bool:
    """Whether ONNX files can be read here; on a device only the runtime may know them."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        return False
    return True


def read_signature(path: Path) -> ModelSignature:
    """Read and check an ONNX file.

    Raises:
        ModelError: the file is missing, truncated or no ONNX model; it is not an image classifier of one
            float32 input `[N, C, H, W]` with fixed C, H, W and one float32 output `[N, classes]`.
    """
    return signature_of(read_onnx(path, checked=True), path)


def signature_of(model: onnx.ModelProto, path: Path) -> ModelSignature:
    """Read the signature of a loaded model; `path` is for messages."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [_value(value) for value in model.graph.input if value.name not in weights]
    return checked_signature(inputs, [_value(value) for value in model.graph.output], path)


def checked_signature(inputs: Sequence[Value], outputs: Sequence[Value], path: Path) -> ModelSignature:
    """Check that inputs and outputs are those of an image classifier; `path` is for messages.

    Raises:
        ModelError: as `read_signature`.
    """
    for what, values in (("input", inputs), ("output", outputs)):
        if len(values) != 1:
            names = ", ".join(value.name for value in values) or "none"
            raise ModelError(f"{path}: an image classifier has one {what}, this model has {len(values)} ({names})")
        if values[0].kind != "FLOAT":
            raise ModelError(f"{path}: {what} {values[0].name!r} is {values[0].kind}, float32 is needed")
    if len(inputs[0].dimensions) != 4:
        raise ModelError(
            f"{path}: input {inputs[0].name!r} has {len(inputs[0].dimensions)} dimensions, images [N, C, H, W] have 4"
        )
    batch, *image = inputs[0].dimensions
    for axis, size in zip(("channels", "height", "width"), image, strict=True):
        if not isinstance(size, int):
            raise ModelError(
                f"{path}: the {axis} of input {inputs[0].name!r} is dynamic ({size}); "
                "only the batch size may be, export with a fixed image size"
            )
    row = outputs[0].dimensions
    classes = row[-1] if len(row) == 2 else None
    if not isinstance(classes, int):
        raise ModelError(
            f"{path}: output {outputs[0].name!r} has shape [{', '.join(map(str, row))}], "
            "logits [N, classes] with a fixed number of classes are needed"
        )
    return ModelSignature(
        inputs[0].name,
        outputs[0].name,
        (image[0], image[1], image[2]),  # type: ignore[arg-type]
        classes,
        batch if isinstance(batch, int) else None,
    )


def _value(value: onnx.ValueInfoProto) -> Value:
    import onnx

    tensor = value.type.tensor_type
    dimensions = tuple(
        dimension.dim_value if dimension.HasField("dim_value") else dimension.dim_param or "?"
        for dimension in tensor.shape.dim
    )
    return Value(value.name, onnx.TensorProto.DataType.Name(tensor.elem_type), dimensions)
