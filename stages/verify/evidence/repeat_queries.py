"""Repeat queries: images that are asked about before the attacks, and again after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ....targets.base import Images, Logits
from ...threat import ThreatModel
from ..evidence.candidates import Candidates

_PATTERNS = 8
# Rounding may differ from call to call on a GPU; more than this of the largest logit is no rounding.
_MOVED = 1e-3


@dataclass(frozen=True)
class RepeatQueries:
    """Answers around the clean images, as they were before the attacks.

    Attributes:
        batches: `[M, C, H, W]` each: clean images, and neighbours in their balls.
        answers: `[M, K]` each, what was said then.
        flat: clean images whose neighbours all got the very same logits.
    """

    batches: list[Images]
    answers: list[Logits]
    flat: int

    @classmethod
    def released(cls, predict: Callable[[Images], Logits], images: Images, threat: ThreatModel) -> RepeatQueries:
        """Ask about clean images and about neighbours on the rim of their balls: brighter, darker, blocks, noise."""
        batches = [images, *(shifted(images, pattern, threat) for pattern in patterns(images.shape[1:]))]
        answers = [predict(batch) for batch in batches]
        same = np.ones(len(images), bool)
        for logits in answers[1:]:
            same &= (logits == answers[0]).all(axis=1)
        return cls(batches, answers, int(same.sum()))

    @property
    def asked(self) -> int:
        """How many images are asked about again."""
        return sum(map(len, self.batches))

    def candidates(self, index: np.ndarray) -> Candidates:
        """The neighbours as candidates of the samples, whose data-set rows are given."""
        neighbours = np.concatenate(self.batches[1:])
        return Candidates(np.tile(index, len(self.batches) - 1), np.full(len(neighbours), "neighbour"), neighbours)

    def moved(self, predict: Callable[[Images], Logits]) -> int:
        """Ask again, in the very same batches; return how many answers are not what they were."""
        return sum(
            int(moved(predict(batch), before, _MOVED).sum())
            for batch, before in zip(self.batches, self.answers, strict=True)
        )


def moved(now: Logits, before: Logits, share: float) -> np.ndarray:
    """Say which rows differ by more than a share of their largest logit, or in what is a number."""
    scale = np.abs(np.nan_to_num(before)).max(axis=1, initial=1e-12)
    apart = np.abs(np.nan_to_num(now) - np.nan_to_num(before)).max(axis=1, initial=0.0)
    return (apart > share * scale) | (np.isnan(now) != np.isnan(before)).any(axis=1)


def patterns(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Signs `[C, H, W]`: all one way, in blocks, and pixel by pixel."""
    random = np.random.default_rng(0)
    channels, height, width = shape
    patterns = [np.ones(shape), -np.ones(shape)]
    for number in range(_PATTERNS - 2):
        block = 1 if number % 2 else max(1, height // 4)
        coarse = random.choice([-1.0, 1.0], size=(channels, -(-height // block), -(-width // block)))
        patterns.append(coarse.repeat(block, axis=1).repeat(block, axis=2)[:, :height, :width])
    return patterns


def shifted(images: Images, signs: np.ndarray, threat: ThreatModel) -> Images:
    """Neighbours on the rim of the ball: signs, of size eps."""
    size = threat.geometry.along_signs(threat.eps, signs.shape)
    return np.clip(images + size * signs, 0, 1).astype(np.float32)
