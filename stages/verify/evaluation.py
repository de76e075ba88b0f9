"""Evaluation protocol of a verification: the samples, the ball, how hard to try, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..data import Split
from ..threat import ThreatModel
from .config import VerifyConfig
from .evidence.candidates import Candidates
from .shards.sequential import Sequential


@dataclass(frozen=True)
class Evaluation:
    """What is the same for all subjects of a verification.

    Attributes:
        split: the samples.
        threat: the ball.
        config: how hard to try, and what is measured besides.
        stop: attack the samples, which are in random order, only until its gates are decided; the intervals are its own
            then, and there is no curve. All samples when None.
        earlier: candidates of earlier runs, which all subjects face in the end.
    """

    split: Split
    threat: ThreatModel
    config: VerifyConfig = field(default_factory=VerifyConfig)
    stop: Sequential | None = None
    earlier: Candidates | None = None
