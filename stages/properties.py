"""ONNX metadata: a file's `metadata_props`."""

from __future__ import annotations

from pathlib import Path

import onnx

from ..core.onnx_reader import read_onnx


def describe(path: Path, properties: dict[str, str]) -> None:
    """Replace the `metadata_props` of an ONNX file."""
    model = read_onnx(path)
    onnx.helper.set_model_props(model, properties)
    path.write_bytes(model.SerializeToString(deterministic=True))


def properties_of(path: Path) -> dict[str, str]:
    """Read the `metadata_props` of an ONNX file."""
    return {entry.key: entry.value for entry in read_onnx(path, weights=False).metadata_props}
