"""Lowering: an operator of another domain as the standard ONNX operators that it stands for.

They are compiled in its place, so that quantizers are paired, constants folded and gradients answered as if the file
had held the standard form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor

from ..node import Node, Value
from ..program import Compiler
from ..registry import Kernel, operator

#: The version of ONNX's operators that the rules are written in.
OPSET = 23


class Standard:
    """Standard operators in the place of one node.

    Args:
        compiler: what compiles them.
        node: the node that they stand for, whose name they bear.
    """

    def __init__(self, compiler: Compiler, node: Node) -> None:
        self._compiler = compiler
        self._node = node
        self._count = 0

    def op(self, op_type: str, *inputs: Value | None, opset: int = OPSET, **attributes: Any) -> Value:
        """The first output of an operator; attributes of None are left out."""
        return self.ops(op_type, *inputs, outputs=1, opset=opset, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: Value | None, outputs: int, opset: int = OPSET, **attributes: Any
    ) -> list[Value]:
        """All outputs of an operator."""
        self._count += 1
        names = [f"{self._node.name}/{op_type}_{self._count}_{place}" for place in range(outputs)]
        proto = helper.make_node(op_type, [], names, name=self._node.name)
        for name, value in attributes.items():
            if value is not None:
                proto.attribute.append(
                    value if isinstance(value, onnx.AttributeProto) else helper.make_attribute(name, value)
                )
        self._compiler.place(Node(proto, inputs, opset))
        return [self._compiler.lookup(name) for name in names]

    def call(self, function: Callable[[Tensor], Tensor], value: Value) -> Value:
        """What a function makes of a value, where no operator does."""
        output = self._compiler.define("", elem_type=value.elem_type, live=value.live)
        self._compiler.add_step(self._node, function, (value.slot,), [output], moded=False)
        return output

    def constant(self, tensor: Tensor, elem_type: int = TensorProto.FLOAT) -> Value:
        """A tensor that depends on no input."""
        return self._compiler.define("", elem_type=elem_type, constant=tensor)

    def number(self, value: float) -> Value:
        """A float32 number."""
        return self.constant(torch.tensor(value))


#: Says what a node stands for: its outputs, as far as they are computed.
Rule = Callable[[Node, Standard], Value | Sequence[Value]]


def lowered(*op_types: str, domain: str, since: int = 1) -> Callable[[Rule], Rule]:
    """Register a rule for one or several operator types of a domain."""

    def register(rule: Rule) -> Rule:
        def compiles(compiler: Compiler, node: Node) -> None:
            found = rule(node, Standard(compiler, node))
            values = [found] if isinstance(found, Value) else list(found)
            for place, name in enumerate(node.proto.output):
                if not name:
                    continue
                node.require(place < len(values), f"only {len(values)} of its outputs are implemented")
                compiler.scope[name] = values[place]

        operator(*op_types, since=since, domain=domain, compiles=compiles)(_never_built)
        return rule

    return register


def _never_built(node: Node) -> Kernel:
    raise node.unsupported("it stands for other operators")
