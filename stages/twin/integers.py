"""Integer quantizers: torch's own quantize and dequantize operators on real integers, for what ships.

The twin fake-quantizes, for its gradients; a runtime's compiler wants to see where integers are.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import torch
import torch.ao.quantization.fx._decomposed  # defines torch.ops.quantized_decomposed
from onnx import TensorProto
from torch import Tensor

from .node import Node, Value
from .program import Compiler, Program
from .quantize import Dequantizer, Quantizer
from .registry import Kernel, Operator
from .sizes import BatchSizes, Size, known_sizes
from .types import FLOATS8, INTEGERS, RANGES, type_name

_OPS = torch.ops.quantized_decomposed
_FUSED = frozenset({"QLinearConv", "QLinearMatMul"})


@dataclass(frozen=True)
class _Grid:
    """Scale and zero point of a quantizer, and the integers it writes."""

    scale: Tensor
    zero: Tensor
    axis: int
    low: int
    high: int
    dtype: torch.dtype

    @property
    def per_tensor(self) -> tuple[float, int, int, int, torch.dtype]:
        return self.scale.item(), int(self.zero.item()), self.low, self.high, self.dtype

    @property
    def per_channel(self) -> tuple[int, int, int, torch.dtype]:
        return self.axis, self.low, self.high, self.dtype


class IntegerCompiler(Compiler):
    """Compiles a graph whose quantized values, weights included, are integer tensors of at most 16 bits.

    int32 biases become floats: runtimes quantize them anew, to the same integers. Shapes that the graph computes are
    known when it is traced.
    """

    _sizes: dict[str, Size]
    _images: int

    def compile(self, graph: onnx.GraphProto) -> Program:
        """Compile `graph`; see `Compiler.compile`."""
        self._sizes = known_sizes(graph, self.opsets) if self.outer is None else {}
        return super().compile(graph)

    def _input(self, info: onnx.ValueInfoProto) -> Value:
        value = super()._input(info)
        self._images = value.slot
        return value

    def _node(self, proto: onnx.NodeProto) -> None:
        super()._node(proto)
        for name in self._sizes.keys() & set(proto.output):
            size = self._sizes[name]
            if isinstance(size.value, BatchSizes):
                value = self.define(name, elem_type=size.elem_type)
                kernel = size.value.of
                self.add_step(Node(proto, (), 1), kernel, (self._images,), [value], moded=False)
            else:
                self.define(name, elem_type=size.elem_type, constant=size.value)

    def emit(self, node: Node, known: Operator, kernel: Kernel) -> None:
        """Append a quantizer's own operator; constants stay integers until a dequantizer's step."""
        node.require(node.op_type not in _FUSED, "torch has it in the Q/DQ form alone")
        if isinstance(kernel, Quantizer | Dequantizer):
            floats = node.elem_type(0) in FLOATS8 or (isinstance(kernel, Quantizer) and kernel.float8 is not None)
            node.require(not floats, "8-bit floats are no integers")
        if isinstance(kernel, Quantizer) and node.constant(0) is not None:
            super().emit(node, known, kernel)
            self._hold_integers(node)
        elif isinstance(kernel, Quantizer):
            self._append(node, kernel, node.elem_type(2) or node.declared_type() or TensorProto.UINT8)
        elif isinstance(kernel, Dequantizer) and (node.constant(0) is None or node.elem_type(0) != TensorProto.INT32):
            self._append(node, kernel, node.elem_type(0))
        else:
            super().emit(node, known, kernel)

    def _hold_integers(self, node: Node) -> None:
        """Put the integers of a quantized constant, which is folded to whole numbers in floats, into their type."""
        name = node.proto.output[0]
        folded = self.scope[name]
        assert folded.constant is not None
        self.define(name, elem_type=folded.elem_type, constant=folded.constant.to(INTEGERS[folded.elem_type]))

    def _append(self, node: Node, kernel: Quantizer | Dequantizer, elem_type: int) -> None:
        grid = _grid(node, kernel, elem_type)
        given = node.inputs[0]
        assert given is not None
        quantizes = isinstance(kernel, Quantizer)
        if grid.scale.numel() == 1:
            slots = (given.slot,)
            function = _OPS.quantize_per_tensor if quantizes else _OPS.dequantize_per_tensor
            arguments = grid.per_tensor
        else:
            # Constants of their own: the compilers want to find buffers, in exactly these types.
            parameters = (self.define("", constant=tensor) for tensor in (grid.scale, grid.zero))
            slots = (given.slot, *(value.slot for value in parameters))
            function = _OPS.quantize_per_channel if quantizes else _OPS.dequantize_per_channel
            arguments = grid.per_channel
        output = self._output(node, elem_type if quantizes else TensorProto.FLOAT, live=not quantizes)
        self.add_step(node, lambda *tensors: function(*tensors, *arguments), slots, [output], moded=False)

    def _output(self, node: Node, elem_type: int, *, live: bool) -> Value:
        return self.define(node.proto.output[0], elem_type=elem_type, live=live)


def _grid(node: Node, kernel: Quantizer | Dequantizer, elem_type: int) -> _Grid:
    axis, block = kernel.layout
    scale, zero = node.constant(1), node.constant(2)
    node.require(scale is not None and (zero is not None or not node.has(2)), "its scale or zero point is computed")
    assert scale is not None
    node.require(scale.dtype == torch.float32, "its scale is not float32")
    node.require(not block, "its scales lie in blocks")
    low, high = RANGES.get(elem_type, (0, 0))
    node.require(-(2**15) <= low < high < 2**15, f"it writes {type_name(elem_type)}, which torch does not quantize to")
    zero = torch.zeros_like(scale, dtype=torch.int64) if zero is None else zero.to(torch.int64)
    if scale.numel() > 1:
        zero = zero.reshape(-1).expand(scale.numel()).clone()
        weight = node.constant(0)
        axis = axis if weight is None else axis % weight.dim()
    return _Grid(scale, zero, axis, low, high, INTEGERS[elem_type])
