"""ONNX file reader: the one place where model files become protobuf messages, and broken ones a line."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ModelError, reason_of
from .reading.bounded import read_bounded
from .reading.onnx_limits import check_data, check_limits

if TYPE_CHECKING:
    import onnx

_MOST = 2 << 30  # bytes, of protobuf's own; what is larger has external data


def read_onnx(path: str | Path, *, weights: bool = True, checked: bool = False) -> onnx.ModelProto:
    """Read an ONNX file.

    Args:
        path: the file.
        weights: read external data as well, which must lie in the file's own folder.
        checked: hold it against ONNX's own checker.

    Raises:
        ModelError: the file is missing, truncated or no ONNX model; it is beyond a limit, see `check_limits`; its
            external data are missing or elsewhere; a tensor's data are not of its size; or the checker finds a fault.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: {'is a folder; a file is needed' if path.is_dir() else 'no such file'}")
    broken = f"{path}: not a valid ONNX model, or truncated"
    try:
        model = onnx.load_model_from_string(read_bounded(path, _MOST))
    except (DecodeError, ValueError, OSError) as error:
        raise ModelError(f"{broken} ({reason_of(error)})") from None
    # Protobuf reads many a file that is something else, and one that ends between two fields.
    if not model.graph.output:
        raise ModelError(f"{broken} (it has no outputs)")
    check_limits(model, str(path))
    if weights:
        read_weights(model, path)
    else:
        check_data(model, str(path))
    if checked:
        check(path, path)
    return model


def check(model: onnx.ModelProto | Path, path: Path) -> None:
    """Hold a model, or its file, against ONNX's own checker; `path` is for messages.

    Raises:
        ModelError: it finds a fault.
    """
    import onnx

    _know_normalizations()
    try:
        onnx.checker.check_model(str(model) if isinstance(model, Path) else model)
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise ModelError(f"{path}: not a valid ONNX model, or truncated ({reason_of(error)})") from None


@cache
def _know_normalizations() -> None:
    """Tell the checker of two operators that ONNX Runtime's optimisers write into ONNX's own domain at any opset."""
    from onnx.defs import OpSchema, get_schema, register_schema

    known = get_schema("LayerNormalization", 17)
    kinds = [(each.type_param_str, each.allowed_type_strs, "") for each in known.type_constraints]
    for name in ("LayerNormalization", "SimplifiedLayerNormalization"):
        attributes = list(known.attributes.values())
        register_schema(
            OpSchema(
                name, "", 1, inputs=known.inputs, outputs=known.outputs, type_constraints=kinds, attributes=attributes
            )
        )


def read_weights(model: onnx.ModelProto, path: Path) -> None:
    """Read the external data of a model into it; `path` is the model's file.

    Raises:
        ModelError: they are missing, not of their tensor's size, or not in the model's folder.
    """
    import onnx

    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: external data cannot be read: {reason_of(error)}") from None
    check_data(model, str(path))
