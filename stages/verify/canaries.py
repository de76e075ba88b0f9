"""Images that are asked about before the attacks, and again after them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...targets.base import Images, Logits
from ..threat import ThreatModel

_PATTERNS = 8
_ROWS = 64
# Rounding may differ from call to call on a GPU; more than this of the largest logit is no rounding.
_MOVED = 1e-3


@dataclass(frozen=True)
class Canaries:
    """Answers around the clean images, as they were before the attacks.

    Attributes:
        images: `[M, C, H, W]`: clean images, and neighbours in their balls.
        logits: `[M, K]`, what was said then.
        flat: clean images whose neighbours all got the very same logits.
    """

    images: Images
    logits: Logits
    flat: int

    @classmethod
    def released(cls, predict: Callable[[Images], Logits], images: Images, threat: ThreatModel) -> Canaries:
        """Ask about clean images and about neighbours on the rim of their balls: brighter, darker, blocks, noise."""
        around = [_shifted(images, pattern, threat) for pattern in _patterns(images.shape[1:])]
        answers = [predict(neighbours) for neighbours in around]
        clean = predict(images)
        same = np.ones(len(images), bool)
        for logits in answers:
            same &= (logits == clean).all(axis=1)
        asked = np.concatenate([images[:_ROWS], *(neighbours[: _ROWS // 4] for neighbours in around)])
        logits = np.concatenate([clean[:_ROWS], *(logits[: _ROWS // 4] for logits in answers)])
        return cls(asked, logits, int(same.sum()))

    @property
    def asked(self) -> int:
        """How many images are asked about again."""
        return len(self.images)

    def moved(self, predict: Callable[[Images], Logits]) -> int:
        """Ask again; return how many answers are not what they were."""
        now = predict(self.images)
        scale = np.abs(np.nan_to_num(self.logits)).max(axis=1, initial=1e-12)
        apart = np.abs(np.nan_to_num(now) - np.nan_to_num(self.logits)).max(axis=1, initial=0.0)
        return int(((apart > _MOVED * scale) | (np.isnan(now) != np.isnan(self.logits)).any(axis=1)).sum())


def _patterns(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Signs `[C, H, W]`: all one way, in blocks, and pixel by pixel."""
    random = np.random.default_rng(0)
    channels, height, width = shape
    patterns = [np.ones(shape), -np.ones(shape)]
    for number in range(_PATTERNS - 2):
        block = 1 if number % 2 else max(1, height // 4)
        coarse = random.choice([-1.0, 1.0], size=(channels, -(-height // block), -(-width // block)))
        patterns.append(coarse.repeat(block, axis=1).repeat(block, axis=2)[:, :height, :width])
    return patterns


def _shifted(images: Images, signs: np.ndarray, threat: ThreatModel) -> Images:
    # On the rim of the ball: in L2, signs of norm eps.
    size = threat.eps if threat.norm == "Linf" else threat.eps / np.sqrt(signs.size)
    return np.clip(images + size * signs, 0, 1).astype(np.float32)
