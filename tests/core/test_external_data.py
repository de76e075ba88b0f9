"""External data are found without onnx, wherever a tensor may stand."""

from __future__ import annotations

import onnx
import pytest
from edgeproof.core.external_data import PARTS, locations
from edgeproof.core.wire import field
from google.protobuf.descriptor import Descriptor
from onnx import TensorProto, helper


def stored(name: str) -> TensorProto:
    """A tensor whose data are in the file of its name."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=name)
    return tensor


def test_every_place_of_a_tensor_is_known():
    """By onnx's own description of its format, whatever its version."""
    messages: dict[str, Descriptor] = {}
    pending = [onnx.ModelProto.DESCRIPTOR]
    while pending:
        message = pending.pop()
        messages[message.name] = message
        pending += [f.message_type for f in message.fields if f.message_type and f.message_type.name not in messages]
    holding = {"TensorProto"}
    while more := {
        name
        for name, message in messages.items()
        if name not in holding and any(f.message_type and f.message_type.name in holding for f in message.fields)
    }:
        holding |= more
    places = {
        name: {
            f.number: f.message_type.name
            for f in messages[name].fields
            if f.message_type and f.message_type.name in holding
        }
        for name in holding
    }
    data = TensorProto.DESCRIPTOR.fields_by_name["external_data"]
    places["TensorProto"][data.number] = data.message_type.name
    assert places == PARTS


def test_locations_in_subgraphs_attributes_functions_and_sparse_tensors():
    inner = helper.make_graph([], "inner", [], [], [stored("subgraph")])
    constant = helper.make_node("Constant", [], ["c"], value=stored("attribute"))
    branch = helper.make_node(
        "If", ["x"], ["y"], then_branch=inner, else_branch=helper.make_graph([constant], "", [], [])
    )
    graph = helper.make_graph([branch], "graph", [], [], [stored("graph")])
    graph.sparse_initializer.add().values.CopyFrom(stored("sparse"))
    body = helper.make_node("Constant", [], ["c"], value=stored("function"))
    function = helper.make_function("own", "F", [], ["c"], [body], [helper.make_opsetid("", 18)])
    model = helper.make_model(graph, functions=[function])
    assert locations(model.SerializeToString()) == {"graph", "subgraph", "attribute", "function", "sparse"}


def test_a_location_given_twice_counts_twice():
    """Readers differ in which one they take."""
    tensor = stored("first")
    tensor.external_data.add(key="location", value="second")
    model = helper.make_model(helper.make_graph([], "graph", [], [], [tensor])).SerializeToString()
    split = field(13, field(1, b"key") + field(2, b"third") + field(1, b"location"))
    assert locations(model + field(7, field(5, split))) == {"first", "second", "third"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        field(7, b"graph")[:-1],  # ends too early
        b"\x80",  # a number without its end
        b"\xba\x80\x80\x80\x10\x00",  # a field that parsers of 32-bit tags take for number 7, the graph
        b"\x3b\x3c",  # a group
        b"\x00\x00",  # field 0
        field(7, field(5, field(13, field(1, b"location") + field(2, b"\xff")))),  # a name that is no text
    ],
)
def test_what_is_no_model(content: bytes):
    with pytest.raises(ValueError, match=r"."):
        locations(content)
