"""Size propagation: shapes that follow from the images' shape alone, worked out before a graph is compiled.

Exporters compute the target of a Reshape or an Expand by Shape, Gather and Concat. Whoever traces the graph would see
a tensor whose numbers are not known; what they are, or how they grow with the batch, is found by computing a few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor

from ...core.errors import EdgeproofError
from ...core.onnx_walk import captured
from .program import Compiler
from .types import DTYPES

# Two say how a number grows with the batch, the third whether it does so at all.
_BATCHES = (2, 3, 5)


@dataclass(frozen=True)
class BatchSizes:
    """Whole numbers that depend on the batch size N: `factor * N + offset` each."""

    factors: tuple[int, ...]
    offsets: tuple[int, ...]

    def of(self, images: Tensor) -> list[int]:
        """The numbers for these images; symbols of `torch.export` where it traces."""
        count = images.shape[0]
        return [
            factor * count + offset if factor else offset
            for factor, offset in zip(self.factors, self.offsets, strict=True)
        ]


@dataclass(frozen=True)
class Size:
    """A value that depends on the images' shape alone, and its ONNX element type."""

    elem_type: int
    value: Tensor | BatchSizes


def known_sizes(graph: onnx.GraphProto, opsets: Mapping[str, int]) -> dict[str, Size]:
    """The values that only the images' shape decides, by their names; those that grow in another way are left out.

    Args:
        graph: with one input of images; of another, or where the images' size is unknown, nothing is known.
        opsets: domain → version.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    names = _sized(graph, stored)
    if not names or len(inputs) != 1:
        return {}
    tensor = inputs[0].type.tensor_type
    batch, *rest = (size.dim_value for size in tensor.shape.dim) if len(tensor.shape.dim) else (0,)
    if not rest or min(rest) < 1 or tensor.elem_type not in DTYPES:
        return {}
    batches = [batch] if batch > 0 else _BATCHES
    try:
        kinds, found = _computed(graph, names, opsets, [torch.zeros(n, *rest) for n in batches])
    except EdgeproofError:  # by which the graph's own compilation will fail, if it needs it
        return {}
    sizes = {name: _size(batches, values) for name, *values in zip(names, *found, strict=True)}
    return {
        name: Size(kind, value) for kind, (name, value) in zip(kinds, sizes.items(), strict=True) if value is not None
    }


def _sized(graph: onnx.GraphProto, stored: Iterable[str]) -> list[str]:
    """Values that only shapes and constants decide."""
    constant, sized = set(stored), dict[str, None]()
    for node in graph.node:
        given = {name for name in node.input if name}
        if any(captured(node)):
            continue
        if given <= constant:
            constant.update(node.output)
        elif node.op_type in ("Shape", "Size") or given <= constant | sized.keys():
            sized.update(dict.fromkeys(filter(None, node.output)))
    return list(sized)


def _computed(
    graph: onnx.GraphProto, names: list[str], opsets: Mapping[str, int], examples: Iterable[Tensor]
) -> tuple[list[int], list[list[Tensor]]]:
    """The values' element types, and what they are for each of the examples."""
    probe = onnx.GraphProto()
    probe.CopyFrom(graph)
    del probe.output[:]
    probe.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    program = Compiler(opsets).compile(probe)

    def run(images: Tensor) -> list[Tensor]:
        values: list[Tensor | None] = [None] * program.size
        for slot, tensor in program.constants.items():
            values[slot] = tensor
        values[program.inputs[0]] = images
        with torch.no_grad():
            return program.run(values, "relu")

    return program.output_types, [run(images) for images in examples]


def _size(batches: Iterable[int], values: list[Tensor]) -> Tensor | BatchSizes | None:
    """What the values have in common; None where that is nothing so simple."""
    first, *others = values
    if all(each.shape == first.shape for each in others) and all(torch.equal(each, first) for each in others):
        return first
    if first.is_floating_point() or first.dtype == torch.bool or any(each.shape != first.shape for each in others):
        return None
    numbers = [[int(number) for number in each.reshape(-1)] for each in values]
    two, three, _ = numbers
    factors = tuple(high - low for low, high in zip(two, three, strict=True))
    offsets = tuple(low - 2 * factor for low, factor in zip(two, factors, strict=True))
    grows = [[f * n + o for f, o in zip(factors, offsets, strict=True)] for n in batches]
    return BatchSizes(factors, offsets) if grows == numbers else None
