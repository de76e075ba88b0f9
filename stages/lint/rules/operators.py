"""Operators that ONNX or the target does not have, and tensors that nothing makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ....core.onnx_walk import nodes
from ....targets.base import Scheme
from ..graph import ONNX_DOMAIN, label, type_name
from ..reading import Reading
from ..rule import rule

if TYPE_CHECKING:
    import onnx

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


@rule(
    "unknown-operator", "operators and attributes that ONNX has not at the model's opset", "error", quantized_only=False
)
def unknown_operator(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Compare every node with the operator's schema; an opset newer than the installed onnx is not judged."""
    for node, schema in _own(reading):
        here = f"{node.op_type} at opset {reading.graph.opset}"
        if schema is None:
            yield label(node), f"ONNX has no {here}; export for an opset that has it"
        elif schema.deprecated:
            yield label(node), f"ONNX has dropped {here}; export for an older opset, or with what replaced it"
        elif not schema.min_input <= len(node.input) <= schema.max_input or not node.output:
            yield label(node), f"{here} has other numbers of inputs or outputs than ONNX says; export the model again"
        else:
            for name in sorted({entry.name for entry in node.attribute} - set(schema.attributes)):
                yield label(node), f"ONNX has no attribute {name!r} for {here}; export for an opset that has it"


@rule("quantizer-opset", "integer and scale types that Q and DQ have not at the model's opset", "error")
def quantizer_opset(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Four-bit types are there from opset 21, float16 scales from 19 (ONNX, QuantizeLinear)."""
    schemas = {id(node): schema for node, schema in _own(reading)}
    for quantizer in reading.quantizers:
        schema = schemas.get(id(quantizer.node))
        if schema is None:
            continue
        kind = schema.outputs[0] if quantizer.kind == "Q" else schema.inputs[0]
        scale = type_name(reading.graph.elem_type(quantizer.node.input[1]))
        for what, name, allowed in (
            ("type", quantizer.type_name, kind.types),
            ("scale", scale, schema.inputs[1].types),
        ):
            if name and f"tensor({name})" not in allowed:
                yield (
                    quantizer.name,
                    f"{quantizer.node.op_type} takes no {what} {name} at opset {reading.graph.opset}; "
                    "export for an opset that has it",
                )


@rule("refused-operator", "operators that the target does not have", "error", quantized_only=False)
def refused_operator(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Look for what the scheme lists."""
    for node in nodes(reading.graph.model):
        if node.domain in ONNX_DOMAIN and node.op_type in scheme.refused_operators:
            yield (
                label(node),
                f"the target has no {node.op_type}; write it with other operators, or keep it off the engine",
            )


@rule("foreign-operator", "operators of other domains than ONNX's", quantized_only=False)
def foreign_operator(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Look for what only a runtime that knows its domain can run; Microsoft's Q and DQ are read everywhere (tried)."""
    for node in nodes(reading.graph.model):
        known = node.domain in ONNX_DOMAIN or node.domain in scheme.domains
        if not known and node.op_type not in _QUANTIZERS:
            yield (
                label(node),
                f"{node.op_type} is of domain {node.domain}, which only a runtime that knows it can run; "
                "export the model without that runtime's optimisations",
            )


@rule("undefined-tensor", "tensors that are used and made nowhere before", "error", quantized_only=False)
def undefined_tensor(reading: Reading, scheme: Scheme) -> Iterator[tuple[str, str]]:
    """Walk the main graph in the file's order, which ONNX wants to be the order of computation."""
    graph = reading.graph
    sparse = {tensor.values.name for tensor in graph.model.graph.sparse_initializer}
    made = graph.inputs | set(graph.constants) | sparse
    for node in graph.nodes:
        for name in node.input:
            if name and name not in made:
                yield label(node), f"reads {name!r}, which no node before it computes and the file does not store"
        made |= set(node.output)
    for name in sorted(graph.outputs - made):
        yield name, "is an output that no node computes"


def _own(reading: Reading) -> Iterator[tuple[onnx.NodeProto, onnx.defs.OpSchema | None]]:
    """The nodes of ONNX's own domain, with the operator's schema at the model's opset."""
    import onnx

    opset = reading.graph.opset
    if not 0 < opset <= onnx.defs.onnx_opset_version():
        return
    for node in nodes(reading.graph.model):
        if node.domain in ONNX_DOMAIN:
            try:
                yield node, onnx.defs.get_schema(node.op_type, opset)
            except onnx.defs.SchemaError:
                yield node, None
