"""Layer sensitivity: how much robust margin each layer costs when it alone is quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from ...core.onnx_reader import read_onnx
from ...core.writing.scratch import scratch_folder
from ...targets.base import Scheme
from ...targets.onnxruntime.target import open_session
from ..margin import margins
from ..quantize.qdq import insert
from ..quantize.ranges import Range
from .points import Points

# What is worth a precision of its own; everything else follows the layer before it.
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BATCH = 256


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing one layer alone does on the fixed adversarial points.

    Attributes:
        layer: the node's name.
        op_type: its operator.
        margin_drop: mean loss of robust margin, relative to the float model's mean absolute margin.
        flipped: adversarial points that the float model withstands and this one does not, as a fraction of all.
        weights: numbers in its weight.
    """

    layer: str
    op_type: str
    margin_drop: float
    flipped: float
    weights: int


def layers_of(prepared: Path) -> dict[str, onnx.NodeProto]:
    """The layers of a prepared float file, in graph order, by name."""
    return {node.name: node for node in read_onnx(prepared).graph.node if node.op_type in LAYERS}


def measure_sensitivity(
    prepared: Path,
    ranges: Mapping[str, Range],
    scheme: Scheme,
    points: Points,
    *,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Sensitivity]:
    """Quantize one layer at a time and see what its robust margin loses; not clean accuracy, which hides it.

    Args:
        prepared: the prepared float file.
        ranges: of its activations.
        scheme: the target's.
        points: the fixed adversarial points.
        progress: told after each layer, with how many there are.

    Returns:
        One entry a layer, in graph order.
    """
    graph = read_onnx(prepared).graph
    nodes = list(graph.node)
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    layers = layers_of(prepared)
    floating = margins(answer(prepared, points.adversarial), points.labels)
    found = []
    with scratch_folder() as scratch:
        path = scratch / "one.onnx"
        for number, (name, node) in enumerate(layers.items(), 1):
            insert(prepared, path, scheme, ranges, keep=tuple(other.name for other in nodes if other.name != name))
            quantized = margins(answer(path, points.adversarial), points.labels)
            found.append(
                Sensitivity(
                    name,
                    node.op_type,
                    float((floating - quantized).mean() / max(np.abs(floating).mean(), 1e-12)),
                    float(((floating > 0) & (quantized <= 0)).mean()),
                    max((sizes.get(given, 0) for given in node.input[1:]), default=0),
                )
            )
            progress(number, len(layers))
    return found


def answer(path: Path, images: np.ndarray) -> np.ndarray:
    """Return an ONNX file's logits `[N, K]`, by ONNX Runtime."""
    session = open_session(path)
    name = session.get_inputs()[0].name
    return np.concatenate(
        [
            np.asarray(session.run(None, {name: images[first : first + _BATCH]})[0])
            for first in range(0, len(images), _BATCH)
        ]
    )
