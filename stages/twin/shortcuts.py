"""Redundant quantizers: exporters quantize behind a layer, its ReLU and a reshape; each is computed once.

Where nothing but these lies between two quantizers with the same scale and zero point, the second changes nothing, to
the last bit: `round(k * scale / scale)` is k for whole numbers of up to 16 bits. Nor does a ReLU behind a quantizer
whose lowest value is zero. Logits and gradients stay the same in all backward modes; only in `smooth`, which rounds
nothing, logits may move by a last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from .backward import BackwardMode
from .quantize import Quantizer
from .step import Step

# Their outputs hold nothing but elements of their first input, and zeros.
_KEEPERS = frozenset({"Flatten", "Identity", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
# Types in which a value on a grid is its own step's, divided by the scale and rounded.
_EXACT = frozenset({torch.float32, torch.float64})


@dataclass(frozen=True)
class _Grid:
    """The values that a quantizer with one known scale and zero point can return."""

    scale: Tensor
    zero_point: int
    limits: tuple[float, float]

    def same(self, other: _Grid | None) -> bool:
        return (
            other is not None
            and (self.zero_point, self.limits) == (other.zero_point, other.limits)
            and self.scale.dtype == other.scale.dtype
            and torch.equal(self.scale.reshape(()), other.scale.reshape(()))
        )

    @property
    def begins_at_zero(self) -> bool:
        return self.zero_point == self.limits[0]


def take_shortcuts(steps: Sequence[Step], constants: Mapping[int, Tensor], outputs: Sequence[int]) -> None:
    """Give steps that change nothing a kernel that does as little.

    Args:
        steps: of a program, in order; their kernels are replaced in place.
        constants: slot → value. A scale that is no constant may be learnt, and then every quantizer has a share in its
            gradient.
        outputs: slots of the program's outputs.
    """
    readers = Counter([slot for step in steps for slot in step.inputs]) + Counter(outputs)
    grids: dict[int, _Grid] = {}
    writers: dict[int, Step] = {}
    for step in steps:
        source = step.inputs[0] if step.inputs else 0
        grid, before = _grid_of(step, constants), grids.get(source)
        if grid is not None:
            if grid.same(before):
                step.kernel = _Again(step.kernel)
            grids[step.outputs[0]] = grid
        elif before is not None and step.op_type in _KEEPERS:
            grids[step.outputs[0]] = before
            if step.op_type == "Relu" and before.begins_at_zero:
                step.kernel = _above_zero
                if readers[source] == 1:
                    _let_pass(writers[source])
        writers.update(dict.fromkeys(step.outputs, step))


def _grid_of(step: Step, constants: Mapping[int, Tensor]) -> _Grid | None:
    """The grid of a quantizer and dequantizer in one; None of anything else, and of several scales."""
    quantizer = _quantizer(step)
    if quantizer is None or quantizer.layout[1]:
        return None
    scale = constants.get(step.inputs[1])
    zero = constants.get(step.inputs[2]) if len(step.inputs) > 2 and step.inputs[2] else torch.zeros(())
    if scale is None or zero is None or scale.numel() != 1 or zero.numel() != 1 or scale.dtype not in _EXACT:
        return None
    return _Grid(scale, int(zero), quantizer.limits)


def _quantizer(step: Step) -> Quantizer | None:
    kernel: Any = getattr(step.kernel, "__self__", None)
    return kernel if isinstance(kernel, Quantizer) and step.kernel == kernel.paired else None


def _let_pass(step: Step) -> None:
    """Let a quantizer pass all of the gradient, where the ReLU behind it stops what it would stop, and more."""
    quantizer = _quantizer(step)
    if quantizer is not None:
        step.kernel = replace(quantizer, positive=True).paired


class _Again:
    """A quantizer of values on its own grid."""

    def __init__(self, quantize: Any) -> None:
        self._quantize = quantize

    def __call__(self, x: Tensor, *parameters: Tensor, backward: BackwardMode) -> Tensor:
        # That mode stops gradients at both ends of the grid as well, of which the values before it know nothing.
        return self._quantize(x, *parameters, backward=backward) if backward == "clipped" else x


def _above_zero(x: Tensor) -> Tensor:
    """The ReLU of what is never negative."""
    return cast(Tensor, _AboveZero.apply(x))


class _AboveZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(grads[0], x, 0)
