"""If, Loop and Scan: the operators that hold graphs.

TorchScript exports put an If around a Squeeze whose axis may not have size 1. A branch decided at construction is
compiled in place; otherwise both are compiled, and the condition chooses at every call. The body of a Loop or a Scan is
compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import Tensor

from .backward import BackwardMode
from .node import Node, Value
from .program import Compiler, Program
from .registry import Kernel, operator

# Rounds of a Loop: a classifier's are counted by its layers or sizes.
_MOST_ROUNDS = 1000


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
    programs = [_compile_inner(compiler, branch, captured) for branch in branches]
    outputs = [
        compiler.define(name, elem_type=elem_type, live=any(value.live for value in captured))
        for name, elem_type in zip(node.proto.output, programs[0][0].output_types, strict=True)
    ]
    test = node.inputs[0]
    assert test is not None
    slots = (test.slot, *(value.slot for value in captured))
    compiler.add_step(node, _choose(programs), slots, outputs, moded=True)


def _compile_inner(
    compiler: Compiler, graph: onnx.GraphProto, captured: list[Value]
) -> tuple[Program, list[tuple[int, int]]]:
    """The graph's program, and which captured value goes to which of its slots."""
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


def compile_loop(compiler: Compiler, node: Node) -> None:
    """Compile a Loop node into `compiler`'s program."""
    captured: list[Value] = []
    carried = node.inputs[2:]
    program, feeds = _compile_inner(compiler, _typed(node.graph("body"), (None, None, *carried)), captured)
    live = any(value.live for value in (*captured, *carried) if value is not None)
    outputs = [
        compiler.define(name, elem_type=elem_type, live=live)
        for name, elem_type in zip(node.proto.output, program.output_types[1:], strict=True)
    ]
    slots = tuple(0 if value is None else value.slot for value in (*node.inputs, *captured))
    compiler.add_step(node, _repeat(program, feeds, len(carried)), slots, outputs, moded=True)


def compile_scan(compiler: Compiler, node: Node) -> None:
    """Compile a Scan node into `compiler`'s program."""
    captured: list[Value] = []
    scanned = node.int("num_scan_inputs", 0)
    carried = len(node.inputs) - scanned
    program, feeds = _compile_inner(compiler, _typed(node.graph("body"), node.inputs), captured)
    live = any(value.live for value in (*captured, *node.inputs) if value is not None)
    outputs = [
        compiler.define(name, elem_type=elem_type, live=live)
        for name, elem_type in zip(node.proto.output, program.output_types, strict=True)
    ]
    collected = len(outputs) - carried
    axes, ways = (node.ints(f"scan_input_{what}", [0] * scanned) for what in ("axes", "directions"))
    out_axes, out_ways = (node.ints(f"scan_output_{what}", [0] * collected) for what in ("axes", "directions"))
    slots = tuple(0 if value is None else value.slot for value in (*node.inputs, *captured))
    kernel = _scan(program, feeds, carried, [*zip(axes, ways, strict=True)], [*zip(out_axes, out_ways, strict=True)])
    compiler.add_step(node, kernel, slots, outputs, moded=True)


def _scan(
    program: Program,
    feeds: list[tuple[int, int]],
    width: int,
    inward: list[tuple[int, int]],
    outward: list[tuple[int, int]],
) -> Kernel:
    """A body over slices; each axis comes with 1 where it is walked backwards."""

    def kernel(*given: Any, backward: BackwardMode) -> Any:
        carried, rest = list(given[:width]), given[width:]
        slices = [rest[place].unbind(axis)[:: -1 if way else 1] for place, (axis, way) in enumerate(inward)]
        captured, collected = rest[len(inward) :], []
        for row in zip(*slices, strict=True):
            values: list[Any] = [None] * program.size
            for index, slot in feeds:
                values[slot] = captured[index]
            for slot, value in zip(program.inputs, (*carried, *row), strict=True):
                values[slot] = value
            found = program.run(values, backward)
            carried = found[:width]
            collected.append(found[width:])
        if not collected and outward:
            raise ValueError("no slice was there, so the shape of what is collected is unknown")
        columns = zip(*collected, strict=True)
        stacks = [torch.stack(c[:: -1 if way else 1], axis) for c, (axis, way) in zip(columns, outward, strict=True)]
        results = (*carried, *stacks)
        return results[0] if len(results) == 1 else results

    return kernel


def _typed(graph: onnx.GraphProto, given: Sequence[Value | None]) -> onnx.GraphProto:
    """A body whose inputs have the types of what is given, where it leaves them without: functions' bodies do."""
    body = onnx.GraphProto()
    body.CopyFrom(graph)
    for formal, value in zip(body.input, given, strict=False):
        if value is not None and not formal.type.HasField("tensor_type"):
            formal.type.tensor_type.elem_type = value.elem_type
    return body


def _repeat(program: Program, feeds: list[tuple[int, int]], width: int) -> Kernel:
    def kernel(count: Tensor | None, condition: Tensor | None, *given: Any, backward: BackwardMode) -> Any:
        carried, captured = list(given[:width]), given[width:]
        rounds = _MOST_ROUNDS + 1 if count is None else int(count)
        going = torch.tensor(True) if condition is None else condition
        scanned: list[list[Tensor]] = []
        done = 0
        while done < rounds and bool(going):
            if done == _MOST_ROUNDS:
                raise ValueError(f"it goes on for more than {_MOST_ROUNDS} rounds")
            values: list[Any] = [None] * program.size
            for index, slot in feeds:
                values[slot] = captured[index]
            for slot, value in zip(program.inputs, (torch.tensor(done), going, *carried), strict=True):
                values[slot] = value
            going, *found = program.run(values, backward)
            carried, rest = found[:width], found[width:]
            scanned.append(rest)
            done += 1
        if not scanned and len(program.outputs) > 1 + width:
            raise ValueError("no round was run, so the shape of what is collected is unknown")
        results = (*carried, *(torch.stack(column) for column in zip(*scanned, strict=True)))
        return results[0] if len(results) == 1 else results

    return kernel


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
@operator("Loop", since=1, moded=True, compiles=compile_loop)
@operator("Scan", since=9, moded=True, compiles=compile_scan)
def refuse(node: Node) -> Kernel:
    """Never called: the compiler hands these to :func:`compile_if`, :func:`compile_loop` and :func:`compile_scan`."""
    raise node.unsupported("it is not implemented outside a graph")
