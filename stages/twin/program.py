"""Graph compiler: an ONNX graph as a flat list of kernels, names resolved, constants folded, dead nodes dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from torch import Tensor

from ...core.errors import ModelError
from ...core.onnx_walk import captured
from . import registry
from .backward import BackwardMode
from .errors import NoTwin
from .inference import output_types
from .node import Node, Value
from .quantize import Dequantizer, Quantizer
from .registry import NCHWC, Kernel, Operator
from .shortcuts import take_shortcuts
from .signs import never_negative
from .step import Step
from .types import DTYPES, FLOATS8, from_proto, type_name


@dataclass
class Program:
    """A compiled graph.

    Slot 0 always holds None: it stands for inputs left out. The caller fills the slots of `inputs` and `constants`.

    Attributes:
        size: number of slots.
        inputs: slots of the graph's inputs, in order.
        outputs: slots of the graph's outputs, in order.
        constants: slot → value, for every constant that a step reads or that is an output.
    """

    steps: list[Step]
    size: int
    inputs: list[int]
    outputs: list[int]
    constants: dict[int, Tensor]
    input_types: list[int] = field(default_factory=list)
    output_types: list[int] = field(default_factory=list)

    def grids(self) -> Iterator[tuple[float, float]]:
        """(qmin, qmax) of every quantizer that runs; those of constants have run already."""
        for step in self.steps:
            kernel = getattr(step.kernel, "__self__", step.kernel)  # a pair's is a method of its quantizer
            if isinstance(kernel, Quantizer):
                yield kernel.limits

    def run(self, values: list[Any], backward: BackwardMode) -> list[Any]:
        """Run the steps over `values`, whose input and constant slots are filled, and return the outputs."""
        step = None
        try:
            for step in self.steps:
                arguments = [values[slot] for slot in step.inputs]
                result = step.kernel(*arguments, backward=backward) if step.moded else step.kernel(*arguments)
                if isinstance(result, tuple):
                    for slot, value in zip(step.outputs, result, strict=False):
                        values[slot] = value
                else:
                    values[step.outputs[0]] = result
                for slot in step.release:
                    values[slot] = None
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise ModelError(f"node {step.label if step else '?'} cannot be computed: {error}") from error
        return [values[slot] for slot in self.outputs]


class Compiler:
    """Compiles one graph.

    Args:
        opsets: domain → version.
        outer: compiler of the graph around this one, where this is a branch.
    """

    def __init__(self, opsets: Mapping[str, int], outer: Compiler | None = None) -> None:
        self.opsets = {("" if domain == "ai.onnx" else domain): version for domain, version in opsets.items()}
        self.outer = outer
        self.borrowed: dict[int, Value] = {}
        self.size = 1
        self.scope: dict[str, Value] = {}
        self.steps: list[Step] = []
        self.constants: dict[int, Tensor] = {}
        self.producers: dict[int, Step] = {}

    def compile(self, graph: onnx.GraphProto) -> Program:
        """Compile `graph`.

        Raises:
            UnsupportedOperator: a node cannot be reproduced exactly.
            ModelError: the graph names a value that nothing computes.
        """
        self._define_initializers(graph)
        inputs = [self._input(value) for value in graph.input if value.name not in self.scope]
        for proto in _needed(graph):
            self._node(proto)
        outputs = [self.lookup(value.name) for value in graph.output]
        return self._link(inputs, outputs)

    def inline(self, graph: onnx.GraphProto) -> list[Value]:
        """Compile a graph without inputs into this one; its outputs."""
        self._define_initializers(graph)
        for proto in _needed(graph):
            self._node(proto)
        return [self.lookup(value.name) for value in graph.output]

    def child(self) -> Compiler:
        """A compiler for a graph inside this one."""
        return type(self)(self.opsets, outer=self)

    def define(self, name: str, *, elem_type: int = 0, constant: Tensor | None = None, live: bool = False) -> Value:
        """Give `name` a new slot."""
        value = Value(self.size, elem_type, constant, live)
        self.size += 1
        if name:
            self.scope[name] = value
        if constant is not None:
            self.constants[value.slot] = constant
        return value

    def lookup(self, name: str) -> Value:
        """The value called `name`, in this graph or in one around it."""
        if name not in self.scope:
            if self.outer is None:
                raise ModelError(f"the graph reads '{name}', which no node, input or initialiser defines")
            found = self.outer.lookup(name)
            value = self.define(name, elem_type=found.elem_type, constant=found.constant, live=found.live)
            value.positive = found.positive
            self.borrowed[value.slot] = found
        return self.scope[name]

    def add_step(
        self, node: Node, kernel: Kernel, slots: tuple[int, ...], outputs: list[Value], *, moded: bool
    ) -> None:
        """Append the step that computes `node`."""
        op_type = "" if node.domain else node.op_type
        step = self._paired(Step(kernel, slots, tuple(value.slot for value in outputs), moded, node.label, op_type))
        self.steps.append(step)
        self.producers.update(dict.fromkeys(step.outputs, step))

    def _define_initializers(self, graph: onnx.GraphProto) -> None:
        for proto in graph.initializer:
            self.define(proto.name, elem_type=proto.data_type, constant=self._initializer(proto))
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            raise NoTwin(f"initialiser '{name}' is sparse, which the twin does not implement")

    def _initializer(self, proto: onnx.TensorProto) -> Tensor:
        try:
            return from_proto(proto)
        except TypeError as error:
            raise NoTwin(f"initialiser '{proto.name}' has {error}, which the twin does not implement") from None
        except Exception as error:  # onnx raises many kinds for a tensor whose bytes are missing or misplaced
            raise ModelError(f"initialiser '{proto.name}' cannot be read: {error}") from error

    def _input(self, info: onnx.ValueInfoProto) -> Value:
        elem_type = info.type.tensor_type.elem_type
        if not info.type.HasField("tensor_type") or elem_type not in {**DTYPES, **FLOATS8}:
            kind = type_name(elem_type) if info.type.HasField("tensor_type") else "no tensor"
            raise ModelError(f"input '{info.name}' is {kind}; the twin takes tensors of floats, integers or booleans")
        return self.define(info.name, elem_type=elem_type, live={**DTYPES, **FLOATS8}[elem_type].is_floating_point)

    def _node(self, proto: onnx.NodeProto) -> None:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        inputs = [self.lookup(name) if name else None for name in proto.input]
        self.place(Node(proto, inputs, self.opsets.get(domain, 1)))

    def place(self, node: Node) -> None:
        """Compile one node."""
        known = self._operator(node)
        kernel = None if known.compiles is not None else known.build(node)
        if known.compiles is not None:
            known.compiles(self, node)
        if node.unread():
            raise node.unsupported(f"attribute '{node.unread()[0]}' is not implemented")
        if kernel is not None:
            self.emit(node, known, kernel)

    def emit(self, node: Node, known: Operator, kernel: Kernel) -> None:
        """Compute `node` now where all its inputs are constant, else append the step that will."""
        types = output_types(node)
        given = [value for value in node.inputs if value is not None]
        if all(value.constant is not None for value in given):
            self._fold(node, known, kernel, types)
            return
        live = known.differentiable and any(value.live for value in given)
        names = node.proto.output
        outputs = [self.define(name, elem_type=kind, live=live) for name, kind in zip(names, types, strict=True)]
        outputs[0].positive = never_negative(node)
        slots = tuple(0 if value is None else value.slot for value in node.inputs)
        self.add_step(node, kernel, slots, outputs, moded=known.moded)

    def _paired(self, step: Step) -> Step:
        """`step`, made one with the quantizer before it where it dequantizes by the same scale and zero point.

        The quantizer's own step stays for whoever else reads it, and is dropped where nobody does.
        """
        before = self.producers.get(step.inputs[0]) if step.inputs else None
        if (
            before is None
            or not isinstance(step.kernel, Dequantizer)
            or not isinstance(before.kernel, Quantizer)
            or not step.kernel.undoes(before.kernel)
            or len(step.inputs) != len(before.inputs)
            or not all(map(self._same, step.inputs[1:], before.inputs[1:]))
        ):
            return step
        return Step(before.kernel.paired, before.inputs, step.outputs, True, step.label)

    def _same(self, slot: int, other: int) -> bool:
        if slot == other:
            return True
        left, right = self.constants.get(slot), self.constants.get(other)
        return left is not None and right is not None and left.dtype == right.dtype and torch.equal(left, right)

    def _operator(self, node: Node) -> Operator:
        known = registry.find(node.domain, node.op_type)
        if known is None and node.domain == NCHWC:
            raise node.unsupported(
                "ONNX Runtime laid its channels out for one processor; save the model un-optimised, or optimised at "
                "ORT_ENABLE_EXTENDED instead of ORT_ENABLE_ALL"
            )
        if known is None:
            raise node.unsupported("the twin does not know this operator")
        if not known.since <= node.opset <= known.until:
            raise node.unsupported(f"the twin knows this operator for opsets {known.since} to {known.until}")
        return known

    def _fold(self, node: Node, known: Operator, kernel: Kernel, types: list[int]) -> None:
        """Compute a node whose inputs are all constant, once and for all."""
        tensors = [None if value is None else value.constant for value in node.inputs]
        extra: dict[str, Any] = {"backward": "relu"} if known.moded else {}
        try:
            with torch.no_grad():
                result = kernel(*tensors, **extra)
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise NoTwin(f"node {node.label} cannot be computed: {error}") from error
        results = result if isinstance(result, tuple) else (result,)
        for name, tensor, kind in zip(node.proto.output, results, types, strict=False):
            self.define(name, elem_type=kind, constant=tensor)

    def _link(self, inputs: list[Value], outputs: list[Value]) -> Program:
        """Drop the steps that no output needs, collect the constants in use, and mark when values die."""
        slots = {value.slot for value in outputs}
        kept: list[Step] = []
        for step in reversed(self.steps):
            if slots.isdisjoint(step.outputs):
                continue
            step.release = tuple(set(step.inputs + step.outputs) - slots - {0})
            slots.update(step.inputs)
            kept.append(step)
        kept.reverse()
        constants = {slot: tensor for slot, tensor in self.constants.items() if slot in slots}
        take_shortcuts(kept, constants, [value.slot for value in outputs])
        return Program(
            steps=kept,
            size=self.size,
            inputs=[value.slot for value in inputs],
            outputs=[value.slot for value in outputs],
            constants=constants,
            input_types=[value.elem_type for value in inputs],
            output_types=[value.elem_type for value in outputs],
        )


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes that an output depends on; what others would be is of no matter."""
    names = {value.name for value in graph.output}
    found: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if not names.isdisjoint(node.output):
            names.update(node.input, captured(node))
            found.append(node)
    return found[::-1]
