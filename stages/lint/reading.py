"""Model view for lint rules."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from .graph import Graph
from .operand import Operand, read_operands
from .quantizer import Quantizer, read_quantizers

if TYPE_CHECKING:
    import onnx


class Reading:
    """A model's graph, its quantizers, and the operands of its convolutions and matrix products."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = Graph(model)
        self._by_output = read_quantizers(self.graph)
        self.quantizers = list(self._by_output.values())
        self.operands = read_operands(self.graph, self._by_output)

    def quantizer(self, name: str, kind: str) -> Quantizer | None:
        """The Q or DQ node that makes a tensor."""
        found = self._by_output.get(name)
        return found if found is not None and found.kind == kind else None

    def role(self, role: str) -> Iterator[Operand]:
        """The operands of one role."""
        return (operand for operand in self.operands if operand.role == role)

    @cached_property
    def activations(self) -> list[Quantizer]:
        """The Q nodes of what depends on an input, and the DQ nodes of such that have no Q node."""
        found: list[Quantizer] = []
        for quantizer in self.quantizers:
            paired = quantizer.kind == "DQ" and self.quantizer(self.graph.source(quantizer.data)[0], "Q") is not None
            if not quantizer.constant and not paired:
                found.append(quantizer)
        return found

    def dequantizers_of(self, quantizer: Quantizer) -> list[Quantizer]:
        """The DQ nodes that a Q node's result reaches."""
        nodes = (node for _, node in self.graph.users(quantizer.output))
        found = (self.quantizer(node.output[0], "DQ") for node in nodes if node.output)
        return [dequantizer for dequantizer in found if dequantizer is not None]

    @cached_property
    def integer_operators(self) -> set[str]:
        """First outputs of the convolutions and matrix products whose operands, biases aside, are all quantized."""
        found = {operand.operator.output[0] for operand in self.operands}
        floating = {
            operand.operator.output[0]
            for operand in self.operands
            if operand.role != "bias" and operand.dequantizer is None
        }
        return found - floating
