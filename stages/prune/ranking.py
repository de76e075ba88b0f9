"""Channel ranking: the least important ones go, so many that every layer keeps a multiple that kernels like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.errors import UsageError


@dataclass(frozen=True)
class Ranked:
    """Coupled channels of one or more layers, with the importance of each unit.

    Attributes:
        layer: the first layer's name, for messages.
        chunks: channels of a unit.
        initial: units before the first round.
        importance: of the units that are left.
    """

    layer: str
    chunks: int
    initial: int
    importance: Sequence[float]

    def rounded(self, units: float, round_to: int) -> int:
        """The nearest number of units whose channels are a multiple of `round_to`; halves are rounded up."""
        left = len(self.importance)
        multiple = self.multiple(round_to)
        if units >= left:
            return left
        return min(left, multiple * max(1, math.floor(units / multiple + 0.5)))

    def multiple(self, round_to: int) -> int:
        """The fewest units whose channels are a multiple of `round_to`."""
        return round_to // math.gcd(round_to, self.chunks)

    def least(self, count: int) -> list[int]:
        """The least important units, ties by their number; rising."""
        order = sorted(range(len(self.importance)), key=lambda unit: (self.importance[unit], unit))
        return sorted(order[:count])


def least_important(layers: Sequence[Ranked], ratio: float, round_to: int, *, all_together: bool) -> list[list[int]]:
    """Return for each of `layers` the units to remove, so that `ratio` of the initial channels are gone.

    Args:
        layers: what can be pruned.
        ratio: in (0, 1).
        round_to: see `PruneConfig`.
        all_together: rank the channels of all layers together.

    Raises:
        UsageError: the ratio leaves a layer with no channel.
    """
    kept = _kept_together(layers, ratio, round_to) if all_together else [_kept_alone(layer, ratio) for layer in layers]
    return [
        layer.least(len(layer.importance) - layer.rounded(units, round_to))
        for layer, units in zip(layers, kept, strict=True)
    ]


def _kept_alone(layer: Ranked, ratio: float) -> float:
    kept = layer.initial * (1 - ratio)
    if kept < 0.5:
        raise UsageError(
            f"prune.ratio: {ratio:g} leaves no channel of layer {layer.layer!r}, which has "
            f"{layer.initial * layer.chunks}; it can be at most {math.floor(1000 * (1 - 0.5 / layer.initial)) / 1000:g}"
        )
    return kept


def _kept_together(layers: Sequence[Ranked], ratio: float, round_to: int) -> list[float]:
    initial = sum(layer.initial * layer.chunks for layer in layers)
    fewest = sum(layer.chunks for layer in layers)
    if initial * (1 - ratio) < fewest:
        raise UsageError(
            f"prune.ratio: {ratio:g} leaves {math.floor(initial * (1 - ratio))} of {initial} channels, so none for "
            f"some of {len(layers)} layers; it can be at most {math.floor(1000 * (1 - fewest / initial)) / 1000:g}"
        )
    kept = [len(layer.importance) for layer in layers]
    left = sum(units * layer.chunks for units, layer in zip(kept, layers, strict=True))
    ranking = sorted(
        (value, place, unit) for place, layer in enumerate(layers) for unit, value in enumerate(layer.importance)
    )
    for _, place, _ in ranking:
        layer = layers[place]
        # Ranked together, a layer could lose all its channels, and the network its answer.
        if kept[place] > layer.multiple(round_to) and left - layer.chunks >= initial * (1 - ratio):
            kept[place] -= 1
            left -= layer.chunks
    return [float(units) for units in kept]
