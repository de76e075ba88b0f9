"""Resize and Upsample: one axis at a time, as a gather (nearest) or a product with a weight matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..node import Node
from ..registry import Kernel, operator
from ..types import ints

_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True)
class Rule:
    """How an output coordinate is mapped, and how its neighbours are weighted."""

    mode: str
    coordinates: str = "asymmetric"
    nearest: str = "floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    extrapolation: float = 0.0
    antialias: bool = False
    policy: str = "stretch"


@dataclass(frozen=True)
class Axis:
    """One axis to resize: its sizes, its scale, and its part of the region of interest."""

    index: int
    size: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def _crop_and_resize(at: Tensor, axis: Axis) -> Tensor:
    first, last = axis.start * (axis.size - 1), axis.end * (axis.size - 1)
    return first + at * ((last - first) / (axis.out - 1)) if axis.out > 1 else at * 0 + (first + last) / 2


def _symmetric(at: Tensor, axis: Axis) -> Tensor:
    adjustment = axis.out / (axis.scale * axis.size)
    return axis.size / 2 * (1 - adjustment) + (at + 0.5) / axis.scale - 0.5


# Where output element `at` lies in the input, by coordinate mode. align_corners takes the output's length as a whole
# number, as ONNX Runtime does; the specification's own examples keep a fraction.
_SOURCES: dict[str, Callable[[Tensor, Axis], Tensor]] = {
    "align_corners": lambda at, axis: at * ((axis.size - 1) / max(axis.out - 1, 1)),
    "asymmetric": lambda at, axis: at / axis.scale,
    "half_pixel": lambda at, axis: (at + 0.5) / axis.scale - 0.5,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda at, axis: (at + 0.5) / axis.scale - 0.5 if axis.out > 1 else at * 0,
    "tf_crop_and_resize": _crop_and_resize,
    "tf_half_pixel_for_nn": lambda at, axis: (at + 0.5) / axis.scale,
}


def _nearest(rule: Rule, source: Tensor, axis: Axis) -> Tensor:
    # Opset 10 leaves it open; ONNX Runtime takes the next element when it shrinks, the one before when it enlarges.
    mode = ("ceil" if axis.scale < 1 else "floor") if rule.nearest == "opset 10" else rule.nearest
    rounded = {
        "round_prefer_floor": lambda: torch.ceil(source - 0.5),
        "round_prefer_ceil": lambda: torch.floor(source + 0.5),
        "floor": lambda: torch.floor(source),
        "ceil": lambda: torch.ceil(source),
    }[mode]()
    return rounded.clamp(0, axis.size - 1).to(torch.int64)


def _kernel(rule: Rule, distance: Tensor) -> Tensor:
    """Weight of a neighbour at a distance, in input pixels."""
    x = distance.abs()
    if rule.mode == "linear":
        return (1 - x).clamp(min=0)
    a = rule.cubic
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _weights(rule: Rule, source: Tensor, axis: Axis) -> Tensor:
    """Matrix [out, size]: what each input element contributes to each output element."""
    stretch = min(axis.scale, 1.0) if rule.antialias else 1.0
    reach = math.ceil((1 if rule.mode == "linear" else 2) / stretch)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.floor(source)[:, None] + offsets
    weights = _kernel(rule, (taps - source[:, None]) * stretch)
    if rule.exclude_outside or rule.antialias:
        outside = (taps < 0) | (taps > axis.size - 1)
        weights = weights.masked_fill(outside, 0) if rule.exclude_outside else weights
        weights = weights / weights.sum(1, keepdim=True)
    matrix = torch.zeros(axis.out, axis.size, dtype=torch.float64)
    return matrix.scatter_add_(1, taps.clamp(0, axis.size - 1).to(torch.int64), weights)


def _resize_axis(x: Tensor, rule: Rule, axis: Axis) -> Tensor:
    if axis.out == axis.size and axis.scale == 1 and rule.coordinates != "tf_crop_and_resize":
        return x
    source = _SOURCES[rule.coordinates](torch.arange(axis.out, dtype=torch.float64), axis)
    if rule.mode == "nearest":
        result = x.index_select(axis.index, _nearest(rule, source, axis).to(x.device))
    else:
        matrix = _weights(rule, source, axis).to(
            device=x.device, dtype=x.dtype if x.is_floating_point() else torch.float32
        )
        moved = x.to(matrix.dtype).movedim(axis.index, -1)
        result = (moved @ matrix.T).movedim(-1, axis.index)
        if not x.is_floating_point():
            result = result.round().to(x.dtype)
    if rule.coordinates == "tf_crop_and_resize":
        outside = ((source < 0) | (source > axis.size - 1)).to(x.device)
        shape = [1] * x.dim()
        shape[axis.index] = -1
        result = result.masked_fill(outside.reshape(shape), rule.extrapolation)
    return result


@operator("Upsample", since=7, until=9)
def upsample(node: Node) -> Kernel:
    """Resize by scales, from the corner: an attribute in opset 7, an input in opset 9."""
    rule = Rule(mode=node.string("mode", "nearest", among=("nearest", "linear")))
    fixed = node.floats("scales") if node.opset < 9 else None

    def kernel(x: Tensor, scales: Tensor | None = None) -> Tensor:
        factors = fixed if scales is None or fixed is not None else [float(s) for s in scales.tolist()]
        for index, scale in enumerate(factors or []):
            x = _resize_axis(x, rule, Axis(index, x.shape[index], math.floor(x.shape[index] * scale), scale))
        return x

    return kernel


@operator("Resize", since=10)
def resize(node: Node) -> Kernel:
    """Resize by scales or to sizes: nearest, linear or cubic, in every coordinate mode of the specification."""
    mode = node.string("mode", "nearest", among=("nearest", "linear", "cubic"))
    if node.opset < 11:
        rule = Rule(mode=mode, nearest="opset 10")
        node.require(mode != "cubic", "mode='cubic' came with opset 11")
        return lambda x, scales: _resize(x, rule, [float(s) for s in scales.tolist()])
    rule = Rule(
        mode=mode,
        coordinates=node.string("coordinate_transformation_mode", "half_pixel", among=tuple(_SOURCES)),
        nearest=node.string("nearest_mode", "round_prefer_floor", among=_NEAREST),
        cubic=node.float("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.int("exclude_outside", 0)),
        extrapolation=node.float("extrapolation_value", 0.0),
        antialias=bool(node.int("antialias", 0)),
        policy=node.string("keep_aspect_ratio_policy", "stretch", among=("stretch", "not_larger", "not_smaller")),
    )
    axes = node.ints("axes")

    def kernel(
        x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
    ) -> Tensor:
        factors = [float(s) for s in scales.tolist()] if scales is not None and scales.numel() else None
        targets = ints(sizes) if sizes is not None and sizes.numel() else None
        region = roi.tolist() if roi is not None and roi.numel() else None
        return _resize(x, rule, factors, targets, axes, region)

    return kernel


def _resize(
    x: Tensor,
    rule: Rule,
    scales: list[float] | None,
    sizes: list[int] | None = None,
    axes: list[int] | None = None,
    roi: list[float] | None = None,
) -> Tensor:
    over = [axis % x.dim() for axis in axes] if axes is not None else list(range(x.dim()))
    if sizes is not None:
        ratios = [size / x.shape[axis] for size, axis in zip(sizes, over, strict=True)]
        if rule.policy != "stretch":
            ratio = min(ratios) if rule.policy == "not_larger" else max(ratios)
            sizes = [math.floor(ratio * x.shape[axis] + 0.5) for axis in over]
            ratios = [ratio] * len(over)
    elif scales is not None:
        ratios = scales
        sizes = [math.floor(x.shape[axis] * scale) for axis, scale in zip(over, scales, strict=True)]
    else:
        raise ValueError("neither scales nor sizes are given")
    for i, axis in enumerate(over):
        start, end = (roi[i], roi[len(over) + i]) if roi is not None else (0.0, 1.0)
        x = _resize_axis(x, rule, Axis(axis, x.shape[axis], sizes[i], ratios[i], start, end))
    return x
