"""The If operator: the one operator that holds graphs.

TorchScript exports put it around a Squeeze whose axis may not have size 1. A branch decided at construction is
compiled in place; otherwise both are compiled, and the condition chooses at every call.
"""

from __future__ import annotations

from typing import Any

import onnx
from torch import Tensor

from .backward import BackwardMode
from .node import Node, Value
from .program import Compiler, Program
from .registry import Kernel, operator


def compile_if(compiler: Compiler, node: Node) -> None:
    """Compile an If node into `compiler`'s program."""
    branches = (node.graph("then_branch"), node.graph("else_branch"))
    condition = node.constant(0)
    if condition is not None:
        chosen = branches[0] if bool(condition) else branches[1]
        for name, value in zip(node.proto.output, compiler.inline(chosen), strict=True):
            compiler.scope[name] = value
        return
    captured: list[Value] = []
    programs = [_compile_branch(compiler, branch, captured) for branch in branches]
    outputs = [
        compiler.define(name, elem_type=elem_type, live=any(value.live for value in captured))
        for name, elem_type in zip(node.proto.output, programs[0][0].output_types, strict=True)
    ]
    test = node.inputs[0]
    assert test is not None
    slots = (test.slot, *(value.slot for value in captured))
    compiler.add_step(node, _choose(programs), slots, outputs, moded=True)


def _compile_branch(
    compiler: Compiler, graph: onnx.GraphProto, captured: list[Value]
) -> tuple[Program, list[tuple[int, int]]]:
    """The branch's program, and which captured value goes to which of its slots."""
    child = compiler.child()
    program = child.compile(graph)
    feeds: list[tuple[int, int]] = []
    for slot, outer in child.borrowed.items():
        feeds.append((len(captured), slot))
        captured.append(outer)
    for slot, tensor in program.constants.items():
        if slot not in child.borrowed:  # held by the outer program, which keeps constants as buffers
            feeds.append((len(captured), slot))
            captured.append(compiler.define("", constant=tensor))
    program.constants.clear()
    return program, feeds


def _choose(programs: list[tuple[Program, list[tuple[int, int]]]]) -> Kernel:
    def kernel(condition: Tensor, *captured: Any, backward: BackwardMode) -> Any:
        program, feeds = programs[0] if bool(condition) else programs[1]
        values: list[Any] = [None] * program.size
        for index, slot in feeds:
            values[slot] = captured[index]
        outputs = program.run(values, backward)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return kernel


@operator("If", since=1, moded=True, compiles=compile_if)
def refuse(node: Node) -> Kernel:
    """Never called: the compiler hands an If to :func:`compile_if`."""
    raise node.unsupported("an If outside a graph is not implemented")
