"""Learnable parameters of a quantized ONNX graph, and the graph with all of them as inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ...core.errors import UsageError
from ..twin.types import RANGES

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Inputs of these operators, by position, that hold weights and biases.
_WEIGHT_INPUTS = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1)}
# A quantizer behind these has the values, and so the scale, of the quantizer before them.
_PASSING = {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity"}


@dataclass(frozen=True)
class Grid:
    """The grid of a quantizer.

    Attributes:
        scale: name of its scale.
        zero_point: its zero point, of the quantized type; shaped like the scale.
        elem_type: ONNX element type of the quantized values.
        axis: axis of a scale per channel or block.
        block: elements that share a scale along the axis; 0 where they all do.
    """

    scale: str
    zero_point: np.ndarray
    elem_type: int
    axis: int
    block: int


@dataclass(frozen=True)
class Weight:
    """A weight or bias that can be learnt.

    Attributes:
        name: of the initialiser.
        value: its value as float32; what the stored integers stand for, where integers are stored.
        grid: of its quantizer; None for a float constant.
        stored: whether the file holds integers.
    """

    name: str
    value: np.ndarray
    grid: Grid | None
    stored: bool


@dataclass(frozen=True)
class Bias:
    """An int32 bias: its scale is the product of an activation's and a weight's, which runtimes take for granted.

    Attributes:
        name: of the initialiser.
        value: what its integers stand for.
        scale: name of its own scale.
        factors: names of the two scales whose product that is.
    """

    name: str
    value: np.ndarray
    scale: str
    factors: tuple[str, str]


@dataclass
class Learnable:
    """A quantized graph taken apart.

    Attributes:
        graph: the graph with `weights`, `biases` and `scales` as inputs behind the image, in that order.
        weights: weights and float biases.
        biases: int32 biases.
        scales: scales by name: of weights, and of activations.
        features: values of one sample that share an activation's scale; of a weight, values that share one.
        levels: the largest magnitude on a scale's grid.
        follows: scales that were another one's copy, and whose.
        fixed: scales of the images' own quantizer. Learnt, it grows until what an attack adds is rounded away (digits:
            from 1/255 to 1/4): a graph that is robust by seeing less, and no camera's grid any more.
    """

    graph: onnx.ModelProto
    weights: list[Weight] = field(default_factory=list)
    biases: list[Bias] = field(default_factory=list)
    scales: dict[str, np.ndarray] = field(default_factory=dict)
    features: dict[str, int] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    follows: dict[str, str] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)


def take_apart(model: onnx.ModelProto, where: str = "the model") -> Learnable:
    """Find what can be learnt in a QDQ graph, from whatever exporter.

    Weights: what enters a Conv, ConvTranspose, Gemm or MatMul, as integers behind a DequantizeLinear, as floats
    behind a pair of QuantizeLinear and DequantizeLinear, or as floats. Zero points stay.

    Args:
        model: the graph; external data loaded.
        where: the file, for messages.

    Raises:
        UsageError: no quantizer is in the graph, or nothing that could be learnt, or a scale or a weight is no number.
    """
    taker = _Taker(model)
    found = taker.take()
    if not found.scales:
        raise UsageError(f"{where}: holds no QuantizeLinear and DequantizeLinear pairs; quantize it first")
    if not found.weights:
        raise UsageError(f"{where}: holds no weights that could be learnt")
    for name, scale in found.scales.items():
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise UsageError(f"{where}: the scale {name!r} is not a positive number everywhere")
    for constant in (*found.weights, *found.biases):
        if not np.isfinite(constant.value).all():
            raise UsageError(f"{where}: the constant {constant.name!r} holds numbers that are not finite")
    return found


class _Taker:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        self._graph = self._model.graph
        _constants_to_initializers(self._graph)
        self._values = {tensor.name: tensor for tensor in self._graph.initializer}
        self._producers = {name: node for node in self._graph.node for name in node.output}
        self._shapes = _shapes(self._model)
        self._images = {entry.name for entry in self._graph.input} - self._values.keys()
        self._found = Learnable(self._model)

    def take(self) -> Learnable:
        self._tie_scales()
        names = list(dict.fromkeys(self._weight_inputs()))
        for name in names:
            self._weight(name)
        for node in self._graph.node:
            if node.op_type in _WEIGHT_INPUTS:
                self._bias(node)
        self._activations()
        self._expose()
        return self._found

    def _tie_scales(self) -> None:
        """Let a pair share one scale, and what lies behind an operator that only passes values on."""
        for node in self._graph.node:
            if node.op_type == _DEQUANTIZE:
                before = self._producers.get(node.input[0])
                if before is not None and before.op_type == _QUANTIZE:
                    self._follow(node, before.input[1])
            elif node.op_type == _QUANTIZE and (source := self._passed_on(node.input[0])) is not None:
                self._follow(node, source)

    def _passed_on(self, name: str) -> str | None:
        """The scale of the quantizer that a value comes from unchanged."""
        node = self._producers.get(name)
        while node is not None and node.op_type in _PASSING:
            node = self._producers.get(node.input[0])
        return node.input[1] if node is not None and node.op_type == _DEQUANTIZE else None

    def _follow(self, node: NodeProto, scale: str) -> None:
        own = node.input[1]
        if own == scale or own not in self._values or scale not in self._values:
            return
        if np.array_equal(self._array(own), self._array(scale)):
            self._found.follows[own] = scale
            node.input[1] = scale

    def _weight_inputs(self) -> Iterator[str]:
        for node in self._graph.node:
            for place in _WEIGHT_INPUTS.get(node.op_type, ()):
                if place < len(node.input):
                    yield node.input[place]
            if node.op_type == "Add":  # a bias on its own, behind the product
                made = [self._producers.get(name) for name in node.input]
                if any(other is not None and other.op_type in _WEIGHT_INPUTS for other in made):
                    yield from node.input

    def _weight(self, name: str) -> None:
        """Take the weight that a value is, or comes from."""
        node = self._producers.get(name)
        while node is not None and node.op_type in ("Transpose", "Reshape", "Identity", "Cast"):
            name = node.input[0]
            node = self._producers.get(name)
        if node is None:
            if name in self._values and self._is_float(name):
                self._found.weights.append(Weight(name, self._array(name), None, stored=False))
            return
        if node.op_type != _DEQUANTIZE or node.input[1] not in self._values:
            return
        source = node.input[0]
        before = self._producers.get(source)
        if source in self._values and self._values[source].data_type in RANGES:
            if self._values[source].data_type != TensorProto.INT32:
                self._stored_weight(node)
        elif before is not None and before.op_type == _QUANTIZE and before.input[0] in self._values:
            grid = self._grid(before, self._quantized_type(before))
            self._found.weights.append(Weight(before.input[0], self._array(before.input[0]), grid, stored=False))
            self._note(grid, self._array(before.input[0]).size)

    def _stored_weight(self, node: NodeProto) -> None:
        name = node.input[0]
        grid = self._grid(node, self._values[name].data_type)
        integers = self._array(name)
        value = _dequantize(integers, self._array(grid.scale), grid)
        self._found.weights.append(Weight(name, value, grid, stored=True))
        self._note(grid, value.size)
        # Master weights are floats: a quantizer goes between them and the DequantizeLinear that is there.
        zero_point = f"{name}/zero_point"
        self._graph.initializer.append(_zero_point(zero_point, grid))
        for reader in [n for n in self._graph.node if n.op_type == _DEQUANTIZE and n.input[0] == name]:
            attributes = {a.name: helper.get_attribute_value(a) for a in reader.attribute if a.name in _LAYOUT}
            quantized = f"{name}/quantized/{reader.output[0]}"
            quantizer = helper.make_node(
                _QUANTIZE,
                [name, reader.input[1], zero_point],
                [quantized],
                name=f"{quantized}/node",
                domain=reader.domain,
                **attributes,
            )
            self._graph.node.insert(list(self._graph.node).index(reader), quantizer)
            del reader.input[:]
            reader.input.extend([quantized, grid.scale, zero_point])

    def _bias(self, node: NodeProto) -> None:
        if len(node.input) < 3:
            return
        holder = self._producers.get(node.input[2])
        if holder is None or holder.op_type != _DEQUANTIZE:
            return
        name, scale = holder.input[0], holder.input[1]
        if name not in self._values or self._values[name].data_type != TensorProto.INT32 or scale not in self._values:
            return
        factors = [self._scale_of(node.input[place]) for place in (0, 1)]
        if None in factors:
            return
        product = self._array(cast(str, factors[0])) * self._array(cast(str, factors[1])).reshape(-1)
        own = self._array(scale)
        if own.shape not in (product.shape, ()) or not np.allclose(own, product, rtol=1e-3):
            return
        value = self._array(name).astype(np.float64) * own
        self._found.biases.append(
            Bias(name, value.astype(np.float32), scale, (cast(str, factors[0]), cast(str, factors[1])))
        )
        for reader in self._graph.node:
            for place, given in enumerate(reader.input):
                if given == holder.output[0]:
                    reader.input[place] = name
        self._graph.node.remove(holder)

    def _scale_of(self, name: str) -> str | None:
        node = self._producers.get(name)
        found = node.input[1] if node is not None and node.op_type == _DEQUANTIZE else self._passed_on(name)
        return found if found in self._values else None

    def _activations(self) -> None:
        for node in self._graph.node:
            if node.op_type != _QUANTIZE or node.input[1] in self._found.scales or node.input[1] not in self._values:
                continue
            grid = self._grid(node, self._quantized_type(node))
            self._note(grid, self._shapes.get(node.input[0], 1))
            if node.input[0] in self._images:
                self._found.fixed.add(grid.scale)

    def _note(self, grid: Grid, values: int) -> None:
        scale = self._array(grid.scale)
        low, high = RANGES[grid.elem_type]
        self._found.scales[grid.scale] = scale
        self._found.features[grid.scale] = max(values // scale.size, 1)
        zero = int(grid.zero_point.reshape(-1)[0])
        self._found.levels[grid.scale] = max(high - zero, zero - low)

    def _grid(self, node: NodeProto, elem_type: int) -> Grid:
        scale = self._array(node.input[1])
        given = node.input[2] if len(node.input) > 2 else ""
        zero_point = self._array(given) if given in self._values else np.zeros(scale.shape, np.int32)
        layout = {a.name: a.i for a in node.attribute if a.name in _LAYOUT}
        return Grid(node.input[1], zero_point, elem_type, layout.get("axis", 1), layout.get("block_size", 0))

    def _quantized_type(self, node: NodeProto) -> int:
        if len(node.input) > 2 and node.input[2] in self._values:
            return self._values[node.input[2]].data_type
        return next((a.i for a in node.attribute if a.name == "output_dtype"), 0) or TensorProto.UINT8

    def _is_float(self, name: str) -> bool:
        return self._values[name].data_type == TensorProto.FLOAT

    def _array(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self._values[name])

    def _expose(self) -> None:
        """Make everything that was found an input of the graph, and no initialiser any more."""
        learnt = {weight.name: weight.value for weight in self._found.weights}
        learnt |= {bias.name: bias.value for bias in self._found.biases}
        learnt |= self._found.scales
        kept = [tensor for tensor in self._graph.initializer if tensor.name not in learnt]
        inputs = [entry for entry in self._graph.input if entry.name not in self._values]
        del self._graph.initializer[:], self._graph.input[:]
        self._graph.initializer.extend(kept)
        self._graph.input.extend(inputs)
        for name, value in learnt.items():
            self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))


_LAYOUT = ("axis", "block_size")


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if value is not None:
            tensor = graph.initializer.add()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            graph.node.remove(node)


def _shapes(model: onnx.ModelProto) -> dict[str, int]:
    """Values of one sample in every tensor whose shape can be told."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # only LSQ's gradient scale depends on it
        return {}
    return {
        entry.name: int(np.prod([dim.dim_value or 1 for dim in entry.type.tensor_type.shape.dim[1:]]))
        for entry in _entries(graph)
    }


def _entries(graph: onnx.GraphProto) -> Iterable[onnx.ValueInfoProto]:
    return (*graph.input, *graph.value_info, *graph.output)


def _dequantize(integers: np.ndarray, scale: np.ndarray, grid: Grid) -> np.ndarray:
    """What stored integers stand for."""
    shape = [1] * integers.ndim
    zero = grid.zero_point.astype(np.int64)
    if grid.block:
        size = integers.shape[grid.axis]
        scale = np.repeat(scale, grid.block, axis=grid.axis).take(range(size), axis=grid.axis)
        zero = np.repeat(zero, grid.block, axis=grid.axis).take(range(size), axis=grid.axis)
    elif scale.size > 1:
        shape[grid.axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return ((integers.astype(np.int64) - zero) * scale.astype(np.float64)).astype(np.float32)


def _zero_point(name: str, grid: Grid) -> TensorProto:
    values = grid.zero_point.astype(np.int64)
    return helper.make_tensor(name, grid.elem_type, values.shape, values.reshape(-1).tolist())
