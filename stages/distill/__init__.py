"""Adversarial training and distillation: inner maximisation, methods, and one trainer for all of them."""

from .inner import InnerConfig, InnerMaximisation
from .method import Method
from .training.config import TrainConfig
from .training.context import Progress, TrainingContext
from .training.history import Epoch, TrainResult
from .training.trainer import train

__all__ = [
    "Epoch",
    "InnerConfig",
    "InnerMaximisation",
    "Method",
    "Progress",
    "TrainConfig",
    "TrainResult",
    "TrainingContext",
    "train",
]
