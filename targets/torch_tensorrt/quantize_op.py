"""Torch-TensorRT quantize operator: Q/DQ pairs as `tensorrt::quantize_op`, the one that it converts.

ModelOpt defines it as `(input, amax, num_bits, exponent_bits, unsigned, narrow_range)`, a fake quantization with
`scale = amax / 127`; Torch-TensorRT 2.14 makes a QuantizeLinear and a DequantizeLinear of it
(dynamo/conversion/impl/quantize.py): int8, symmetric, per tensor or along axis 0. Its division gives a scale back that
may differ from the file's in the last bit.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...core.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.fx import GraphModule, Node

_LARGEST = 127


def rewrite(program: nn.Module, quantize_op: Callable[..., Tensor]) -> GraphModule:
    """Rewrite an exported program in place: weights become floats on their grid, behind the operator.

    Args:
        program: `ExportedProgram.module()` of a program with `quantized_decomposed` operators.
        quantize_op: `torch.ops.tensorrt.quantize_op.default`.

    Raises:
        StageError: a quantizer is not int8, has a zero point, scales along another axis than 0, or stands alone.
    """
    from torch.fx import GraphModule

    assert isinstance(program, GraphModule)
    graph = program.graph
    for index, node in enumerate([node for node in graph.nodes if _called(node).startswith("dequantize_per")]):
        given, scale = node.args[0], _scale(program, node)
        if given.op == "get_attr":
            values = [_value(program, each) for each in node.args]
            program.register_buffer(f"quantized_{index}", node.target(*values))
            scale = scale.reshape(-1, *[1] * (values[0].dim() - 1)) if scale.numel() > 1 else scale
        elif _called(given).replace("quantize", "dequantize") != _called(node) or given.args[1:] != node.args[1:]:
            raise StageError(f"{node}: dequantizes what no quantizer of the same scale wrote")
        program.register_buffer(f"amax_{index}", scale * _LARGEST)
        with graph.inserting_before(node):
            source = graph.get_attr(f"quantized_{index}") if given.op == "get_attr" else given.args[0]
            amax = graph.get_attr(f"amax_{index}")
            replacement = graph.call_function(quantize_op, (source, amax, 8, 0, False, False))
        node.replace_all_uses_with(replacement)
        graph.erase_node(node)
    graph.eliminate_dead_code()
    alone = [str(node) for node in graph.nodes if _called(node).startswith("quantize_per")]
    if alone:
        raise StageError(f"{alone[0]}: its integers are read by something else than a dequantizer")
    program.recompile()
    return program


def _called(node: Node) -> str:
    return getattr(node.target, "__name__", "") if node.op == "call_function" else ""


def _value(program: GraphModule, given: Any) -> Any:
    from torch.fx import Node

    return operator.attrgetter(str(given.target))(program) if isinstance(given, Node) else given


def _scale(program: GraphModule, node: Node) -> Tensor:
    """The scale as float32, checked to be one that the operator can say."""
    import torch

    scale, zero, *layout = (_value(program, each) for each in node.args[1:])
    *axis, low, high, kind = layout
    problems = {
        f"writes {low} to {high}, int8 is wanted": (low, high, kind) != (-128, 127, torch.int8),
        "has a zero point": bool(torch.as_tensor(zero).any()),
        f"has scales along axis {axis}, TensorRT takes axis 0": any(axis),
    }
    for problem, found in problems.items():
        if found:
            raise StageError(f"{node}: {problem}")
    return torch.as_tensor(scale, dtype=torch.float32)
