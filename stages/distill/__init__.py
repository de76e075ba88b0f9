"""Adversarial training and distillation: inner maximisation, methods, and one trainer for all of them."""

from .history import Epoch, TrainResult
from .inner import InnerConfig, InnerMaximisation
from .method import Method
from .running import Progress, Running
from .train_config import TrainConfig
from .trainer import train

__all__ = [
    "Epoch",
    "InnerConfig",
    "InnerMaximisation",
    "Method",
    "Progress",
    "Running",
    "TrainConfig",
    "TrainResult",
    "train",
]
