"""Recurrent layers: LSTM, GRU and the plain RNN, and ONNX Runtime's dynamically quantized LSTM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..backward import straight_through
from ..node import Node
from ..registry import MICROSOFT, Kernel, operator

Activation = Callable[[Tensor], Tensor]

# With the parameters that they have where a node names none.
_ACTIVATIONS: dict[str, Activation] = {
    "Relu": torch.relu,
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
    "HardSigmoid": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "Softsign": F.softsign,
    "Softplus": F.softplus,
}


class _Layer:
    """What recurrent layers have in common: directions, layout, clipping, sequences that end early.

    Args:
        node: the node.
        activations: of one direction, where the node names none.
    """

    def __init__(self, node: Node, activations: Sequence[str]) -> None:
        direction = node.string("direction", "forward", among=("forward", "reverse", "bidirectional"))
        self.backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[direction]
        for name in ("activation_alpha", "activation_beta"):
            node.require(not node.floats(name, []), f"{name} is not implemented")
        names = node.strings("activations", []) or [*activations] * len(self.backwards)
        known = {name.lower(): function for name, function in _ACTIVATIONS.items()}
        for name in names:
            node.require(name.lower() in known, f"activation {name} is not implemented")
        found = [known[name.lower()] for name in names]
        node.require(len(found) == len(activations) * len(self.backwards), f"{len(found)} activations are too few")
        self.activations = [found[start : start + len(activations)] for start in range(0, len(found), len(activations))]
        self.batch_first = bool(node.int("layout", 0))
        self.clip = node.float("clip", 0.0)
        node.ignore("hidden_size", "output_sequence")  # the weights say the one; the other went with opset 7

    def clipped(self, gates: Tensor) -> Tensor:
        """What goes into an activation."""
        return gates.clamp(-self.clip, self.clip) if self.clip else gates

    def run(
        self,
        step: Callable[[int, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]],
        x: Tensor,
        lengths: Tensor | None,
        starts: Sequence[Tensor | None],
        size: int,
    ) -> tuple[Tensor, ...]:
        """Every state after every step, and the last ones.

        Args:
            step: direction, the input `[N, I]` at a place and the states `[N, H]` to the next states.
            x: `[T, N, I]`, or `[N, T, I]` where the batch comes first.
            lengths: how much of every sequence there is, `[N]`; all of it where left out.
            starts: the states before the first step, `[D, N, H]` each, or `[N, D, H]`; zeros where left out.
            size: H.

        Returns:
            `[T, D, N, H]` of the first state, and the last of every state, `[D, N, H]`; likewise.
        """
        if self.batch_first:
            x, starts = x.transpose(0, 1), [None if start is None else start.transpose(0, 1) for start in starts]
        there = None
        if lengths is not None:
            there = (torch.arange(len(x), device=x.device)[:, None] < lengths)[..., None]
        rows: list[Tensor] = []
        last: list[tuple[Tensor, ...]] = []
        for direction, backwards in enumerate(self.backwards):
            state = tuple(x.new_zeros(x.shape[1], size) if start is None else start[direction] for start in starts)
            found: dict[int, Tensor] = {}
            for place in reversed(range(len(x))) if backwards else range(len(x)):
                after = step(direction, x[place], state)
                if there is not None:
                    after = tuple(torch.where(there[place], new, old) for new, old in zip(after, state, strict=True))
                state = after
                found[place] = after[0] if there is None else torch.where(there[place], after[0], 0)
            rows.append(torch.stack([found[place] for place in range(len(x))]))
            last.append(state)
        y, ends = torch.stack(rows, 1), [torch.stack(column) for column in zip(*last, strict=True)]
        if self.batch_first:
            y, ends = y.permute(2, 0, 1, 3), [end.transpose(0, 1) for end in ends]
        return (y, *ends)


def _biases(b: Tensor | None, w: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the input and those of the state, `[D, G * H]` each."""
    if b is None:
        nothing = w.new_zeros(w.shape[:2])
        return nothing, nothing
    ours, theirs = b.chunk(2, -1)
    return ours, theirs


@operator("RNN", since=7)
def rnn(node: Node) -> Kernel:
    """h = f(x W' + h R' + b)."""
    layer = _Layer(node, ["Tanh"])

    def kernel(
        x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None
    ) -> Any:
        ours, theirs = _biases(b, w)
        bias = ours + theirs

        def step(at: int, row: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (layer.activations[at][0](layer.clipped(row @ w[at].T + state[0] @ r[at].T + bias[at])),)

        return layer.run(step, x, lengths, [h], r.shape[-1])

    return _as_many(node, kernel)


@operator("GRU", since=7)
def gru(node: Node) -> Kernel:
    """Gated recurrent unit: update, reset and hidden gate, the reset before or after the product with the state."""
    layer, after = _Layer(node, ["Sigmoid", "Tanh"]), bool(node.int("linear_before_reset", 0))

    def kernel(
        x: Tensor, w: Tensor, r: Tensor, b: Tensor | None = None, lengths: Tensor | None = None, h: Tensor | None = None
    ) -> Any:
        ours, theirs = _biases(b, w)
        size = r.shape[-1]

        def step(at: int, row: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            f, g = layer.activations[at]
            (old,) = state
            given = row @ w[at].T + ours[at]
            both = given[:, : 2 * size] + old @ r[at, : 2 * size].T + theirs[at, : 2 * size]
            update, reset = f(layer.clipped(both)).chunk(2, -1)
            own, own_bias = r[at, 2 * size :].T, theirs[at, 2 * size :]
            hidden = reset * (old @ own + own_bias) if after else (reset * old) @ own + own_bias
            new = g(layer.clipped(given[:, 2 * size :] + hidden))
            return ((1 - update) * new + update * old,)

        return layer.run(step, x, lengths, [h], size)

    return _as_many(node, kernel)


@operator("LSTM", since=7)
def lstm(node: Node) -> Kernel:
    """Long short-term memory: input, output, forget and cell gate, with peepholes where given."""
    return _as_many(node, _long_short_term_memory(node, lambda x: x))


@operator("DynamicQuantizeLSTM", since=1, domain=MICROSOFT)
def dynamic_quantize_lstm(node: Node) -> Kernel:
    """An LSTM with 8-bit weights `[D, I, 4 H]`; the input, and at every step the state, is quantized over its range."""
    kernel = _long_short_term_memory(node, lambda x: straight_through(x, _over_its_range))

    def quantized(x: Tensor, w: Tensor, r: Tensor, *others: Tensor | None) -> Any:
        kept, (w_scale, w_zero, r_scale, r_zero) = others[:-4], others[-4:]
        whole = [
            ((weights.float() - _per_way(zero).float()) * _per_way(scale)).mT
            for weights, zero, scale in ((w, w_zero, w_scale), (r, r_zero, r_scale))
        ]
        return kernel(x, *whole, *kept)

    return _as_many(node, quantized)


def _long_short_term_memory(node: Node, rounded: Activation) -> Kernel:
    """An LSTM whose products are of what `rounded` makes of input and state."""
    layer, coupled = _Layer(node, ["Sigmoid", "Tanh", "Tanh"]), bool(node.int("input_forget", 0))

    def kernel(x: Tensor, w: Tensor, r: Tensor, *others: Tensor | None) -> Any:
        b, lengths, h, c, p = (*others, *[None] * (5 - len(others)))
        ours, theirs = _biases(b, w)
        bias = ours + theirs
        size = r.shape[-1]
        peeps = w.new_zeros(len(w), 3 * size) if p is None else p

        def step(at: int, row: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            f, g, q = layer.activations[at]
            old, cell = state
            i, o, k, new = (row @ w[at].T + rounded(old) @ r[at].T + bias[at]).chunk(4, -1)
            pi, po, pf = peeps[at].chunk(3)
            i = f(layer.clipped(i + pi * cell))
            k = 1 - i if coupled else f(layer.clipped(k + pf * cell))
            cell = k * cell + i * g(layer.clipped(new))
            return f(layer.clipped(o + po * cell)) * q(cell), cell

        return layer.run(step, rounded(x), lengths, [h, c], size)

    return kernel


def _per_way(parameter: Tensor | None) -> Tensor:
    """A scale or zero point `[D]` or `[D, 4 H]` as it broadcasts to weights `[D, I, 4 H]`."""
    assert parameter is not None
    return parameter.reshape(len(parameter), 1, -1)


def _over_its_range(x: Tensor) -> Tensor:
    """Unsigned 8-bit steps over the range of a tensor and 0, as DynamicQuantizeLinear takes them."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, 1, scale)
    zero = torch.round((-low / scale).clamp(0, 255))
    return (torch.clamp(torch.round(x / scale) + zero, 0, 255) - zero) * scale


def _as_many(node: Node, kernel: Kernel) -> Kernel:
    """The kernel with as many outputs as the node lists."""
    count = node.outputs

    def cut(*inputs: Tensor | None) -> Any:
        found = kernel(*inputs)[:count]
        return found[0] if len(found) == 1 else found

    return cut
