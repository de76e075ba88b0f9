"""Shard result: bits, candidates and counts of a few samples, and their file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ....core.atomic_write import replacing
from ....core.reading.arrays import read_npz
from ....core.reading.json_text import parse_json
from ...data import Split
from .candidates import Candidates
from .counts import Counts

# The column of what is left after all images were rounded to 8 bits and shown again.
ROUNDED = "rounded"


@dataclass
class ShardResult:
    """Per-sample bits of one shard, in route order; cumulative: once broken, False from there on.

    `eight_bit` are the samples that withstand 8-bit images, which are fewer than real-valued ones. `unstable` are those
    that count as broken for being answered otherwise in another batch.
    """

    split: Split
    clean_correct: np.ndarray
    bits: dict[str, np.ndarray]
    candidates: Candidates
    counts: Counts
    warnings: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    eight_bit: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    unstable: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.unstable = np.zeros(len(self.split), bool)

    @property
    def robust(self) -> np.ndarray:
        """The samples that survived every route."""
        return list(self.bits.values())[-1] if self.bits else self.clean_correct

    def count_as_broken(self, unstable: np.ndarray, misread: np.ndarray) -> None:
        """Take samples `[N]` as broken that are answered otherwise in another batch, and as wrong if misread there."""
        self.unstable = self.unstable | unstable
        self.clean_correct = self.clean_correct & ~misread
        self.bits = {name: left & ~misread for name, left in self.bits.items()}
        if self.bits:
            self.bits[[*self.bits][-1]] &= ~unstable
        self.eight_bit = self.eight_bit & ~unstable

    def save(self, path: Path) -> None:
        """Write the shard to one file, published by a rename."""
        meta = {
            "routes": list(self.bits),
            "counts": self.counts.as_json(),
            "warnings": sorted(self.warnings),
            "seconds": self.seconds,
        }
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(
                file,
                images=self.split.images,
                labels=self.split.labels,
                index=self.split.index,
                clean_correct=self.clean_correct,
                bits=np.array(list(self.bits.values())),
                eight_bit=self.eight_bit,
                unstable=self.unstable,
                candidate_index=self.candidates.index,
                candidate_attack=self.candidates.attack,
                candidate_images=self.candidates.images,
                meta=np.array(json.dumps(meta)),
            )

    @classmethod
    def load(cls, path: Path) -> ShardResult:
        """Read what `save` wrote."""
        arrays = read_npz(path)
        meta = parse_json(str(arrays["meta"]))
        result = cls(
            Split(arrays["images"], arrays["labels"], arrays["index"]),
            arrays["clean_correct"],
            dict(zip(meta["routes"], arrays["bits"], strict=True)),
            Candidates(arrays["candidate_index"], arrays["candidate_attack"], arrays["candidate_images"]),
            Counts.of_json(meta["counts"]),
            set(meta["warnings"]),
            meta["seconds"],
            arrays["eight_bit"],
        )
        result.unstable = arrays["unstable"]
        return result
