"""Which channels go, from numbers alone."""

from __future__ import annotations

import random

import pytest
from edgeproof.core.errors import UsageError
from edgeproof.stages.prune.ranking import Ranked, least_important


def layer(*importance: float, name: str = "conv", chunks: int = 1, initial: int | None = None) -> Ranked:
    return Ranked(name, chunks, len(importance) if initial is None else initial, importance)


def drawn(units: int, seed: int, **settings: int) -> Ranked:
    return layer(*random.Random(seed).sample(range(1000), units), **settings)


def test_the_least_important_go():
    layers = [layer(3, 1, 2, 9), layer(5, 5, 5, 4)]
    assert least_important(layers, 0.5, 1, all_together=False) == [[1, 2], [0, 3]]
    assert least_important(layers, 0.5, 1, all_together=True) == [[0, 1, 2], [3]]


def test_a_layer_that_is_all_unimportant_keeps_a_multiple():
    layers = [layer(*range(16)), layer(*range(100, 132))]
    removed = least_important(layers, 0.5, 8, all_together=True)
    assert [len(units) for units in removed] == [8, 16]
    assert removed[1] == list(range(16))


@pytest.mark.parametrize(
    ("units", "ratio", "round_to", "kept"),
    [
        (24, 0.5, 8, 16),  # 12 is as near to 8: rounded up
        (24, 0.55, 8, 8),
        (36, 0.1, 8, 32),
        (36, 0.5, 8, 16),
        (16, 0.9, 8, 8),
        (8, 0.9, 8, 8),
        (6, 0.5, 8, 6),
        (20, 0.05, 8, 16),
        (22, 0.05, 8, 22),
        (10, 0.3, 1, 7),
    ],
)
def test_channels_are_rounded_to_the_nearest_multiple(units: int, ratio: float, round_to: int, kept: int):
    (removed,) = least_important([drawn(units, 0)], ratio, round_to, all_together=False)
    assert units - len(removed) == kept


@pytest.mark.parametrize("all_together", [False, True])
@pytest.mark.parametrize("round_to", [1, 4, 8])
@pytest.mark.parametrize("ratio", [0.1, 0.37, 0.5, 0.8])
def test_the_ratio_of_all_channels(all_together: bool, round_to: int, ratio: float):
    layers = [drawn(64 * (1 + number % 3), number) for number in range(12)]
    removed = least_important(layers, ratio, round_to, all_together=all_together)
    channels = [len(each.importance) for each in layers]
    assert sum(map(len, removed)) / sum(channels) == pytest.approx(ratio, abs=0.03)
    assert all((count - len(gone)) % round_to == 0 for count, gone in zip(channels, removed, strict=True))
    for each, gone in zip(layers, removed, strict=True):
        stays = [value for unit, value in enumerate(each.importance) if unit not in gone]
        assert max((each.importance[unit] for unit in gone), default=-1) < min(stays)


def test_chunks_count_with_all_their_channels():
    (removed,) = least_important([drawn(16, 0, chunks=4)], 0.4, 8, all_together=False)
    assert (16 - len(removed)) * 4 == 40
    grouped, plain = least_important([drawn(16, 0, chunks=4), drawn(64, 1)], 0.5, 1, all_together=True)
    assert 4 * len(grouped) + len(plain) == pytest.approx(64, abs=3)


def test_rounds_count_from_the_first_one():
    (removed,) = least_important([drawn(48, 0, initial=64)], 0.5, 1, all_together=False)
    assert 48 - len(removed) == 32
    removed = least_important([drawn(48, 0, initial=64), drawn(40, 1, initial=64)], 0.5, 1, all_together=True)
    assert 88 - sum(map(len, removed)) == 64
    (removed,) = least_important([drawn(24, 0, initial=64)], 0.5, 8, all_together=False)
    assert removed == []


def test_a_ratio_that_leaves_no_channel():
    layers = [drawn(100, 0), drawn(4, 1, name="narrow")]
    with pytest.raises(UsageError) as caught:
        least_important(layers, 0.9, 1, all_together=False)
    assert str(caught.value) == (
        "prune.ratio: 0.9 leaves no channel of layer 'narrow', which has 4; it can be at most 0.875"
    )
    assert [len(units) for units in least_important(layers, 0.875, 1, all_together=False)] == [87, 3]
    assert [len(units) for units in least_important(layers, 0.9, 1, all_together=True)] == [90, 3]
    with pytest.raises(UsageError) as caught:
        least_important(layers, 0.985, 1, all_together=True)
    assert str(caught.value) == (
        "prune.ratio: 0.985 leaves 1 of 104 channels, so none for some of 2 layers; it can be at most 0.98"
    )
