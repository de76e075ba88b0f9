"""Missing shapes of a graph's inputs and outputs, which ONNX Runtime does without and ONNX's own checker wants."""

from __future__ import annotations

import onnx


def say_shapes(model: onnx.ModelProto, *, rows: bool) -> bool:
    """Give what has no shape one, in place: an output what is inferred, an input free sizes.

    Args:
        model: the model.
        rows: whether its input is of rows of numbers, and not of images.

    Returns:
        whether anything had none.
    """
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if _lacks(value) and value.name not in stored]
    for value in inputs:
        _free(value, 2 if rows else 4)
    silent = [value for value in graph.output if _lacks(value)]
    if not silent:
        return bool(inputs)
    from ..twin.inference import inferred_shapes  # with torch, which `lint` does without

    found = inferred_shapes(model)
    inferred = {value.name: value for value in (*found.output, *found.value_info) if not _lacks(value)}
    for value in silent:
        if value.name in inferred:
            value.CopyFrom(inferred[value.name])
        else:
            _free(value, 2)
    return True


def _lacks(value: onnx.ValueInfoProto) -> bool:
    return value.type.WhichOneof("value") in (None, "tensor_type") and not value.type.tensor_type.HasField("shape")


def _free(value: onnx.ValueInfoProto, axes: int) -> None:
    for _ in range(axes):
        value.type.tensor_type.shape.dim.add()
