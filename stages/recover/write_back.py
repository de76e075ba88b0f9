"""Write-back of learnt weights and scales into the ONNX file they came from: same nodes, other numbers."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .rounding import integers
from .trainable import TrainableTwin


@torch.no_grad()
def write_back(model: onnx.ModelProto, trained: TrainableTwin) -> onnx.ModelProto:
    """Return a copy of a graph with the weights and scales that its trainable twin has learnt.

    Nodes, names, element types and shapes stay; only the bytes of constants change.

    Args:
        model: the graph that the twin was made from.
        trained: the twin.
    """
    masters = trained.masters
    scales = dict(zip(masters.scales, trained.positive_scales(), strict=True))
    learnt: dict[str, np.ndarray] = {name: scale.cpu().numpy() for name, scale in scales.items()}
    learnt |= {copy: learnt[original] for copy, original in masters.follows.items() if original in learnt}
    for weight, value in zip(masters.weights, trained.weights, strict=True):
        stored = weight.grid is not None and weight.stored
        learnt[weight.name] = (
            integers(value, scales[weight.grid.scale], weight.grid).cpu().numpy()
            if stored and weight.grid
            else value.cpu().numpy()
        )
    for bias, value, scale in zip(masters.biases, trained.biases, trained.bias_scales(), strict=True):
        learnt[bias.name] = torch.round(value / scale).cpu().numpy()
        learnt[bias.scale] = scale.cpu().numpy()
    written = onnx.ModelProto()
    written.CopyFrom(model)
    for tensor in written.graph.initializer:
        if tensor.name in learnt:
            tensor.CopyFrom(_like(tensor, learnt[tensor.name]))
    for node in written.graph.node:
        if node.op_type == "Constant" and node.output[0] in learnt:
            _replace_constant(node, learnt[node.output[0]])
    return written


def _like(tensor: TensorProto, value: np.ndarray) -> TensorProto:
    """A tensor of the same name, type and shape with other values."""
    shape = tuple(tensor.dims)
    # A scalar scale may have been stretched over the channels; then so is the file's.
    array = np.asarray(value).astype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    return numpy_helper.from_array(array.reshape(shape if array.size == np.prod(shape) else array.shape), tensor.name)


def _replace_constant(node: NodeProto, value: np.ndarray) -> None:
    for attribute in node.attribute:
        if attribute.name == "value":
            attribute.t.CopyFrom(_like(attribute.t, value))
