"""Operator table of the twin. A new operator is one decorated function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .node import Node

#: The newest ai.onnx opset whose operator definitions were read for this table.
LATEST_OPSET = 28

MICROSOFT = "com.microsoft"
#: Of operators in a layout that fits one processor.
NCHWC = "com.microsoft.nchwc"

#: What an operator's builder returns: tensors in (None for an input left out), a tensor or a tuple of them out.
Kernel = Callable[..., Any]
Builder = Callable[["Node"], Kernel]


@dataclass(frozen=True)
class Operator:
    """One operator: how to build its kernel, and for which opsets that is right.

    Attributes:
        since: lowest opset of the domain claimed.
        until: highest opset of the domain claimed.
        differentiable: whether gradients pass; a shape or an arg-max cuts them.
        moded: whether the kernel takes the twin's backward mode as the keyword ``backward``.
        compiles: of an operator that holds graphs or stands for others, compiles a node into a compiler's program, in
            place of ``build``.
    """

    build: Builder
    since: int
    until: int
    differentiable: bool
    moded: bool
    compiles: Callable[[Any, Node], None] | None = None


_operators: dict[tuple[str, str], Operator] = {}


def operator(
    *op_types: str,
    since: int,
    until: int = LATEST_OPSET,
    domain: str = "",
    differentiable: bool = True,
    moded: bool = False,
    compiles: Callable[[Any, Node], None] | None = None,
) -> Callable[[Builder], Builder]:
    """Register a builder for one or several operator types.

    The builder reads the node's attributes once and returns the kernel that runs at every call. An attribute it
    does not read is an attribute the twin does not implement: the node is then refused.
    """

    def register(build: Builder) -> Builder:
        for op_type in op_types:
            key = (domain, op_type)
            assert key not in _operators, f"{op_type} is registered twice"
            _operators[key] = Operator(build, since, until, differentiable, moded, compiles)
        return build

    return register


def find(domain: str, op_type: str) -> Operator | None:
    """The operator, or None where it is not known."""
    return _operators.get((domain, op_type))


def supported_operators() -> dict[str, tuple[int, int]]:
    """Operator type → (lowest, highest opset claimed), sorted by name.

    Operators of another domain than ai.onnx are written ``domain::Operator`` and count that domain's opsets.
    """
    return {
        f"{domain}::{op_type}" if domain else op_type: (found.since, found.until)
        for (domain, op_type), found in sorted(_operators.items())
    }
