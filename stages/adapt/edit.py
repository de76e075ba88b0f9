"""Graph edit: nodes put in front of an ONNX graph's input or behind its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# A name that no exporter gives.
_PREFIX = "edgeproof/"
PIXELS, LOGITS = f"{_PREFIX}pixels", f"{_PREFIX}logits"
_CLIP_BY_INPUTS = 11
# Of a model that has none of ONNX's own operators, and the oldest format that knows them.
_OPSET, _IR = 17, 8


class Chain:
    """Nodes one behind another, on their way into a graph.

    Args:
        model: the graph's model, whose initialisers get the constants.
        name: the value that the chain begins with.

    Attributes:
        first: that value.
        name: the value that it ends with.
        nodes: what it consists of.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self._model = model
        self.first = self.name = name
        self.nodes: list[onnx.NodeProto] = []

    def then(self, operator: str, *constants: np.ndarray | np.float32, **attributes: Any) -> None:
        """Append an operator: the chain's value is its first input, constants are the others."""
        self.join(operator, [self.name, *(self._constant(value) for value in constants)], **attributes)

    def join(self, operator: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Append an operator of these inputs."""
        self.name = self._fresh(operator)
        self.nodes.append(helper.make_node(operator, inputs, [self.name], name=self.name, **attributes))

    def clip(self, low: float, high: float) -> None:
        """Append a Clip, as the model's opset writes it."""
        if opset_of(self._model) < _CLIP_BY_INPUTS:
            self.then("Clip", min=float(low), max=float(high))
        else:
            self.then("Clip", np.float32(low), np.float32(high))

    def ends_as(self, name: str) -> None:
        """Call the chain's last value so."""
        if not self.nodes:
            self.then("Identity")
        self.nodes[-1].output[0] = self.name = name

    def _constant(self, value: np.ndarray | np.float32) -> str:
        name = self._fresh("constant")
        self._model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _fresh(self, what: str) -> str:
        graph = self._model.graph
        return unused(self._model, f"{_PREFIX}{what}_{len(graph.node) + len(graph.initializer) + len(self.nodes)}")


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators."""
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 1)


def declare_opset(model: onnx.ModelProto) -> None:
    """Import ONNX's own operators where a model of others has none of them, in place: whatever comes is today's.

    Converters of trees leave the version out, or name one that their own few nodes happen to have.
    """
    if any(node.domain in ("", "ai.onnx") for node in model.graph.node):
        return
    others = [each for each in model.opset_import if each.domain not in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend([*others, helper.make_opsetid("", _OPSET)])
    model.ir_version = max(model.ir_version, _IR)


def unzip(model: onnx.ModelProto) -> bool:
    """Answer with the numbers that a ZipMap makes dictionaries of, in place; whether there was one."""
    graph = model.graph
    makers = {node.output[0]: node for node in graph.node if node.op_type == "ZipMap"}
    found = [(place, makers[value.name]) for place, value in enumerate(graph.output) if value.name in makers]
    for place, node in found:
        graph.node.remove(node)
        graph.output.pop(place)
        graph.output.insert(place, helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None))
    return bool(found)


def unused(model: onnx.ModelProto, name: str) -> str:
    """The name, or one like it that no value of the graph has: a model may have been adapted before."""
    graph = model.graph
    used = {output for node in graph.node for output in node.output}
    used |= {value.name for value in (*graph.input, *graph.initializer, *graph.output)}
    while name in used:
        name += "_"
    return name


def per_channel(values: Sequence[float], channels: int) -> np.ndarray:
    """Float32 values that multiply or shift images `[N, C, H, W]`, one a channel."""
    return np.broadcast_to(np.asarray(values, np.float32), (channels,)).reshape(1, channels, 1, 1).copy()


def in_front(model: onnx.ModelProto, chain: Chain, replaced: str, shape: Sequence[int | str]) -> None:
    """Put a chain in front of an input, which its first value takes the place of."""
    graph = model.graph
    # Initialisers need be no inputs from this version on.
    model.ir_version = max(model.ir_version, 4)
    chain.ends_as(replaced)
    for node in reversed(chain.nodes):
        graph.node.insert(0, node)
    place = next(place for place, value in enumerate(graph.input) if value.name == replaced)
    inner = graph.input.pop(place)
    graph.value_info.append(inner)
    graph.input.insert(place, helper.make_tensor_value_info(chain.first, TensorProto.FLOAT, list(shape)))


def behind(model: onnx.ModelProto, chain: Chain, shape: Sequence[int | str]) -> None:
    """Put a chain behind the graph; its last value is the only output, float32, called `LOGITS`."""
    graph = model.graph
    model.ir_version = max(model.ir_version, 4)
    logits = unused(model, LOGITS)
    chain.ends_as(logits)
    graph.node.extend(chain.nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(logits, TensorProto.FLOAT, list(shape)))
