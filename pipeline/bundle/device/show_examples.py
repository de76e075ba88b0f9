"""Adversarial examples of a bundle, as they are and rounded to 8 bits, shown to an engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....core.errors import UsageError
from ....stages.adversarial_pack import read_pack
from ....stages.eight_bit import towards
from ....targets.base import Engine
from ..contents import BITS, Contents
from .outcome import DeviceBits
from .replay_pack import correct


def shape_of_images(folder: Path, contents: Contents) -> tuple[int, int, int]:
    """`(C, H, W)` of a bundle's images, as its first pack has them."""
    first = next(iter(contents.packs().values()))
    return read_pack(folder / first, empty=True)[0]["clean"].shape[1:]


def shown_to(engine: Engine, folder: Path, contents: Contents, run: DeviceBits) -> tuple[DeviceBits, int]:
    """What an engine gets right of the run's samples, and of how many adversarial examples; always in the same order.

    Images that the run's subjects all got wrong are in no pack: they count as the run has them, wrong.

    Args:
        engine: who is asked.
        folder: the bundle's.
        contents: its own.
        run: the run's bits, for the samples.

    Raises:
        UsageError: the packs are not of one run, or of other images than the engine takes.
    """
    order = {row: place for place, row in enumerate(run.index.tolist())}
    robust, rounded, clean = (np.ones(len(run.index), bool) for _ in range(3))
    seen, candidates = np.zeros(len(run.index), bool), 0
    for name, where in contents.packs().items():
        arrays, _ = read_pack(folder / where, empty=True)
        images, before, labels = arrays["adversarial"], arrays["clean"], arrays["label"]
        if not len(images):
            continue
        if images.shape[1:] != engine.signature.image_shape:
            raise UsageError(
                f"{where}: images {list(images.shape[1:])}, the engine takes {list(engine.signature.image_shape)}"
            )
        if not order.keys() >= set(arrays["index"].tolist()):
            raise UsageError(f"{where}: rows that {BITS}/{name}.npz does not have; not of one run")
        rows = np.array([order[row] for row in arrays["index"].tolist()])
        np.logical_and.at(robust, rows, correct(engine, images, labels))
        np.logical_and.at(rounded, rows, correct(engine, towards(images, before), labels))
        places, first = np.unique(rows, return_index=True)
        clean[places] &= correct(engine, before[first], labels[first])
        seen[places] = True
        candidates += len(rows)
    clean &= seen
    return DeviceBits(run.index, clean, clean & robust & rounded, clean & rounded), candidates
