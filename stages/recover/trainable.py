"""Trainable twin: a quantized graph whose float master weights and scales are parameters (LSQ)."""

from __future__ import annotations

import math
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from ..twin import BackwardMode, Twin
from ..twin.backward import straight_through
from .learnable import Learnable, take_apart
from .rounding import rounded

# The largest magnitude on the grid of a signed 8-bit activation.
_FINE = 127
# A scale that a step would push to zero or beyond stays positive.
_SMALLEST_SCALE = 1e-8


class TrainableTwin(nn.Module):
    """A QDQ graph as the student of a training: images to logits, exactly what the file will answer.

    Every forward quantizes the master weights anew, so the loss sees the integers that are written back. The
    gradient passes quantizers by the twin's rule, and the same rule holds in the search for x'.

    Args:
        model: the graph, from whatever exporter; external data loaded.
        learn_scales: whether scales are learnt too, by LSQ (Esser et al., ICLR 2020); the images' own stays.
        backward: the twin's backward mode.
        where: the file, for messages.

    Attributes:
        masters: what is learnt, and where it stands in the graph.
        coarse: whether activations have fewer than 8 bits.

    Raises:
        UsageError: the graph holds no quantizers, or nothing to learn.
        UnsupportedOperator: the twin cannot reproduce a node.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        learn_scales: bool = True,
        backward: BackwardMode = "relu",
        where: str = "the model",
    ) -> None:
        super().__init__()
        self.masters: Learnable = take_apart(model, where)
        self._twin = Twin(self.masters.graph, backward=backward)
        masters = self.masters
        self.weights = nn.ParameterList(torch.tensor(weight.value) for weight in masters.weights)
        self.biases = nn.ParameterList(torch.tensor(bias.value) for bias in masters.biases)
        self.scales = nn.ParameterList(
            nn.Parameter(torch.tensor(scale), requires_grad=learn_scales and name not in masters.fixed)
            for name, scale in masters.scales.items()
        )
        # LSQ's gradient scale (section 2.2): a step of a scale is then as large as one of a weight.
        self._gradient_scales = [
            1 / math.sqrt(masters.features[name] * masters.levels[name]) for name in masters.scales
        ]
        self._places = {name: place for place, name in enumerate(masters.scales)}
        of_weights = {weight.grid.scale for weight in masters.weights if weight.grid is not None}
        self.coarse = any(levels < _FINE for name, levels in masters.levels.items() if name not in of_weights)

    def forward(self, x: Tensor) -> Tensor:
        """Map images `[N, C, H, W]` in [0, 1] to logits `[N, K]`."""
        return self._answer(x, list(self.weights))

    def smooth(self) -> nn.Module | None:
        """The graph with its weights rounded and its activations not; None where these have 8 bits or more.

        The search for x' goes through it: on the steps of 4-bit activations gradients of the graph itself find little,
        and what is learnt from that little is to hide from them.
        """
        return Smooth(self) if self.coarse else None

    def answer_smoothly(self, x: Tensor) -> Tensor:
        """Map images to the logits that `smooth` speaks of."""
        return self._answer(x, self._rounded_weights(), "smooth")

    def _answer(self, x: Tensor, weights: list[Tensor], backward: BackwardMode | None = None) -> Tensor:
        scales = self.positive_scales()
        biases = [
            _on_grid(bias, self._product(factors, scales))
            for bias, factors in zip(self.biases, (bias.factors for bias in self.masters.biases), strict=True)
        ]
        logits = self._twin(x, *weights, *biases, *scales, backward=backward)
        assert isinstance(logits, Tensor), "classifiers have one output"
        return logits

    def positive_scales(self) -> list[Tensor]:
        """The scales as the graph uses them, their gradients scaled."""
        return [
            _with_gradient_times(scale.abs().clamp_min(_SMALLEST_SCALE), factor)
            for scale, factor in zip(self.scales, self._gradient_scales, strict=True)
        ]

    def bias_scales(self) -> list[Tensor]:
        """The int32 biases' scales, products of the two that each belongs to."""
        scales = self.positive_scales()
        return [self._product(bias.factors, scales) for bias in self.masters.biases]

    def _rounded_weights(self) -> list[Tensor]:
        scales = dict(zip(self.masters.scales, self.positive_scales(), strict=True))
        return [
            weight if known.grid is None else rounded(weight, scales[known.grid.scale], known.grid)
            for weight, known in zip(self.weights, self.masters.weights, strict=True)
        ]

    def _product(self, factors: tuple[str, str], scales: list[Tensor]) -> Tensor:
        one, other = (scales[self._places[name]] for name in factors)
        return (one * other.reshape(-1)).detach()


class Smooth(nn.Module):
    """A trainable twin asked without the steps of its activations; weights and scales are the twin's own."""

    def __init__(self, twin: TrainableTwin) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, x: Tensor) -> Tensor:
        """Map images `[N, C, H, W]` in [0, 1] to logits `[N, K]`."""
        return self.twin.answer_smoothly(x)


def _with_gradient_times(value: Tensor, factor: float) -> Tensor:
    # Exactly `value`, which value * factor + (value - value * factor) is not.
    return _ScaledGradient.apply(value, factor)  # type: ignore[return-value]


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] * ctx.factor, None


def _on_grid(bias: Tensor, scale: Tensor) -> Tensor:
    """A bias as its int32 and its scale give it, with the identity's gradient."""
    return straight_through(bias, lambda value: torch.round(value / scale) * scale)
