"""ONNX files that would not end or take all there is: refused by the node's name; what is legal is read."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx
import pytest
from edgeproof.core.errors import ModelError
from edgeproof.core.reading.onnx_limits import MOST_NODES, check_data, check_limits
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def model(
    *nodes: onnx.NodeProto,
    stored: tuple[onnx.TensorProto, ...] = (),
    shape: tuple[int | str, ...] = ("N", 4),
    **more: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        list(stored),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("d", 1)], **more)


def whole(name: str, *values: int) -> onnx.TensorProto:
    return helper.make_tensor(name, INT64, [len(values)], values)


def loop(rounds: int | None, *, starts: bool | None = True, goes_on: str = "Identity") -> onnx.ModelProto:
    """A loop whose condition is handed on, or computed by another operator."""
    body = helper.make_graph(
        [
            helper.make_node(goes_on, ["c"] if goes_on == "Identity" else ["v", "v"], ["d"]),
            helper.make_node("Identity", ["v"], ["w"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("c", BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, None),
        ],
        [helper.make_tensor_value_info("d", BOOL, []), helper.make_tensor_value_info("w", FLOAT, None)],
    )
    stored = [helper.make_tensor("always", BOOL, [], [bool(starts)])]
    if rounds is not None:
        stored.append(helper.make_tensor("rounds", INT64, [], [rounds]))
    inputs = ["" if rounds is None else "rounds", "" if starts is None else "always", "x"]
    return model(helper.make_node("Loop", inputs, ["y"], name="round", body=body), stored=tuple(stored))


@pytest.mark.parametrize("found", [loop(None), loop(2**62), loop(None, starts=None)])
def test_a_loop_that_never_ends(found: onnx.ModelProto):
    with pytest.raises(ModelError, match=r"^f: node 'round' \(Loop\): loops forever"):
        check_limits(found, "f")


@pytest.mark.parametrize("found", [loop(3), loop(None, starts=False), loop(2**62, goes_on="Greater")])
def test_loops_that_may_end(found: onnx.ModelProto):
    check_limits(found, "f")


@pytest.mark.parametrize(
    ("nodes", "stored"),
    [
        ([helper.make_node("Tile", ["x", "s"], ["y"], name="big")], whole("s", 1, 2**40)),
        ([helper.make_node("Expand", ["x", "s"], ["y"], name="big")], whole("s", 2**40, 4)),
        ([helper.make_node("ConstantOfShape", ["s"], ["y"], name="big")], whole("s", 2**20, 2**20)),
        (
            [
                helper.make_node("Concat", ["s", "s"], ["t"], axis=0),
                helper.make_node("ConstantOfShape", ["t"], ["y"], name="big"),
            ],
            whole("s", 2**10, 2**10),
        ),
        ([helper.make_node("Pad", ["x", "s"], ["y"], name="big")], whole("s", 0, 0, 0, 2**40)),
    ],
)
def test_values_of_terabytes(nodes: list[onnx.NodeProto], stored: onnx.TensorProto):
    with pytest.raises(ModelError, match=r"^f: node 'big' \(\w+\): \[.*\] takes .* TiB, where 2.0 GiB are the most"):
        check_limits(model(*nodes, stored=(stored,)), "f")


def test_a_batch_of_terabytes():
    with pytest.raises(ModelError, match=r"'x': .* takes 16.0 TiB"):
        check_limits(model(helper.make_node("Relu", ["x"], ["y"]), shape=(2**40, 4)), "f")


def relus(count: int) -> list[onnx.NodeProto]:
    return [helper.make_node("Relu", [f"v{n}"], [f"v{n + 1}"]) for n in range(count)]


def functions(depth: int, last: str, domain: str = "") -> list[onnx.FunctionProto]:
    """Each calls the next one twice."""
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]
    found: list[onnx.FunctionProto] = []
    for level in range(depth):
        to, where = (f"F{level + 1}", "d") if level + 1 < depth else (last, domain)
        calls = [helper.make_node(to, ["a"], ["b"], domain=where), helper.make_node(to, ["b"], ["c"], domain=where)]
        found.append(helper.make_function("d", f"F{level}", ["a"], ["c"], calls, opset))
    return found


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda: model(*relus(MOST_NODES + 1)), "more than 16,384 nodes"),
        (
            lambda: model(helper.make_node("F0", ["x"], ["y"], domain="d"), functions=functions(20, "Relu")),
            "written out",
        ),
        (
            lambda: model(helper.make_node("F0", ["x"], ["y"], domain="d"), functions=functions(3, "F0", "d")),
            "calls itself",
        ),
    ],
)
def test_nodes_without_end(found: Callable[[], onnx.ModelProto], words: str):
    with pytest.raises(ModelError, match=words):
        check_limits(found(), "f")
    check_limits(model(*relus(1000), functions=functions(5, "Relu")), "f")


def test_what_onnx_does_not_know():
    relu = helper.make_node("Relu", ["x"], ["y"], name="r")
    relu.attribute.append(helper.make_attribute("note", b"\xfa\xff"))
    with pytest.raises(ModelError, match=r"node 'r' \(Relu\): attribute 'note' is not in UTF-8"):
        check_limits(model(relu), "f")
    with pytest.raises(ModelError, match=r"node 'y' \(Cast\): attribute 'to': element type 99 is none of ONNX"):
        check_limits(model(helper.make_node("Cast", ["x"], ["y"], to=99)), "f")
    odd = model(helper.make_node("Relu", ["x"], ["y"]))
    odd.graph.input[0].type.tensor_type.elem_type = 29
    with pytest.raises(ModelError, match="'x': element type 29 is none of ONNX"):
        check_limits(odd, "f")
    # Engines inside a graph are bytes, in a domain of their own.
    check_limits(
        model(helper.make_node("EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context=b"\xfa")), "f"
    )


KINDS = sorted({*TensorProto.DataType.keys()} - {"UNDEFINED", "STRING"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [[], [5], [2, 3], [0, 3]], ids=str)
def test_tensors_of_every_type_are_of_the_size_that_they_say(kind: str, shape: list[int]):
    """As ONNX's own reader takes them, which fails where data are missing."""
    number = TensorProto.DataType.Value(kind)
    count = math.prod(shape)
    typed = helper.make_tensor("t", number, shape, [0] * count)
    raw = numpy_helper.from_array(numpy_helper.to_array(typed), "t")
    for tensor in (typed, raw):
        check_data(model(helper.make_node("Identity", ["t"], ["y"]), stored=(tensor,)), "f")
    longer = onnx.TensorProto()
    longer.CopyFrom(raw)
    longer.raw_data += b"\0"
    other_dims = onnx.TensorProto()
    other_dims.CopyFrom(typed)
    other_dims.dims[:] = [7, *shape]
    for tensor in (longer, *([other_dims] if count else [])):
        for found in (
            model(stored=(tensor,)),
            model(helper.make_node("Constant", [], ["y"], value=tensor)),
        ):
            with pytest.raises(
                ModelError, match=r"^f: tensor 't': \[.*\] takes \d+ (bytes|values), and there are \d+$"
            ):
                check_data(found, "f")
    if count:
        with pytest.raises(ValueError, match="shape"):
            numpy_helper.to_array(other_dims)


def test_tensors_that_say_nothing_of_the_kind():
    good = helper.make_tensor("t", FLOAT, [2], [0, 0])
    for change, words in (
        (lambda tensor: tensor.ClearField("data_type"), "element type 0 is none of ONNX"),
        (lambda tensor: tensor.dims.__setitem__(0, -1), "a dimension below zero"),
        (lambda tensor: tensor.segment.SetInParent(), "a part of a tensor"),
    ):
        wrong = onnx.TensorProto()
        wrong.CopyFrom(good)
        change(wrong)
        with pytest.raises(ModelError, match=f"^f: tensor 't': {words}"):
            check_data(model(stored=(wrong,)), "f")
    nameless = helper.make_node("Constant", [], [], value=helper.make_tensor("", FLOAT, [2], [0, 0]))
    check_data(model(nameless), "f")
