"""Straight-through gradient rule: what the twin answers where the graph has no useful derivative.

With ``x`` the input of a quantizer, ``lower = (qmin - zero_point) * scale`` and ``upper = (qmax - zero_point) *
scale``, the gradient through quantize → dequantize is 1, except that it is 0

======================  =============================================================================================
``"relu"``              where ``x < 0`` and the zero point is qmin: the lower clip then *is* a ReLU that the quantizer
                        swallowed. The default.
``"relu-ceiling"``      as ``"relu"``, and where ``x > upper``: a swallowed ReLU6.
``"identity"``          nowhere.
``"clipped"``           where ``x <= lower`` or ``x >= upper``: a fake quantizer written with ``torch.clamp``, whose
                        gradient at the bounds is 0. It hides the direction out of a clip, and every black pixel,
                        from the attacker and so flatters the engine; kept to show by how much.
``"smooth"``            as ``"relu"``, but of another forward: activations are clipped and *not rounded*. Each step of
                        4-bit activations is a jump that the next layers' derivatives are taken behind; without the
                        jumps the slopes are those that a small change of the image follows on average.
======================  =============================================================================================

But for that mode comparisons are strict: at a tie the gradient is 1. Black pixels are ties, and a gradient halved or
lost there blinds an attack.
Clip's gradient is likewise 1 at its bounds. Round, Floor, Ceil and Cast have the identity gradient in every mode.

A scale that requires a gradient gets LSQ's (Esser et al., "Learned Step Size Quantization", ICLR 2020, eq. 3) from
quantize → dequantize; its gradient scale is left to whoever trains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

BackwardMode = Literal["relu", "relu-ceiling", "identity", "clipped", "smooth"]
BACKWARD_MODES: tuple[BackwardMode, ...] = get_args(BackwardMode)

# The largest float32 below zero.
_BELOW_ZERO = -(2.0**-149)

#: A zero point: an int where it is one known number, else a tensor that broadcasts against the quantizer's input.
ZeroPoint = int | Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


def straight_through(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """``function(x)`` with the gradient of the identity."""
    return _StraightThrough.apply(x, function)  # type: ignore[return-value]


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float | None, high: float | None) -> Tensor:
        if ctx.needs_input_grad[0]:
            outside = torch.zeros_like(x, dtype=torch.bool)
            if low is not None:
                outside |= x < low
            if high is not None:
                outside |= x > high
            ctx.save_for_backward(outside)
        return torch.clamp(x, low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (outside,) = ctx.saved_tensors
        return grads[0].masked_fill(outside, 0), None, None


def clip(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """`x` in [low, high], of which one may be None; the gradient is 1 at the bounds.

    torch's own clamp gives 0, 1/2 or 1 there, depending on its version and on the kind of its arguments.
    """
    return _Clip.apply(x, low, high)  # type: ignore[return-value]


def blocked(
    x: Tensor, scale: Tensor, zero_point: ZeroPoint, limits: tuple[float, float], mode: BackwardMode
) -> Tensor | None:
    """Where the gradient through a quantizer is 0, as a bool tensor of the shape of `x`; None for nowhere.

    Args:
        x: the quantizer's input.
        scale: its scale, broadcast against `x`.
        zero_point: its zero point, likewise.
        limits: (qmin, qmax) of its integer type.
        mode: backward mode.
    """
    if mode == "identity":
        return None
    qmin, qmax = limits
    if mode == "clipped":
        return (x <= (qmin - zero_point) * scale) | (x >= (qmax - zero_point) * scale)
    dead = None
    if isinstance(zero_point, Tensor):
        dead = (x < 0) & (zero_point == qmin)
    elif zero_point == qmin:
        dead = x < 0
    if mode == "relu-ceiling":
        above = x > (qmax - zero_point) * scale
        dead = above if dead is None else dead | above
    return dead


def _through(
    grad: Tensor,
    x: Tensor | None,
    scale: Tensor,
    zero_point: ZeroPoint,
    limits: tuple[float, float],
    mode: BackwardMode,
) -> Tensor:
    """The gradient where it is not blocked; `x` is None where it is nowhere."""
    if x is None:
        return grad
    if mode in ("relu", "smooth") and isinstance(zero_point, int) and x.dtype == grad.dtype == torch.float32:
        # x < 0 is blocked, in one pass. Greater than the largest float below zero is zero or more; -0.0 is zero.
        return torch.ops.aten.threshold_backward(grad, x, _BELOW_ZERO)
    dead = blocked(x, scale, zero_point, limits, mode)
    return grad if dead is None else torch.where(dead, 0.0, grad)


def _blocks(zero_point: ZeroPoint, limits: tuple[float, float], mode: BackwardMode) -> bool:
    """Whether any gradient can be blocked."""
    if mode == "identity":
        return False
    return mode in ("clipped", "relu-ceiling") or isinstance(zero_point, Tensor) or zero_point == limits[0]


def _to_grid(
    x: Tensor,
    scale: Tensor,
    low: float | Tensor,
    high: float | Tensor,
    mode: BackwardMode,
    float8: torch.dtype | None,
) -> Tensor:
    """``round(x / scale)`` in [low, high]: a division, and halves to even, as ONNX Runtime computes it."""
    steps = torch.div(x, scale)
    if float8 is not None:
        largest = torch.finfo(float8).max
        steps.clamp_(-largest, largest)
        return steps if mode == "smooth" else steps.to(float8).to(x.dtype)
    if mode != "smooth":
        steps.round_()
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return torch.minimum(torch.maximum(steps, torch.as_tensor(low)), torch.as_tensor(high))
    return steps.clamp_(low, high)


class _Quantize(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (apply takes no keywords)
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        zero_point: ZeroPoint,
        limits: tuple[float, float],
        mode: BackwardMode,
        float8: torch.dtype | None,
    ) -> Tensor:
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x if _blocks(zero_point, limits, mode) else None, scale)
            ctx.rule = zero_point, limits, mode
        return _to_grid(x, scale, limits[0] - zero_point, limits[1] - zero_point, mode, float8).add_(zero_point)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, scale = ctx.saved_tensors
        return _through(grads[0], x, scale, *ctx.rule) / scale, None, None, None, None, None


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (apply takes no keywords)
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        zero_point: ZeroPoint,
        limits: tuple[float, float],
        mode: BackwardMode,
        float8: torch.dtype | None,
    ) -> Tensor:
        steps = _to_grid(x, scale, limits[0] - zero_point, limits[1] - zero_point, mode, float8)
        kept = x if ctx.needs_input_grad[0] and _blocks(zero_point, limits, mode) else None
        ctx.rule = zero_point, limits, mode
        if not ctx.needs_input_grad[1]:
            ctx.save_for_backward(kept, scale)
            return steps.mul_(scale)
        ctx.save_for_backward(kept, scale, x, steps)
        ctx.bounds = limits[0] - zero_point, limits[1] - zero_point
        return steps * scale

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        kept, scale, *learnt = ctx.saved_tensors
        to_scale = None
        if learnt:
            x, steps = learnt
            ratio = x / scale
            inside = (ratio > ctx.bounds[0]) & (ratio < ctx.bounds[1])
            to_scale = (grads[0] * torch.where(inside, steps - ratio, steps)).sum_to_size(scale.shape)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = _through(grads[0], kept, scale, *ctx.rule)
        return to_x, to_scale, None, None, None, None


def quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: ZeroPoint,
    *,
    limits: tuple[float, float],
    mode: BackwardMode = "relu",
    float8: torch.dtype | None = None,
) -> Tensor:
    """Quantize, keeping the gradient: whole numbers in [qmin, qmax] as a float tensor of the shape of `x`.

    Args:
        x: float tensor.
        scale: positive, broadcasts against `x` without enlarging it; gets no gradient.
        zero_point: an int, or whole numbers in a float tensor that broadcasts likewise.
        limits: (qmin, qmax) of the type.
        mode: backward mode; the gradient carries the factor 1 / scale that dequantizing takes back.
        float8: the 8-bit float type in place of an integer one; the zero point is 0 then.
    """
    return _Quantize.apply(x, scale, zero_point, limits, mode, float8)  # type: ignore[return-value]


def fake_quantize(
    x: Tensor,
    scale: Tensor,
    zero_point: ZeroPoint,
    *,
    limits: tuple[float, float],
    mode: BackwardMode = "relu",
    float8: torch.dtype | None = None,
) -> Tensor:
    """Quantize and dequantize with one scale: the floats that a quantize → dequantize pair yields.

    The forward is exact (whole numbers below 2**24 in float32); the gradient is 1 or 0, with no rounding.
    Arguments as for :func:`quantize`, but that a scale which requires a gradient gets LSQ's.
    """
    return _FakeQuantize.apply(x, scale, zero_point, limits, mode, float8)  # type: ignore[return-value]
