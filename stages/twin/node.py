"""Node view: what an operator's builder sees of its node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import onnx
from onnx import AttributeProto, TensorProto
from torch import Tensor

from .errors import UnsupportedOperator
from .types import DTYPES, from_proto, ints, type_name

T = TypeVar("T")


@dataclass
class Value:
    """A named value of the graph while it is being compiled.

    Attributes:
        slot: its place in the list of values of a running program.
        elem_type: ONNX element type, 0 where unknown.
        constant: its value where it depends on no input.
        live: whether it depends on a float input in a differentiable way. An integer value that is live travels as
            a float tensor of whole numbers, so that its gradient passes.
        positive: whether it is known to have no element below zero; see `signs.never_negative`.
    """

    slot: int
    elem_type: int = 0
    constant: Tensor | None = None
    live: bool = False
    positive: bool = False


class Node:
    """One node: attributes, constant inputs, and element types, looked up once at construction."""

    def __init__(self, proto: onnx.NodeProto, inputs: Sequence[Value | None], opset: int) -> None:
        self.proto = proto
        self.op_type: str = proto.op_type
        self.domain: str = "" if proto.domain == "ai.onnx" else proto.domain
        self.opset = opset
        self.inputs = tuple(inputs)
        self._attributes: dict[str, AttributeProto] = {a.name: a for a in proto.attribute}
        self._unread = set(self._attributes)

    @property
    def name(self) -> str:
        """The node's name, or its first output where it has none."""
        return self.proto.name or next((name for name in self.proto.output if name), "(unnamed)")

    @property
    def label(self) -> str:
        """The node as error messages name it."""
        return f"'{self.name}' ({self.op_type})"

    @property
    def outputs(self) -> int:
        """Number of outputs the node lists, left-out ones included."""
        return len(self.proto.output)

    def unsupported(self, reason: str) -> UnsupportedOperator:
        """The error that refuses this node."""
        return UnsupportedOperator(
            node=self.name, op_type=self.op_type, domain=self.domain, opset=self.opset, reason=reason
        )

    # -- inputs -------------------------------------------------------------------------------------------------

    def input(self, index: int) -> Value | None:
        """Input `index` where it is given."""
        return self.inputs[index] if index < len(self.inputs) else None

    def needed(self, index: int) -> Value:
        """Input `index`, which must be given."""
        value = self.input(index)
        if value is None:
            raise self.unsupported(f"input {index} is missing")
        return value

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return self.input(index) is not None

    def has_output(self, index: int) -> bool:
        """Whether output `index` is asked for."""
        return index < len(self.proto.output) and bool(self.proto.output[index])

    def constant(self, index: int) -> Tensor | None:
        """The value of input `index` where it is given and depends on no input of the graph."""
        value = self.input(index)
        return None if value is None else value.constant

    def elem_type(self, index: int) -> int:
        """ONNX element type of input `index`; 0 where it is not given or unknown."""
        value = self.input(index)
        return 0 if value is None else value.elem_type

    def live(self, index: int) -> bool:
        """Whether input `index` depends on a float input of the graph in a differentiable way."""
        value = self.input(index)
        return value is not None and value.live

    def ints_input(self, index: int) -> Callable[[Tensor | None], list[int] | None]:
        """A reader for an optional integer input (axes, shape, pads): read once where it is constant."""
        known = self.constant(index)
        if known is not None:
            fixed = ints(known)
            return lambda _: fixed
        return lambda x: None if x is None else ints(x)

    # -- attributes ---------------------------------------------------------------------------------------------

    def _read(self, name: str, kind: int, value: Callable[[AttributeProto], Any], default: T) -> Any | T:
        attribute = self._attributes.get(name)
        if attribute is None:
            return default
        self._unread.discard(name)
        if attribute.type != kind:
            raise self.unsupported(f"attribute '{name}' has the wrong type")
        return value(attribute)

    def int(self, name: str, default: T) -> int | T:
        """Integer attribute."""
        return self._read(name, AttributeProto.INT, lambda a: int(a.i), default)

    def float(self, name: str, default: T) -> float | T:
        """Float attribute."""
        return self._read(name, AttributeProto.FLOAT, lambda a: float(a.f), default)

    def ints(self, name: str, default: T = None) -> list[int] | T:
        """Integer list attribute."""
        return self._read(name, AttributeProto.INTS, lambda a: [int(i) for i in a.ints], default)

    def floats(self, name: str, default: T = None) -> list[float] | T:
        """Float list attribute."""
        return self._read(name, AttributeProto.FLOATS, lambda a: [float(f) for f in a.floats], default)

    def string(self, name: str, default: str, *, among: Sequence[str] = ()) -> str:
        """String attribute; a value not in `among` (where given) refuses the node."""
        text = self._read(name, AttributeProto.STRING, lambda a: a.s.decode(), default)
        if among and text not in among:
            raise self.unsupported(f"{name}='{text}' is not implemented (known: {', '.join(among)})")
        return text

    def strings(self, name: str, default: T = None) -> list[str] | T:
        """String list attribute."""
        return self._read(name, AttributeProto.STRINGS, lambda a: [s.decode() for s in a.strings], default)

    def tensor(self, name: str) -> Tensor | None:
        """Tensor attribute."""
        return self._read(name, AttributeProto.TENSOR, self._tensor, None)

    def graph(self, name: str) -> onnx.GraphProto:
        """Graph attribute, which must be there."""
        found = self._read(name, AttributeProto.GRAPH, lambda a: a.g, None)
        if found is None:
            raise self.unsupported(f"attribute '{name}' is missing")
        return found

    def others(self, *kept: str) -> dict[str, Any]:
        """Attributes that nobody asked for, but for those in `kept`: for the operator that the node stands for."""
        found = {name: self._attributes[name] for name in self.unread() if name not in kept}
        self.ignore(*found)
        return found

    def ignore(self, *names: str) -> None:
        """Attributes that change nothing in inference."""
        self._unread.difference_update(names)

    def require(self, condition: bool, reason: str) -> None:
        """Refuse the node unless `condition` holds."""
        if not condition:
            raise self.unsupported(reason)

    def unread(self) -> list[str]:
        """Attributes that nobody asked for: what the builder does not implement."""
        return sorted(self._unread)

    def dtype(self, elem_type: int) -> Any:
        """The torch type that carries `elem_type`; refuses the node where there is none."""
        if elem_type not in DTYPES:
            raise self.unsupported(f"element type {type_name(elem_type)} is not implemented")
        return DTYPES[elem_type]

    def _tensor(self, attribute: AttributeProto) -> Tensor:
        try:
            return from_proto(attribute.t)
        except TypeError as error:
            raise self.unsupported(f"{error} is not implemented") from None

    def declared_type(self) -> int:
        """The element type that an attribute of the node fixes for its output; 0 where none does."""
        for name in ("to", "dtype", "output_dtype"):
            attribute = self._attributes.get(name)
            if attribute is not None and attribute.type == AttributeProto.INT and attribute.i:
                return int(attribute.i)
        value = self._attributes.get("value")
        if value is not None and value.type == AttributeProto.TENSOR:
            return value.t.data_type
        by_name = {"value_int": TensorProto.INT64, "value_ints": TensorProto.INT64}
        for name in ("value_int", "value_ints", "value_float", "value_floats"):
            if name in self._attributes:
                return by_name.get(name, TensorProto.FLOAT)
        return 0
