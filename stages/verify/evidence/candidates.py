"""Adversarial candidates: every image an attack ended on, whether it fooled its model or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....core.reading.arrays import read_npz


@dataclass(frozen=True)
class Candidates:
    """Candidate images of several samples.

    Attributes:
        index: `[M]` int64, the data-set row of the clean image each candidate belongs to.
        attack: `[M]` strings, which attack ended there.
        images: `[M, C, H, W]` float32, inside the ball and in [0, 1].
    """

    index: NDArray[np.int64]
    attack: NDArray[np.str_]
    images: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.index)

    def of(self, index: NDArray[np.int64]) -> Candidates:
        """Return the candidates of the given data-set rows."""
        chosen = np.isin(self.index, index)
        return Candidates(self.index[chosen], self.attack[chosen], self.images[chosen])

    def rows_in(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position in `index` of each candidate's sample; every one must be there."""
        position = {row: place for place, row in enumerate(index.tolist())}
        return np.array([position[row] for row in self.index.tolist()], np.int64)

    @classmethod
    def none(cls, image_shape: tuple[int, ...]) -> Candidates:
        """Return an empty set of candidates."""
        return cls(np.zeros(0, np.int64), np.zeros(0, "U1"), np.zeros((0, *image_shape), np.float32))

    @classmethod
    def join(cls, parts: Iterable[Candidates], image_shape: tuple[int, ...]) -> Candidates:
        """Put several sets together."""
        chosen = [part for part in parts if len(part)]
        if not chosen:
            return cls.none(image_shape)
        return cls(
            np.concatenate([part.index for part in chosen]),
            np.concatenate([part.attack for part in chosen]),
            np.concatenate([part.images for part in chosen]),
        )

    def save(self, path: Path) -> None:
        """Write the candidates as one compressed `.npz`."""
        np.savez_compressed(path, index=self.index, attack=self.attack, images=self.images)

    @classmethod
    def load(cls, path: Path) -> Candidates:
        """Read what `save` wrote."""
        arrays = read_npz(path)
        return cls(arrays["index"], arrays["attack"], arrays["images"])
