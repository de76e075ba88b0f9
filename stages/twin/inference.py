"""Type and shape inference: element types of a node's outputs, from the operator's own schema, and shapes of a graph.

A whole-model shape inference would say the types too, but fails on the first operator it does not know; types are all
that the kernels need.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

import onnx
from onnx import TensorProto
from onnx.defs import OpSchema

from .node import Node

_TENSOR = re.compile(r"tensor\((\w+)\)")
# Numbers of a tensor that may say a shape; what has more are weights, of which the shape is enough.
_MOST = 2**10


@lru_cache(maxsize=1024)
def _schema(op_type: str, opset: int, domain: str) -> OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, min(opset, onnx.defs.onnx_opset_version()), domain)
    except onnx.defs.SchemaError:
        return None


def _concrete(type_string: str) -> int:
    match = _TENSOR.fullmatch(type_string)
    return TensorProto.DataType.Value(match.group(1).upper()) if match else 0


def _formal(parameters: list[OpSchema.FormalParameter], index: int) -> OpSchema.FormalParameter | None:
    """The parameter at `index`; the last one where it is variadic."""
    if index < len(parameters):
        return parameters[index]
    if parameters and parameters[-1].option == OpSchema.FormalParameterOption.Variadic:
        return parameters[-1]
    return None


def output_types(node: Node) -> list[int]:
    """ONNX element type of every output of `node`, 0 where the schema does not tell."""
    if node.op_type == "Constant" and not node.domain:
        return [node.declared_type()]
    if node.op_type == "ConstantOfShape" and not node.domain:
        return [node.declared_type() or TensorProto.FLOAT]
    if node.op_type == "DequantizeLinear":
        return [node.declared_type() or node.elem_type(1)]
    if node.op_type == "QuantizeLinear":
        return [node.elem_type(2) or node.declared_type() or TensorProto.UINT8]
    schema = _schema(node.op_type, node.opset, node.domain)
    if schema is None:
        return [node.elem_type(0)] * node.outputs
    bound: dict[str, int] = {}
    for index in range(len(node.inputs)):
        formal = _formal(list(schema.inputs), index)
        if formal is not None and node.elem_type(index):
            bound.setdefault(formal.type_str, node.elem_type(index))
    allowed = {constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints}
    types = []
    for index in range(node.outputs):
        formal = _formal(list(schema.outputs), index)
        if formal is None:
            types.append(0)
            continue
        choices = allowed.get(formal.type_str, [formal.type_str])
        only = _concrete(choices[0]) if len(choices) == 1 else 0
        types.append(bound.get(formal.type_str) or node.declared_type() or only)
    return types


def inferred_shapes(model: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with the shapes of its values as far as ONNX can infer them, and without the numbers of large tensors.

    Without any inferred shapes where that fails: an operator is unknown, or the model makes no sense.
    """
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
