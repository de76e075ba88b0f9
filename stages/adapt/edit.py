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


class Chain:
    """Nodes one behind another, on their way into a graph.

    Args:
        model: the graph's model, whose initialisers get the constants.
        name: the value that the chain begins with.
    """

    def __init__(self, model: onnx.ModelProto, name: str) -> None:
        self._model = model
        self.name = name
        self.nodes: list[onnx.NodeProto] = []

    def then(self, operator: str, *constants: np.ndarray | np.float32, **attributes: Any) -> None:
        """Append an operator: the chain's value is its first input, constants are the others."""
        self.join(operator, [self.name, *(self._constant(value) for value in constants)], **attributes)

    def join(self, operator: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Append an operator of these inputs."""
        self.name = self._fresh(operator)
        self.nodes.append(helper.make_node(operator, inputs, [self.name], name=self.name, **attributes))

    def constant_minus(self, constant: np.ndarray) -> None:
        """Append the difference of a constant and the chain's value."""
        self.join("Sub", [self._constant(constant), self.name])

    def ends_as(self, name: str) -> None:
        """Call the chain's last value so."""
        if self.nodes:
            self.nodes[-1].output[0] = name
        else:
            self.join("Identity", [self.name])
            self.nodes[-1].output[0] = name
        self.name = name

    def _constant(self, value: np.ndarray | np.float32) -> str:
        name = self._fresh("constant")
        self._model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _fresh(self, what: str) -> str:
        graph = self._model.graph
        return f"{_PREFIX}{what}_{len(graph.node) + len(graph.initializer) + len(self.nodes)}"


def per_channel(values: Sequence[float], channels: int) -> np.ndarray:
    """Float32 values that multiply or shift images `[N, C, H, W]`, one a channel."""
    return np.broadcast_to(np.asarray(values, np.float32), (channels,)).reshape(1, channels, 1, 1).copy()


def in_front(model: onnx.ModelProto, chain: Chain, replaced: str, shape: Sequence[int | str]) -> None:
    """Put a chain that begins at `PIXELS` in front of an input, which it takes the place of."""
    graph = model.graph
    chain.ends_as(replaced)
    for node in reversed(chain.nodes):
        graph.node.insert(0, node)
    place = next(place for place, value in enumerate(graph.input) if value.name == replaced)
    inner = graph.input.pop(place)
    graph.value_info.append(inner)
    graph.input.insert(place, helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, list(shape)))


def behind(model: onnx.ModelProto, chain: Chain, shape: Sequence[int | str]) -> None:
    """Put a chain behind the graph; its last value is the only output, float32, called `LOGITS`."""
    graph = model.graph
    chain.ends_as(LOGITS)
    graph.node.extend(chain.nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, list(shape)))
