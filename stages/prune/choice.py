"""Pruning round: what goes in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from ...core.errors import UsageError
from .config import PruneConfig
from .coupling import Coupled, Couplings
from .ranking import Ranked, least_important
from .record import Cut, together

# The importance of every unit of coupled channels.
Measure = Callable[[list[Coupled]], list[list[float]]]


@dataclass(frozen=True)
class Choice:
    """What goes in one round.

    Attributes:
        cuts: what goes, in the network's numbering; empty where rounding leaves nothing to remove yet.
        ratio: the fraction of channels that is to be gone after it.
        initial: channels that could go before the first round, by the name of their first layer.
        left: channels that are left of them.
        whole: layers whose outputs cannot go, and why.
    """

    cuts: Mapping[str, Cut]
    ratio: float
    initial: Mapping[str, int]
    left: int
    whole: Mapping[str, str]


def choose(
    network: nn.Module,
    measure: Measure,
    config: PruneConfig,
    *,
    turn: int,
    initial: Mapping[str, int],
    image_shape: tuple[int, int, int],
    name: str,
) -> Choice:
    """Choose what goes.

    Args:
        network: as the rounds before left it; its parameters require gradients.
        measure: tells the importance of its channels.
        config: how much.
        turn: which round, from 1.
        initial: what the first round's choice says; empty in the first round.
        image_shape: channels, height, width.
        name: the model's name, for messages.

    Raises:
        UsageError: the network cannot be traced, has nothing to prune, or the ratio is too large or too small.
    """
    couplings = Couplings(network, image_shape, name)
    coupled = couplings.coupled
    if not coupled:
        # The logits come first, and are no news.
        layer, reason = next(reversed(couplings.whole.items()))
        raise UsageError(f"model {name!r}: cannot be pruned: no layer can lose channels ({layer!r}: {reason})")
    initial = initial or {each.layer: each.channels for each in coupled}
    ranked = [
        Ranked(each.layer, each.chunks, initial.get(each.layer, each.channels) // each.chunks, importance)
        for each, importance in zip(coupled, measure(coupled), strict=True)
    ]
    # The last round's choice first: what is wrong with the ratio is told before any training.
    ratio, removed = config.ratio, _least(ranked, config.ratio, config)
    if turn == 1 and not any(removed):
        raise UsageError(
            f"prune.ratio: {ratio:g} removes nothing with prune.round_to {config.round_to}; "
            "raise the ratio or lower round_to"
        )
    if turn < config.rounds:
        ratio = config.ratio * turn / config.rounds
        removed = _least(ranked, ratio, config)
    cuts = together(couplings.cuts(each, units) for each, units in zip(coupled, removed, strict=True) if units)
    return Choice(
        cuts={layer: cuts[layer] for layer, _ in network.named_modules() if layer in cuts},
        ratio=ratio,
        initial=initial,
        left=sum(each.chunks * (each.units - len(units)) for each, units in zip(coupled, removed, strict=True)),
        whole=couplings.whole,
    )


def _least(ranked: list[Ranked], ratio: float, config: PruneConfig) -> list[list[int]]:
    return least_important(ranked, ratio, config.round_to, all_together=config.global_ranking)
