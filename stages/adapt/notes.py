"""Notes of the adapter in a file's metadata, for whoever verifies an engine that was built with it."""

from __future__ import annotations

import onnx


def note(model: onnx.ModelProto, key: str, value: str) -> None:
    """Write a note; others stay."""
    properties = {each.key: each.value for each in model.metadata_props}
    onnx.helper.set_model_props(model, {**properties, f"edgeproof.{key}": value})


def noted(model: onnx.ModelProto, key: str) -> str:
    """Read a note; empty where there is none."""
    return next((each.value for each in model.metadata_props if each.key == f"edgeproof.{key}"), "")
