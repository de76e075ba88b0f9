"""Limits of ONNX files: nodes, recursion, endless loops and bytes, checked before anything runs or is allocated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING

from ..errors import ModelError
from ..onnx_walk import tensors
from .bounded import in_bytes
from .printable import in_one_line

if TYPE_CHECKING:
    import onnx

# Quantized transformers have some thousand.
MOST_NODES = 16_384
# Of one value, for a batch of one where the batch is free; activations of classifiers have some MiB.
MOST_BYTES = 2 << 30
_DEEPEST = 32
# More rounds than any classifier loops: exporters write the largest number there is where they know none.
_MOST_ROUNDS = 100_000
_SMALL = 64  # elements: of a shape, or a condition
# Bits of the element types that are packed.
_PACKED = (({"INT2", "UINT2"}, 2), ({"INT4", "UINT4", "FLOAT4E2M1"}, 4), ({"FLOAT6E2M3", "FLOAT6E3M2"}, 6))
_FORWARDS = ("Identity", "Cast")
_TYPED = ("to", "dtype", "output_dtype")

FunctionKey = tuple[str, str, str]


def check_limits(model: onnx.ModelProto, name: str) -> None:
    """Refuse a model that would not end, or would take more than this machine should give to any file.

    Args:
        model: as it was parsed; external data need not be loaded.
        name: of the file, for messages.

    Raises:
        ModelError: names the node or value: it has more than 16,384 nodes, functions written out; subgraphs nested
            deeper than 32; a function that calls itself; an element type that ONNX does not know; a name or an
            attribute that is not in UTF-8; a loop that never ends; or a value of more than 2 GiB.
    """
    try:
        functions = {_key(each): each for each in model.functions}
        called = {key: _looked_over(each.node) for key, each in functions.items()}
        main = _looked_over(model.graph.node)
        _check_count(main, called)
        _check_types(model)
        _check_loops(model)
        _check_sizes(model)
    except _Refused as error:
        raise ModelError(f"{name}: {error}") from None


def check_data(model: onnx.ModelProto, name: str) -> None:
    """Refuse a model with a tensor whose data are not of the size that it says: every reader would fail in its own way.

    Args:
        model: within limits; external data that are not loaded are not looked at.
        name: of the file, for messages.

    Raises:
        ModelError: names the tensor.
    """
    import onnx

    for owner, tensor in tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL and (wrong := _wrong_data(tensor)):
            raise ModelError(f"{name}: tensor {in_one_line(owner)!r}: {wrong}")


def _wrong_data(tensor: onnx.TensorProto) -> str:
    """In what a tensor's data are not what it says; empty where they are."""
    from onnx import TensorProto, helper

    kind, count = tensor.data_type, prod(tensor.dims)
    if kind == TensorProto.UNDEFINED or kind not in TensorProto.DataType.values():
        return f"element type {kind} is none of ONNX"
    if min(tensor.dims, default=0) < 0:
        return f"a dimension below zero, {list(tensor.dims)}"
    if tensor.HasField("segment"):
        return "a part of a tensor, which is not read here"
    packed = next((bits for names, bits in _PACKED if TensorProto.DataType.Name(kind) in names), 0)
    is_raw = tensor.HasField("raw_data") and kind != TensorProto.STRING
    if packed and (is_raw or packed < 6):  # of 6 bits, only raw data are
        wanted = -(-count * packed // 8)
    elif is_raw:
        wanted = count * _bytes(kind)
    else:
        wanted = 2 * count if kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else count
    stored = tensor.raw_data if is_raw else getattr(tensor, helper.tensor_dtype_to_field(kind))
    found, unit = len(stored), "bytes" if is_raw else "values"
    return "" if found == wanted else f"{list(tensor.dims)} takes {wanted} {unit}, and there are {found}"


class _Refused(Exception):
    pass


def _key(function: onnx.FunctionProto) -> FunctionKey:
    return function.domain, function.name, getattr(function, "overload", "")


def _looked_over(nodes: Iterable[onnx.NodeProto]) -> tuple[int, dict[FunctionKey, int]]:
    """Look at every node, subgraphs included; return how many there are, and how often each operator is called."""
    count, calls = 0, dict[FunctionKey, int]()
    for node in _all(nodes):
        count += 1
        if count > MOST_NODES:
            raise _Refused(f"more than {MOST_NODES:,} nodes")
        _check_node(node)
        key = (node.domain, node.op_type, getattr(node, "overload", ""))
        calls[key] = calls.get(key, 0) + 1
    return count, calls


def _all(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Every node, subgraphs included, without recursion: the file decides how deep it goes."""
    pending: list[tuple[Iterable[onnx.NodeProto], int]] = [(nodes, 0)]
    while pending:
        level, depth = pending.pop()
        for node in level:
            yield node
            for entry in node.attribute:
                for graph in [entry.g] if entry.HasField("g") else entry.graphs:
                    if depth >= _DEEPEST:
                        raise _Refused(f"{_named(node)}: subgraphs nested deeper than {_DEEPEST}")
                    pending.append((graph.node, depth + 1))


def _named(node: onnx.NodeProto) -> str:
    name = node.name or next((output for output in node.output if output), "")
    return f"node {name!r} ({node.op_type})"


def _check_node(node: onnx.NodeProto) -> None:
    import onnx

    texts = [node.op_type, node.name, node.domain, *node.input, *node.output, *(each.name for each in node.attribute)]
    if not all(isinstance(text, str) for text in texts):  # protobuf leaves bytes that are none
        raise _Refused(f"a name of node {node.name!r} is not in UTF-8")
    if node.domain not in ("", "ai.onnx"):
        return  # some keep engines in texts
    for each in node.attribute:
        for text in (each.s, *each.strings):
            try:
                text.decode()
            except UnicodeDecodeError:
                raise _Refused(f"{_named(node)}: attribute {each.name!r} is not in UTF-8") from None
        if each.name in _TYPED and each.type == onnx.AttributeProto.INT:
            _check_type(each.i, f"{_named(node)}: attribute {each.name!r}")


def _check_count(main: tuple[int, dict[FunctionKey, int]], called: Mapping[FunctionKey, tuple[int, dict]]) -> None:
    """Count nodes with every function written out, from those that call none upwards."""
    sizes: dict[FunctionKey, int] = {}
    waiting = dict(called)
    while waiting:
        ready = [key for key, (_, calls) in waiting.items() if not any(each in waiting for each in calls)]
        if not ready:
            raise _Refused(f"function {':'.join(filter(None, next(iter(waiting))))!r} calls itself")
        for key in ready:
            sizes[key] = _written_out(waiting.pop(key), sizes)
    if _written_out(main, sizes) > MOST_NODES:
        raise _Refused(f"more than {MOST_NODES:,} nodes, functions written out")


def _written_out(counted: tuple[int, Mapping[FunctionKey, int]], sizes: Mapping[FunctionKey, int]) -> int:
    count, calls = counted
    return count + sum(times * sizes.get(key, 0) for key, times in calls.items())


def _check_types(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if not isinstance(value.name, str):
            raise _Refused(f"the name {value.name!r} is not in UTF-8")
        if value.type.HasField("tensor_type"):
            _check_type(value.type.tensor_type.elem_type, repr(value.name))
    for tensor in model.graph.initializer:
        if not isinstance(tensor.name, str):
            raise _Refused(f"the name {tensor.name!r} is not in UTF-8")
        _check_type(tensor.data_type, f"tensor {tensor.name!r}")


def _check_type(number: int, what: str) -> None:
    import onnx

    if number not in onnx.TensorProto.DataType.values():
        raise _Refused(f"{what}: element type {number} is none of ONNX")


def _check_loops(model: onnx.ModelProto) -> None:
    graphs = [model.graph.node, *(each.node for each in model.functions)]
    every = [node for nodes in graphs for node in _all(nodes)]
    if not any(node.op_type == "Loop" for node in every):
        return
    known = _constants(model, every)
    for node in every:
        if node.op_type != "Loop" or node.domain not in ("", "ai.onnx"):
            continue
        count, condition = (node.input[place] if place < len(node.input) else "" for place in range(2))
        rounds = known.get(count) if count else None
        bounded = bool(count) and (rounds is None or rounds <= _MOST_ROUNDS)
        starts = not condition or known.get(condition) is None or bool(known[condition])
        if starts and not bounded and _never_stops(node, condition, known):
            said = "no limit" if rounds is None else f"{rounds} rounds"
            raise _Refused(f"{_named(node)}: loops forever: {said}, and its condition never becomes false")


def _never_stops(node: onnx.NodeProto, condition: str, known: Mapping[str, float]) -> bool:
    """Whether a loop's body hands on a condition that is true: a constant, or the one that it got."""
    body = next((each.g for each in node.attribute if each.name == "body"), None)
    if body is None or len(body.output) < 1:
        return False
    made = {output: each for each in body.node for output in each.output}
    name = body.output[0].name
    for _ in range(len(made) + 1):  # forwarded in a circle, perhaps
        if name in known:
            return bool(known[name])
        if len(body.input) > 1 and name == body.input[1].name:
            return not condition or bool(known.get(condition, 0))
        if name not in made or made[name].op_type not in _FORWARDS or not made[name].input:
            return False
        name = made[name].input[0]
    return False


def _constants(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> dict[str, float]:
    """Constants of one element, by name."""
    import onnx
    from onnx import numpy_helper

    tensors = {each.name: each for each in model.graph.initializer}
    for node in nodes:
        for each in node.attribute:
            for graph in [each.g] if each.HasField("g") else each.graphs:
                tensors |= {tensor.name: tensor for tensor in graph.initializer}
            if node.op_type == "Constant" and node.output and each.name == "value":
                tensors[node.output[0]] = each.t
    found: dict[str, float] = {}
    for name, tensor in tensors.items():
        if prod(tensor.dims) == 1 and tensor.data_location != onnx.TensorProto.EXTERNAL:
            try:
                found[name] = numpy_helper.to_array(tensor).reshape(-1)[0].item()
            except (ValueError, TypeError, AttributeError, IndexError):  # of no type, or without its data
                continue
    for node in nodes:
        for each in node.attribute:
            if node.op_type == "Constant" and node.output and each.name in ("value_int", "value_float"):
                found[node.output[0]] = each.i if each.name == "value_int" else each.f
    return found


def _check_sizes(model: onnx.ModelProto) -> None:
    """Hold the size of every value against the limit, as far as ONNX's own shape inference knows it."""
    for value in (*model.graph.input, *model.graph.output):
        _check_size(value, f"{value.name!r}")
    for graph in _with_shapes(model):
        makers = {output: node for node in graph.node for output in node.output}
        for value in (*graph.value_info, *graph.output):
            _check_size(value, _named(makers[value.name]) if value.name in makers else repr(value.name))


def _check_size(value: onnx.ValueInfoProto, what: str) -> None:
    tensor = value.type.tensor_type
    shape = [size.dim_value if size.HasField("dim_value") else size.dim_param or "?" for size in tensor.shape.dim]
    count = prod(size for size in shape if isinstance(size, int) and size > 0)
    if count * _bytes(tensor.elem_type) > MOST_BYTES:
        takes = f"[{', '.join(map(str, shape))}] takes {in_bytes(count * _bytes(tensor.elem_type))}"
        raise _Refused(f"{what}: {takes}, where {in_bytes(MOST_BYTES)} are the most")


def _bytes(elem_type: int) -> int:
    from onnx import helper

    try:
        return helper.tensor_dtype_to_np_dtype(elem_type).itemsize
    except (KeyError, TypeError, ValueError):
        return 1


def _with_shapes(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The graphs of a model with the shapes that can be inferred; weights do without their data."""
    import onnx

    bare = onnx.ModelProto(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    bare.graph.name = "g"
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(onnx.ValueInfoProto(name=output.name) for output in model.graph.output)
    given = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            bare.graph.initializer.append(tensor)
        elif tensor.name not in given:
            value = bare.graph.input.add(name=tensor.name)
            value.type.tensor_type.elem_type = tensor.data_type
            for size in tensor.dims:
                value.type.tensor_type.shape.dim.add(dim_value=size)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError):
        return  # the checker, or the runtime, says what is wrong
    yield inferred.graph
    for node in _all(inferred.graph.node):
        for each in node.attribute:
            yield from [each.g] if each.HasField("g") else each.graphs
