"""Structured channel pruning of the student, then adversarial fine-tuning (stage `prune`)."""

from .architecture import build_pruned
from .config import FineTuneConfig, PruneConfig
from .pruning import prune_student
from .record import PRUNING, PruningRecord, read_pruning

__all__ = [
    "PRUNING",
    "FineTuneConfig",
    "PruneConfig",
    "PruningRecord",
    "build_pruned",
    "prune_student",
    "read_pruning",
]
