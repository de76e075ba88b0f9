"""ONNX shape inference that copies no weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

# Numbers of a tensor that may say a shape; what has more are weights, of which the shape is enough.
_MOST = 2**10


def inferred_shapes(model: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the shapes of its values as far as ONNX can infer them, and without the numbers of large tensors.

    Without any inferred shapes where that fails: an operator is unknown, or the model makes no sense.
    """
    import onnx

    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = model.graph
    bare.graph.CopyFrom(
        onnx.GraphProto(
            name=graph.name, node=graph.node, input=graph.input, output=graph.output, value_info=graph.value_info
        )
    )
    for tensor in graph.initializer:
        small = math.prod(tensor.dims) <= _MOST and tensor.data_location != onnx.TensorProto.EXTERNAL
        kept = tensor if small else onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        bare.graph.initializer.append(kept)
    try:
        return onnx.shape_inference.infer_shapes(bare, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        return bare.graph
